"""Adjustment of a window: elimination equals the full system; cameras, depth and focal length improve together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from network.motion_scenes import (
    HEIGHT,
    SIZE,
    WIDTH,
    generator,
    intrinsics,
    motion,
    worlds_and_flow,
)
from openloger.geometry import SE3, rotation_angle
from openloger.network.motion import EdgeFlow, Edges, FocalPrior, WindowSettings
from openloger.network.motion.elimination import Eliminated, Slots, Tracks, WindowState, _observe
from openloger.network.motion.flow import cell_centres
from openloger.network.motion.matches import cell_depth
from openloger.network.motion.window import (
    Adjusted,
    adjust_window,
    descend,
    field_basis,
    field_precision,
    predicted_overlap,
)

FRAMES = 4
ALL = Edges.gaps(FRAMES, (1, -1, 2))
STIFF = replace(WindowSettings(), scale_sigma=1e-3, field_sigma=1e-3, point_sigma=1e-3, focal_sigma=1e-4)


def path() -> SE3:
    """(1, frame) cameras of a walk."""
    steps = [motion(seed, angle=0.06, length=0.2) for seed in range(FRAMES)]
    cameras = [SE3.identity()]
    for step in steps[1:]:
        cameras.append(cameras[-1] @ step)
    return SE3(torch.stack([c.rotation for c in cameras])[None], torch.stack([c.translation for c in cameras])[None])


def scene(cameras: SE3) -> tuple[EdgeFlow, Tensor]:
    return worlds_and_flow(cameras, ALL)


def shaken(cameras: SE3, size: float) -> SE3:
    """All but the first moved by random twists."""
    twist = size * torch.randn(1, FRAMES, 6, generator=generator(7))
    return cameras @ SE3.exp(twist * (torch.arange(FRAMES) > 0)[:, None])


def adjusted(
    flow: EdgeFlow,
    depth: Tensor,
    start: SE3,
    settings: WindowSettings,
    focal: float = 1.0,
    prior: FocalPrior | None = None,
) -> Adjusted:
    lens = intrinsics(FRAMES)
    lens[..., 0, 0] *= focal
    lens[..., 1, 1] *= focal
    cells = cell_depth(depth)
    return adjust_window(flow, ALL, cells, lens, (start, start), flow_sigma_px=0.3, settings=settings, focal=prior)


def camera_error(found: SE3, true: SE3) -> float:
    return float((found.matrix() - true.matrix()).abs().max())


def test_exact_flow_and_depth_give_the_cameras() -> None:
    true = path()
    flow, depth = scene(true)
    loose = replace(STIFF, rotation_sigma=10.0, translation_sigma=10.0)
    found = adjusted(flow, depth, shaken(true, 0.02), loose)
    assert camera_error(found.world_from_cam, true) < 1e-4
    assert float(found.log_focal.abs()) < 1e-4
    assert float(found.log_depth.abs().max()) < 1e-4


@pytest.mark.parametrize("focal", [0.94, 1.06])
def test_a_wrong_focal_length_is_found(focal: float) -> None:
    true = path()
    flow, depth = scene(true)
    settings = replace(STIFF, focal_sigma=0.05, rotation_sigma=10.0, translation_sigma=10.0)
    found = adjusted(flow, depth, shaken(true, 0.01), settings, focal)
    assert float((found.log_focal + torch.tensor(focal).log()).abs()) < 3e-3
    assert camera_error(found.world_from_cam, true) < 5e-3


def test_a_focal_length_goes_where_it_is_expected_and_tells_what_flow_knows_of_it() -> None:
    """By the gain of a filter: from what is expected to what flow wants, in proportion to its information."""
    true = path()
    flow, depth = scene(true)
    settings = replace(STIFF, rotation_sigma=10.0, translation_sigma=10.0, cutoffs=(3.0,) * 8)
    wanted, expected = -torch.tensor([1.02]).log(), torch.tensor([0.05])
    for sigma in (torch.tensor([1e-5]), torch.tensor([0.011]), torch.tensor([10.0])):
        found = adjusted(flow, depth, true, settings, 1.02, FocalPrior(expected, sigma))
        gain = found.focal_information / (found.focal_information + sigma**-2)
        assert_close(found.log_focal, expected + gain * (wanted - expected), rtol=0, atol=3e-3)
        assert 1e3 < float(found.focal_information) < 1e5
    nothing = adjusted(flow.reweighted(torch.zeros(1, len(ALL))), depth, true, settings)
    assert float(nothing.focal_information) < 1


def test_depth_that_is_wrong_gets_better_and_so_do_the_cameras() -> None:
    true = path()
    flow, depth = scene(true)
    knots = 0.15 * torch.randn(FRAMES, 1, 3, 4, generator=generator(5))
    wrong = F.interpolate(knots, size=SIZE, mode="bilinear", align_corners=False)[None, :, 0]
    wrong = wrong[..., 2::4, 2::4].repeat_interleave(4, -1).repeat_interleave(4, -2)  # the same within a cell
    start = shaken(true, 0.01)
    stiff = adjusted(flow, depth * wrong.exp(), start, STIFF)
    yielding = WindowSettings(scale_sigma=0.05, field_sigma=0.1, field_reach=0.4, point_sigma=0.2)
    free = adjusted(flow, depth * wrong.exp(), start, yielding)

    def turned(found: Adjusted) -> float:
        return float(rotation_angle(found.world_from_cam.rotation.mT @ true.rotation).max())

    assert turned(free) < 0.35 * turned(stiff)
    sources = [0, 1, 2]
    left = wrong + F.interpolate(free.log_depth, size=SIZE, mode="bilinear", align_corners=False)
    assert float(left[:, sources].std()) < 0.7 * float(wrong[:, sources].std())


def test_flow_that_disagrees_loses_its_weight() -> None:
    true = path()
    flow, depth = scene(true)
    wrong = torch.rand(flow.weight.shape, generator=generator(2)) < 0.3
    noise = 20 * torch.randn(flow.shift_px.shape, generator=generator(3))
    flow = replace(flow, shift_px=flow.shift_px + noise * wrong[..., None])
    found = adjusted(flow, depth, shaken(true, 0.01), replace(STIFF, rotation_sigma=10.0, translation_sigma=10.0))
    assert camera_error(found.world_from_cam, true) < 5e-3


def test_without_flow_the_regressed_cameras_stay() -> None:
    true = path()
    flow, depth = scene(true)
    start = shaken(true, 0.05)
    found = adjusted(flow.reweighted(torch.zeros(1, len(ALL))), depth, start, WindowSettings())
    assert camera_error(found.world_from_cam, start) < 1e-5


def small() -> tuple[WindowState, Tracks, Slots, SE3, WindowSettings]:
    """Float64: three frames, four edges, seven points a frame, four knots; residuals of about a pixel."""
    random, f64 = generator(0), torch.float64

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=f64)

    slots = Slots.of(Edges(torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 2, 1])), 3)
    state = WindowState(
        SE3.exp(0.1 * normal(1, 3, 6)), 0.1 * normal(3, 7), 0.1 * normal(3, 4), torch.tensor([0.05], dtype=f64)
    )
    weight = torch.rand(3, 2, 7, generator=random, dtype=f64) * slots.used[..., None]
    tracks = Tracks(
        ray=0.4 * normal(3, 2, 7),
        depth=2 + torch.rand(3, 7, generator=random, dtype=f64),
        matched=torch.zeros(3, 2, 2, 7, dtype=f64),
        weight=weight,
        focal_px=torch.full((3, 2, 2), 9.0, dtype=f64),
        basis=normal(7, 4).softmax(-1),
    )
    seen = _observe(replace(state, log_focal=0 * state.log_focal), tracks, slots, sigma=1.0, cutoff=1e9).residual
    tracks = replace(tracks, matched=torch.stack(seen.chunk(2, -1), 2) / 9 + 0.03 * normal(3, 2, 2, 7))
    return state, tracks, slots, SE3.exp(0.1 * normal(1, 3, 6)), WindowSettings(field=(2, 2), cutoffs=(5.0,))


def test_elimination_equals_the_full_system() -> None:
    """The slow twin: derivatives of all unknowns by autograd, one dense least-squares problem."""
    state, tracks, slots, regressed, settings = small()
    expected = FocalPrior(torch.tensor([0.02], dtype=torch.float64), torch.tensor([0.04], dtype=torch.float64))
    found, known = descend(state, tracks, slots, (regressed, expected), flow_sigma_px=0.3, settings=settings)
    weight = _observe(state, tracks, slots, sigma=0.3, cutoff=5.0).weight
    root = torch.linalg.cholesky(field_precision(settings, like=tracks.depth)).mT

    def between(cameras: SE3) -> SE3:
        first, then = (SE3(cameras.rotation[:, s], cameras.translation[:, s]) for s in (slice(-1), slice(1, None)))
        return then.inverse() @ first

    now, wanted = between(state.world_from_cam), between(regressed)
    middle = tracks.depth.flatten().median()
    spring = torch.cat([(settings.translation_sigma * middle).expand(3), torch.full((3,), settings.rotation_sigma)])

    def residuals(eta: Tensor, points: Tensor, field: Tensor, log_focal: Tensor) -> Tensor:
        twists = torch.cat([eta.new_zeros(1, 6), eta])[None]
        moved = WindowState(state.world_from_cam @ SE3.exp(twists), points, field, log_focal)
        seen = _observe(moved, tracks, slots, sigma=0.3, cutoff=1e9).residual * torch.cat([weight, weight], -1).sqrt()
        stretched = (now.adjoint() @ twists[:, :-1, :, None])[..., 0] - twists[:, 1:]
        parts = [seen, (points - field @ tracks.basis.mT) / settings.point_sigma, field @ root.mT]
        parts += [
            (log_focal - expected.log_factor) / expected.sigma,
            ((now @ wanted.inverse()).log() + stretched) / spring,
        ]
        return torch.cat([part.flatten() for part in parts])

    at = (torch.zeros(2, 6, dtype=torch.float64), state.log_depth, state.field, state.log_focal)
    parts = torch.autograd.functional.jacobian(residuals, at)
    whole = torch.cat([part.flatten(1) for part in parts], 1)
    information = whole.mT @ whole
    step = -torch.linalg.solve(information, whole.mT @ residuals(*at))
    eta, points, field, log_focal = step.split([12, 21, 12, 1])
    cameras = state.world_from_cam @ SE3.exp(torch.cat([torch.zeros(1, 6), eta.reshape(2, 6)])[None])
    assert_close(found.world_from_cam.matrix(), cameras.matrix(), rtol=0, atol=5e-4)
    assert_close(found.log_depth - state.log_depth, points.reshape(3, 7), rtol=0, atol=1e-4)
    assert_close(found.field - state.field, field.reshape(3, 4), rtol=0, atol=1e-4)
    assert_close(found.log_focal - state.log_focal, log_focal, rtol=0, atol=1e-5)
    assert_close(known[0], 1 / information.inverse()[-1, -1] - expected.sigma[0] ** -2, rtol=1e-3, atol=0)


def test_gradients_of_a_step() -> None:
    state, tracks, slots, regressed, settings = small()

    def step(depth: Tensor, matched: Tensor, twist: Tensor) -> tuple[Tensor, ...]:
        given = replace(tracks, depth=depth, matched=matched)
        begin = replace(state, world_from_cam=SE3.exp(twist))
        expected = FocalPrior(torch.zeros_like(state.log_focal), torch.full_like(state.log_focal, 0.05))
        found, known = descend(begin, given, slots, (regressed, expected), flow_sigma_px=0.3, settings=settings)
        return found.world_from_cam.matrix(), found.field, found.log_focal, known

    inputs = (tracks.depth, tracks.matched, state.world_from_cam.log())
    assert torch.autograd.gradcheck(step, tuple(x.detach().clone().requires_grad_() for x in inputs), fast_mode=True)


def test_empty_slots_change_nothing() -> None:
    state, tracks, slots, _, settings = small()
    prior = field_precision(settings, like=tracks.depth)
    wild = replace(tracks, matched=torch.where(slots.used[..., None, None], tracks.matched, 50.0))
    a, b = (Eliminated.of(state, t, slots, prior, sigma=(0.3, 0.2), cutoff=3.0) for t in (tracks, wild))
    assert_close(a.information, b.information)
    assert_close(a.gradient, b.gradient)
    assert slots.target.tolist() == [[1, 2], [2, 1], [1, 2]]
    assert slots.used.tolist() == [[True, True], [True, False], [True, False]]


def test_the_field_is_interpolated_as_pictures_are() -> None:
    settings = WindowSettings()
    knots = torch.randn(1, 1, 3, 4, generator=generator(1))
    picture = F.interpolate(knots, size=SIZE, mode="bilinear", align_corners=False)[0, 0]
    cells = cell_centres(HEIGHT, WIDTH, like=knots).flatten(0, 1)
    between = F.avg_pool2d(picture[None], 2, 1)[0, 1::4, 1::4].flatten()  # at the corners of four pixels
    assert_close(field_basis(cells, settings, size=SIZE) @ knots.flatten(), between, rtol=0, atol=1e-5)


def test_overlap_is_the_part_that_stays_in_the_picture() -> None:
    cameras = path()
    flow, depth = scene(cameras)
    overlap = predicted_overlap(cameras, ALL, cell_depth(depth), intrinsics(FRAMES))
    assert_close(overlap, flow.inside.float().mean((2, 3)), rtol=0, atol=0.1)
    away = SE3(torch.diag(torch.tensor([-1.0, 1.0, -1.0])).expand(1, FRAMES, 3, 3), cameras.translation)
    mixed = SE3(torch.stack([cameras.rotation[:, 0], *away.rotation.unbind(1)[1:]], 1), cameras.translation)
    assert float(predicted_overlap(mixed, Edges.chain(FRAMES), cell_depth(depth), intrinsics(FRAMES))[0, 0]) == 0
