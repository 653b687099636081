"""Where a window sits, by laws: what was moved comes back."""

import itertools
from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openloger.errors import InputError
from openloger.geometry import SE3, ScaleMode, Sim3, rotation_from_axis_angle
from openloger.streaming import Anchor, Placement, disagreement, place, rigid_from_overlap
from openloger.streaming.placement import window_poses

lawful = settings(derandomize=True, deadline=None, max_examples=20)
SEEDS = st.integers(0, 10_000)
MODES = get_args(ScaleMode)
OVERLAP = 3


def drawing(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def rigid(draw, *batch):
    return SE3(rotation_from_axis_angle(draw(*batch, 3)), 5 * draw(*batch, 3))


def seen_from(world_from_window, world_from_cam, depth):
    """The same cameras and depths as a window in another frame and scale would give them."""
    window_from_cam = world_from_window.inverse() @ Sim3.from_se3(world_from_cam)
    return window_from_cam.rigid.matrix(), (depth / world_from_window.scale).float()


def moved(world_from_window, window_from_cam):
    return (world_from_window @ Sim3.from_se3(SE3.from_matrix(window_from_cam))).rigid.matrix()


def scene(seed, *, scale):
    """An anchor, a window of two more frames, and the transform that was taken off it."""
    draw = drawing(seed)
    world_from_cam, depth = rigid(draw, OVERLAP + 2), draw(OVERLAP + 2, 4, 5).exp()
    motion = rigid(draw)
    world_from_window = Sim3(torch.tensor(scale, dtype=torch.float64), motion.rotation, motion.translation)
    before = Sim3.from_se3(rigid(draw))
    anchor = Anchor(before, world_from_cam[:OVERLAP].matrix(), depth[:OVERLAP].float())
    return anchor, world_from_window, seen_from(world_from_window, world_from_cam, depth), world_from_cam.matrix()


def close(one, other):
    return all(
        torch.allclose(getattr(one, part), getattr(other, part), rtol=1e-5, atol=1e-5)
        for part in ("scale", "rotation", "translation")
    )


@lawful
@given(SEEDS)
def test_se3_gives_back_a_rigid_motion(seed):
    anchor, world_from_window, (window_from_cam, depth), world_from_cam = scene(seed, scale=1.0)
    placed = place(Placement("se3"), window_from_cam, depth, anchor, starts_block=False)
    assert close(placed, world_from_window)
    assert torch.allclose(moved(placed, window_from_cam), world_from_cam, atol=1e-6)


@lawful
@given(SEEDS, st.floats(0.01, 100), st.sampled_from(MODES))
def test_sim3_gives_back_a_similarity(seed, scale, mode):
    anchor, world_from_window, (window_from_cam, depth), world_from_cam = scene(seed, scale=scale)
    placed = place(Placement("sim3", mode), window_from_cam, depth, anchor, starts_block=False)
    assert close(placed, world_from_window)
    assert torch.allclose(moved(placed, window_from_cam), world_from_cam, rtol=1e-5, atol=1e-4)


@lawful
@given(SEEDS)
def test_none_with_a_reset_is_se3(seed):
    anchor, _, (window_from_cam, depth), _ = scene(seed, scale=1.0)
    none = place(Placement("none"), window_from_cam, depth, anchor, starts_block=True)
    assert close(none, place(Placement("se3"), window_from_cam, depth, anchor, starts_block=False))


def test_none_stays_where_its_block_is():
    anchor, _, (window_from_cam, depth), _ = scene(0, scale=1.0)
    assert place(Placement("none"), window_from_cam, depth, anchor, starts_block=False) is anchor.world_from_window


@pytest.mark.parametrize("kind", ["none", "se3", "sim3"])
def test_the_first_window_is_the_world(kind):
    _, _, (window_from_cam, depth), _ = scene(0, scale=2.0)
    placed = place(Placement(kind), window_from_cam, depth, None, starts_block=False)
    assert close(placed, Sim3.identity(dtype=torch.float64))
    assert torch.equal(moved(placed, window_from_cam), window_from_cam)


@pytest.mark.parametrize("kind", ["se3", "sim3"])
def test_a_reset_changes_nothing_where_windows_are_placed_one_by_one(kind):
    anchor, _, (window_from_cam, depth), _ = scene(0, scale=1.0)
    one, other = (
        place(Placement(kind), window_from_cam, depth, anchor, starts_block=starts) for starts in (True, False)
    )
    assert close(one, other)


@lawful
@given(SEEDS)
def test_a_chain_of_windows_gives_back_the_trajectory(seed):
    """Every window in a frame and scale of its own: scales accumulate, nothing drifts."""
    draw = drawing(seed)
    world_from_cam, depth = rigid(draw, 17), draw(17, 4, 5).exp()
    anchor, together = None, []
    for start in range(0, 12, 3):
        here = slice(start, start + 5)
        motion = rigid(draw)
        own = Sim3(draw().exp(), motion.rotation, motion.translation) if start else Sim3.identity(dtype=torch.float64)
        window_from_cam, seen = seen_from(own, world_from_cam[here], depth[here])
        placed = place(Placement("sim3"), window_from_cam, seen, anchor, starts_block=False)
        cameras, scaled = moved(placed, window_from_cam), seen * placed.scale.float()
        anchor = Anchor(placed, cameras[-2:], scaled[-2:])
        together.append((cameras, scaled, world_from_cam[here].matrix(), depth[here].float()))
    for cameras, scaled, true_cameras, true_depth in together:
        assert torch.allclose(cameras, true_cameras, rtol=1e-4, atol=1e-4)
        assert torch.allclose(scaled, true_depth, rtol=1e-4)


def test_a_short_last_window_may_share_fewer_frames():
    """Depths are compared on the frames that both have."""
    anchor, world_from_window, (window_from_cam, depth), _ = scene(0, scale=2.0)
    placed = place(Placement("sim3", "median_all"), window_from_cam[:1], depth[:1], anchor, starts_block=False)
    assert close(placed, world_from_window)


@pytest.mark.parametrize(("factor", "clamped"), [(1e5, 1e3), (1e-5, 1e-3)])
def test_scales_are_bounded(factor, clamped):
    anchor, _, (window_from_cam, depth), _ = scene(0, scale=1.0)
    placed = place(Placement("sim3"), window_from_cam, depth / factor, anchor, starts_block=False)
    assert placed.scale.item() == pytest.approx(clamped)


@pytest.mark.parametrize("mode", MODES)
def test_a_few_wild_depths_do_not_move_a_window(mode):
    anchor, world_from_window, (window_from_cam, depth), _ = scene(0, scale=2.0)
    depth[:, 0, :4] *= torch.tensor([100.0, 0.01, 50.0, 0.02])  # 4 of each frame's 20 pixels, half of them to each side
    placed = place(Placement("sim3", mode), window_from_cam, depth, anchor, starts_block=False)
    assert close(placed, world_from_window)


@pytest.mark.parametrize("text", ["none", "se3", "sim3", *(f"sim3:{mode}" for mode in MODES if mode != "median")])
def test_a_placement_reads_as_it_is_written(text):
    assert str(Placement.parse(text)) == text


def test_the_median_is_sim3s_own_mode():
    assert Placement.parse("sim3") == Placement.parse("sim3:median") == Placement("sim3", "median")
    assert str(Placement.parse("sim3:median")) == "sim3"


@pytest.mark.parametrize("text", ["", "auto", "SE3", "sim4", "sim3:mean", "se3:median", "none:", "sim3:median:all"])
def test_an_unknown_placement_is_one_clear_line(text):
    with pytest.raises(InputError) as caught:
        Placement.parse(text)
    assert str(caught.value) == (
        f"placement {text!r} is none of auto, none, se3, sim3, "
        "sim3:median, sim3:median_all, sim3:trimmed_mean, sim3:trimmed_mean_all"
    )


def test_windows_that_agree_do_not_disagree():
    anchor, _, _, world_from_cam = scene(0, scale=1.0)
    found = disagreement(anchor, world_from_cam, torch.cat([anchor.depth, torch.ones(2, 4, 5)]))
    assert found.depth == found.translation == 0
    assert found.rotation_deg == pytest.approx(0, abs=1e-5)


def test_disagreement_measures_each_part():
    anchor, _, _, world_from_cam = scene(0, scale=1.0)
    cameras = world_from_cam.clone()
    turn = rotation_from_axis_angle(torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64))
    cameras[:, :3, :3] = cameras[:, :3, :3] @ turn
    cameras[:, 0, 3] += 2.0
    found = disagreement(anchor, cameras, 1.25 * anchor.depth)
    assert found.depth == pytest.approx(0.25)
    assert found.rotation_deg == pytest.approx(torch.tensor(0.1).rad2deg().item())
    assert found.translation == pytest.approx(2.0)


