"""The clips of a step: the same whoever asks, whenever; augmentations that stay true to the geometry."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from openloger.errors import InputError
from openloger.training.augment import camera_faults, compress, mirror, motion_blur, recolour, vignette
from openloger.training.clips import choose_frames, stack, take_frames
from openloger.training.curriculum import ClipPlan
from openloger.training.data import (
    HELD_OUT_SEEDS,
    ClipSpec,
    ClipStream,
    frames_of,
    picks_of,
    rendered_by,
    size_of,
    spec_of,
    suited,
)
from openloger.training.matching import baseline, correspond, covisibility
from openloger.training.render import RenderAhead, make_clips

from .boxes import render_box, render_boxes

PLAN = ClipPlan(size=(16, 24), rendered=4, frames=(2, 3), odds=(0.7, 0.3), batch=4, pool=10, reuse=3.0)


SHAPES = replace(PLAN, per_world=2, pool=40, reuse=1.0, other_sizes=((24, 16), (16, 32)), other_odds=0.6)


def stream(step=0, *, workers=0, lane=0, ahead=None, plan=PLAN):
    ahead = ahead or RenderAhead(plan, seed=5, lane=lane, workers=workers, render=render_boxes)
    return ClipStream(plan, ahead, seed=5, lane=lane, step=step)


def same(a, b):
    return a.names == b.names and all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in ("images", "depth", "world_from_cam", "intrinsics")
    )


def test_batches_follow_from_seed_step_and_lane():
    first, again = (list(islice(stream(), 12)) for _ in range(2))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not same(first[0], first[1])
    assert not same(first[0], next(stream(lane=1)))


def test_a_stream_taken_up_later_goes_on_alike():
    whole = list(islice(stream(), 15))
    for step in (1, 7, 11):
        assert all(same(a, b) for a, b in zip(islice(stream(step), 4), whole[step:], strict=False))


def test_background_processes_change_nothing():
    with RenderAhead(PLAN, seed=5, lane=0, workers=2, render=render_boxes) as ahead:
        for here, there in zip(islice(stream(), 3), stream(ahead=ahead), strict=False):
            assert same(here, there)


def refuse(specs):
    raise InputError(f"no world {specs[0].family!r}")


def test_what_the_renderer_refuses_is_said_here():
    with (
        RenderAhead(PLAN, seed=5, lane=0, workers=1, render=refuse) as ahead,
        pytest.raises(InputError, match="no world"),
    ):
        next(stream(ahead=ahead))


def test_each_clip_is_used_about_as_often_as_asked():
    plan = replace(PLAN, batch=8, pool=100, reuse=4.0)
    uses = np.bincount([pick for step in range(400) for pick in picks_of(plan, seed=1, step=step, lane=0)])
    assert 3.7 < uses[100:-100].mean() < 4.3
    assert rendered_by(plan, 400) == pytest.approx(800, abs=10)


def test_every_step_has_one_frame_count_and_they_come_at_their_odds():
    counts = [frames_of(PLAN, seed=0, step=step) for step in range(600)]
    assert set(counts) == {2, 3}
    assert 0.25 < np.mean(np.array(counts) == 3) < 0.35
    assert all(batch.images.shape[1] == frames_of(PLAN, seed=5, step=i) for i, batch in enumerate(islice(stream(), 6)))


def test_a_batch_has_one_size_and_sizes_come_at_their_odds():
    sizes = [size_of(SHAPES, seed=5, lane=0, number=2 * world) for world in range(1200)]
    assert all(abs(sizes.count(size) / 1200 - odds) < 0.05 for size, odds in {(16, 24): 0.4, (24, 16): 0.3}.items())
    batches = list(islice(stream(plan=SHAPES), 30))
    assert {tuple(batch.images.shape[-2:]) for batch in batches} == {(16, 24), (24, 16), (16, 32)}
    by_number = [spec_of(SHAPES, seed=5, lane=0, number=number).size for number in range(800)]
    for step in (0, 3, 150):
        picks = picks_of(SHAPES, seed=5, step=step, lane=0)
        assert len({by_number[pick] for pick in picks}) == 1
        assert len(picks) == 4
    assert len(set(picks)) == 4  # none twice once the pool is full


def test_batches_of_several_sizes_follow_from_seed_and_step_too():
    whole = list(islice(stream(plan=SHAPES), 9))
    with RenderAhead(SHAPES, seed=5, lane=0, workers=2, render=render_boxes) as ahead:
        later = ClipStream(SHAPES, ahead, seed=5, lane=0, step=5)
        assert all(same(a, b) for a, b in zip(islice(later, 4), whole[5:], strict=True))


def test_clips_of_a_size_are_rendered_together_and_come_in_order():
    asked = [ClipSpec("rooms", seed, 0, 2, 10.0, size) for seed, size in enumerate([(16, 24), (24, 16), (16, 24)])]
    groups = []
    clips = make_clips(asked, lambda specs: groups.append([spec.seed for spec in specs]) or render_boxes(specs))
    assert groups == [[0, 2], [1]]
    assert [(clip.name, clip.rgb.shape[1:3]) for clip in clips] == [(str(spec), spec.size) for spec in asked]


@pytest.mark.parametrize("odds", [-0.1, 1.5])
def test_odds_of_other_sizes_are_a_part(odds):
    with pytest.raises(InputError, match="other_odds"):
        replace(PLAN, other_odds=odds)


def chosen(clip, count, seed, suited):
    name = choose_frames(clip, count, np.random.default_rng(seed), suited=suited, shuffle_time=False).name
    return tuple(int(number) for number in name.split("[")[1].rstrip("]").split(","))


def test_frames_of_a_step_are_evenly_spaced_and_suited_to_each_other():
    clip = render_box(ClipSpec("rooms", 3, 0, 6, 10.0, (16, 24)))
    shared = np.array([[max(0.0, 1 - 0.3 * abs(i - j)) for j in range(6)] for i in range(6)])
    shared[5, :5] = shared[:5, 5] = 0.1  # the last one sees next to nothing of the others
    enough, too_much, anything = (np.minimum(1, shared / 0.6), np.minimum(1, shared / 0.95), np.ones((6, 6)))
    assert {chosen(clip, 2, seed, enough) for seed in range(60)} == {(i, i + 1) for i in range(4)}
    assert {chosen(clip, 2, seed, too_much) for seed in range(60)} == {(i, i + 1) for i in range(4)}  # the nearest
    assert len({chosen(clip, 2, seed, anything) for seed in range(300)}) == 15  # all pairs
    runs = {chosen(clip, 3, seed, anything) for seed in range(200)}
    assert runs == {(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 2, 4), (1, 3, 5)}
    assert chosen(clip, 6, 0, enough) == (0, 1, 2, 3, 4, 5)
    assert {chosen(clip, 1, seed, enough) for seed in range(60)} == {(i,) for i in range(6)}


def test_frames_are_suited_that_share_enough_and_were_taken_apart():
    clip = render_box(ClipSpec("rooms", 3, 0, 6, 10.0, (32, 48)))
    shared, apart = covisibility(clip, patch=4), baseline(clip)
    far, near = float(apart[0, 2]), float(shared[0, 2])
    both = suited(clip, replace(PLAN, size=(32, 48), least_overlap=near, least_baseline=far))
    assert np.array_equal(both == 1, (shared >= near) & (apart >= far))
    assert both[0, 2] == 1
    assert 0 < both[0, 1] < 1
    assert 0 < both[0, 4] < 1
    assert (suited(clip, PLAN) == 1).all()


def test_pairs_from_a_stream_overlap_as_asked():
    asked = replace(PLAN, size=(32, 48), frames=(2,), odds=(1.0,), rendered=6, least_overlap=0.7, augment=False)
    shares = []
    for plan in (asked, replace(asked, least_overlap=0.0)):
        ahead = RenderAhead(plan, seed=5, lane=0, workers=0, render=render_boxes)
        batches = islice(ClipStream(plan, ahead, seed=5, lane=0), 6)
        shares.append(np.mean([float(correspond(b, patch=4).visible[:, 0, 1].float().mean()) for b in batches]))
    assert shares[0] > shares[1] + 0.05


def test_held_out_seeds_are_never_drawn():
    seeds = [spec_of(PLAN, seed=0, lane=0, number=number).seed for number in range(300)]
    assert min(seeds) >= HELD_OUT_SEEDS
    assert len(set(seeds)) == 300 / PLAN.per_world


def test_the_mirror_world_keeps_the_geometry():
    clip = render_box(ClipSpec("rooms", 3, 0, 2, 10.0, (32, 48)))
    mirrored = mirror(clip)
    np.testing.assert_array_equal(mirrored.rgb, clip.rgb[:, :, ::-1])
    assert np.linalg.det(mirrored.world_from_cam[1, :3, :3]) == pytest.approx(1)
    plain, turned = (correspond(stack([side]), patch=8) for side in (clip, mirrored))
    assert plain.visible.any()
    back = torch.arange(24).reshape(4, 6).flip(1).flatten()  # a token's number in the mirror
    clear = plain.visible & turned.visible[..., back]
    assert clear.sum() > 0.6 * plain.visible.sum()
    agree = (plain.target == back[turned.target[..., back]])[clear].float().mean()
    assert agree > 0.7  # a token's centre is half a pixel off its middle, which the mirror turns round


def test_recolouring_leaves_depth_alone_and_time_is_reversed_whole():
    clip = render_box(ClipSpec("rooms", 3, 0, 3, 10.0, (32, 48)))
    coloured = recolour(clip, np.random.default_rng(0))
    assert not np.array_equal(coloured.rgb, clip.rgb)
    assert coloured.depth is clip.depth
    turned = take_frames(clip, np.array([2, 0]))
    np.testing.assert_array_equal(turned.world_from_cam, clip.world_from_cam[[2, 0]])
    assert turned.name.endswith("[2,0]")
    torch.testing.assert_close(stack([turned]).world_from_cam[0, 0], torch.eye(4))


def test_some_clips_lose_their_colour_and_none_their_picture():
    clip = render_box(ClipSpec("rooms", 3, 0, 3, 10.0, (32, 48)))
    seen = [recolour(clip, np.random.default_rng(seed)).rgb.astype(float) for seed in range(200)]
    colour = np.array([np.abs(rgb - rgb.mean(-1, keepdims=True)).max() for rgb in seen])
    assert 0.08 < (colour < 1).mean() < 0.25
    contrast = np.array([rgb.std() for rgb in seen])
    assert contrast.min() > 0.2 * clip.rgb.std()
    assert contrast.max() > 1.3 * clip.rgb.std()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"odds": (1.0,)}, "2 frame counts.*1 odds"),
        ({"frames": (2, 5)}, "5 frames.*4"),
        ({"pool": 3}, "pool of 3.*batch of 4"),
        ({"families": ("rooms",)}, "1 families.*4 odds"),
        ({"least_baseline": -0.1}, r"least_baseline.*-0\.1"),
        ({"least_overlap": 1.5}, r"least_overlap.*1\.5"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(PLAN, **change)


def test_a_worse_camera_changes_colours_alone_and_no_more_than_a_phone_does():
    clip = render_box(ClipSpec("rooms", 4, 0, 4, 8.0, (32, 44)))
    worse = camera_faults(clip, np.random.default_rng(0))
    for name in ("depth", "valid", "moving", "intrinsics", "world_from_cam"):
        assert np.array_equal(getattr(worse, name), getattr(clip, name))
    change = np.abs(worse.rgb.astype(int) - clip.rgb.astype(int)).mean()
    assert 1 < change < 60


def test_motion_blur_of_a_ramp_is_the_ramp_and_of_a_point_its_track():
    ramp = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32)[None, :, None], (16, 32, 3))
    assert np.allclose(motion_blur(ramp, np.array([3.0, 0.0]))[:, 4:-4], ramp[:, 4:-4], atol=1e-6)
    point = np.zeros((17, 17, 3), np.float32)
    point[8, 8] = 1
    track = motion_blur(point, np.array([4.0, 0.0]))[..., 0]
    assert np.allclose(track[8, 6:11], 0.2, atol=1e-6)
    assert track.sum() == pytest.approx(1, abs=1e-5)


def test_vignetting_darkens_by_the_square_of_the_distance():
    shaded = vignette(np.ones((1, 101, 201, 3), np.float32), 0.4)[0, ..., 0]
    assert shaded[50, 100] == pytest.approx(1.0)
    assert shaded[50, 0] == pytest.approx(1 - 0.4 / 2, abs=0.005)
    assert shaded[0, 0] == pytest.approx(1 - 0.4, abs=0.01)


def test_compression_keeps_flat_blocks_and_loses_more_the_lower_its_quality():
    flat = np.full((20, 28, 3), 0.25, np.float32)
    assert np.abs(compress(flat, 60) - flat).max() < 0.02
    noise = np.random.default_rng(0).random((21, 28, 3)).astype(np.float32)
    losses = [float(np.abs(compress(noise, quality) - noise).mean()) for quality in (95, 70, 40, 10)]
    assert losses == sorted(losses)
    assert losses[0] < 0.03 < losses[-1]
    assert compress(noise, 50).shape == noise.shape