def test_disagreement_ignores_frames_that_only_one_has():
    anchor, _, _, world_from_cam = scene(0, scale=1.0)
    for count in (1, OVERLAP, OVERLAP + 2):
        depth = torch.cat([anchor.depth, torch.ones(2, 4, 5)])[:count]
        assert disagreement(anchor, world_from_cam[:count], depth).depth == 0


def test_the_frame_that_windows_are_placed_by_says_nothing():
    """They agree on it by construction; with an overlap of two it would hide half of what the others show."""
    anchor, _, _, world_from_cam = scene(0, scale=1.0)
    anchor = replace(anchor, world_from_cam=anchor.world_from_cam[:2], depth=anchor.depth[:2])
    cameras, depth = world_from_cam.clone(), torch.cat([anchor.depth[:1], 1.25 * anchor.depth[1:]])
    turn = rotation_from_axis_angle(torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64))
    cameras[1, :3, :3] = cameras[1, :3, :3] @ turn
    cameras[1, 0, 3] += 2.0
    found = disagreement(anchor, cameras, depth)
    assert found.depth == pytest.approx(0.25)
    assert found.rotation_deg == pytest.approx(torch.tensor(0.1).rad2deg().item())
    assert found.translation == pytest.approx(2.0)


def test_chaining_trains():
    """Its gradient reaches the previous window's camera and this one's."""
    draw = drawing(0)
    placed, own = (replace(rigid(draw), translation=draw(3).requires_grad_()) for _ in range(2))
    rigid_from_overlap(placed, own).translation.square().sum().backward()
    for part in (placed, own):
        assert part.translation.grad.abs().sum() > 0


def test_window_poses_are_rotations_in_float64():
    draw = drawing(0)
    world_from_cam = rigid(draw, 3).matrix().float()
    poses = window_poses(world_from_cam)
    rotation = poses[:, :3, :3]
    assert poses.dtype == torch.float64
    assert torch.allclose(rotation.mT @ rotation, torch.eye(3, dtype=torch.float64).expand(3, 3, 3), atol=1e-14)
    assert torch.allclose(poses.float(), world_from_cam, atol=1e-6)


def test_a_long_chain_of_motions_stays_rigid():
    """A thousand windows: the rotation that accumulates is still one."""
    draw = drawing(0)
    placed, steps = SE3.identity(dtype=torch.float64), rigid(draw, 10)
    for step in itertools.islice(itertools.cycle(range(10)), 1000):
        placed = rigid_from_overlap(placed, steps[step])
    rotation = placed.rotation
    assert torch.allclose(rotation.mT @ rotation, torch.eye(3, dtype=torch.float64), atol=1e-12)
