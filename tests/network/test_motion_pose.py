"""Motion from matches: exact data give the exact motion, outliers have no say, gradients are right."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from network.motion_scenes import FOCAL, HEIGHT, WIDTH, cell_world, exact_flow, generator, intrinsics, motion
from openloger.geometry import SE3, rotation_angle
from openloger.network.motion import EdgeFlow, EdgeMotion, Edges, EdgeStatus, measure_motion
from openloger.network.motion.hypotheses import TRUNCATE, score
from openloger.network.motion.matches import edge_matches
from openloger.network.motion.pose import (
    Matches,
    Noise,
    depth_correction,
    factorised,
    linearise,
    normal_equations,
    project_matches,
    refine_motion,
    solve_step,
    warn_of_steps,
)
from openloger.network.motion.window import _last_information

CHAIN = Edges.chain(2)
STILL = SE3.identity(1, 2)


def measured(depth: Tensor, true: SE3, flow: EdgeFlow | None = None, start: SE3 = STILL) -> EdgeMotion:
    flow = exact_flow(depth[0, 0], true) if flow is None else flow
    return measure_motion(flow, CHAIN, depth.expand(1, 2, *depth.shape[2:]), intrinsics(2), start)


def distance(found: SE3, true: SE3) -> float:
    return float((found.matrix() - true.matrix()).abs().max())


@pytest.mark.parametrize("seed", range(8))
def test_exact_flow_and_depth_give_the_motion(seed: int) -> None:
    true = motion(seed)
    found = measured(cell_world(seed), true)
    assert distance(found.target_from_source, true) < 1e-4
    assert found.status.item() == EdgeStatus.MEASURED
    assert found.inliers.item() > 0.99


@pytest.mark.parametrize("angle", [0.01, 0.3, 0.5])
def test_large_and_small_motions(angle: float) -> None:
    true = motion(3, angle=angle, length=angle)
    assert distance(measured(cell_world(1), true).target_from_source, true) < 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_random_outliers_to_forty_per_cent(seed: int) -> None:
    true, depth = motion(seed), cell_world(seed)
    flow = exact_flow(depth[0, 0], true)
    wrong = torch.rand(flow.weight.shape, generator=generator(seed)) < 0.4
    noise = 20 * torch.randn(flow.shift_px.shape, generator=generator(seed + 1))
    flow = replace(flow, shift_px=torch.where(wrong[..., None], flow.shift_px + noise, flow.shift_px))
    found = measured(depth, true, flow)
    assert distance(found.target_from_source, true) < 2e-3
    assert found.inliers.item() == pytest.approx(0.6, abs=0.06)


def test_things_that_move_by_themselves() -> None:
    """Three of them, each as one, on a third of the picture and more; a stiff one may bend the depth it hides."""
    errors = []
    for seed in range(6):
        true, depth = motion(seed), cell_world(seed)
        flow = exact_flow(depth[0, 0], true)
        shift = flow.shift_px.clone()
        shift[..., 2:13, 2:13, :] += shift.new_tensor([9.0, -4.0])
        shift[..., 14:22, 2:11, :] += shift.new_tensor([-7.0, 3.0])
        shift[..., 10:17, 20:29, :] += shift.new_tensor([2.0, 8.0])
        found = measured(depth, true, replace(flow, shift_px=shift))
        assert found.status.item() == EdgeStatus.MEASURED
        errors.append(distance(found.target_from_source, true))
    assert max(errors) < 0.05
    assert sorted(errors)[len(errors) // 2] < 1e-3


def test_swapped_frames_give_the_inverse() -> None:
    """A plane n · X = 1, whose depth is known in both frames."""
    true = motion(5)
    normal = torch.tensor([0.1, -0.15, 0.25])
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    ray = torch.stack([(columns - WIDTH / 2) / FOCAL, (rows - HEIGHT / 2) / FOCAL, torch.ones_like(rows)], -1)
    moved = true.rotation @ normal  # the plane in the target: moved · Y = 1 + moved · t
    depth = torch.stack([1 / (ray @ normal), (1 + moved @ true.translation) / (ray @ moved)])[None]
    there = _plane_flow(normal, torch.tensor(1.0), true)
    back = _plane_flow(moved, 1 + moved @ true.translation, true.inverse())
    flow = replace(
        there,
        **{name: torch.cat([getattr(f, name) for f in (there, back)], 1) for name in ("shift_px", "weight", "inside")},
    )
    edges = Edges(torch.tensor([0, 1]), torch.tensor([1, 0]))
    found = measure_motion(flow, edges, depth, intrinsics(2), STILL).target_from_source
    forward, backward = (SE3(found.rotation[:, e], found.translation[:, e]) for e in (0, 1))
    assert distance(forward, true) < 1e-4
    assert distance(forward @ backward, SE3.identity(1)) < 1e-4


def _plane_flow(normal: Tensor, offset: Tensor, target_from_source: SE3) -> EdgeFlow:
    rows, columns = torch.meshgrid(torch.arange(2, HEIGHT, 4), torch.arange(2, WIDTH, 4), indexing="ij")
    ray = torch.stack([(columns - WIDTH / 2) / FOCAL, (rows - HEIGHT / 2) / FOCAL, torch.ones(rows.shape)], -1)
    cells = (offset / (ray @ normal)).repeat_interleave(4, 0).repeat_interleave(4, 1)
    return exact_flow(cells, target_from_source)


def test_a_still_camera_stays_where_it_is() -> None:
    depth, start = cell_world(2), SE3(torch.eye(3).expand(1, 2, 3, 3), torch.tensor([[[0.0, 0, 0], [0.3, 0, 0]]]))
    found = measured(depth, SE3.identity(), start=start)
    assert found.status.item() == EdgeStatus.STILL
    assert torch.equal(found.target_from_source.matrix(), SE3.identity(1, 1).matrix())


def test_pure_rotation_has_no_translation() -> None:
    true = motion(4, angle=0.2, length=0.0)
    found = measured(cell_world(4), true).target_from_source
    assert float(rotation_angle(found.rotation.mT @ true.rotation).max()) < 1e-4
    assert float(found.translation.norm()) < 1e-4


@pytest.mark.parametrize("left", [0.0, 0.03])
def test_without_texture_the_regressed_camera_stays(left: float) -> None:
    depth, regressed = cell_world(2), motion(8)
    flow = exact_flow(depth[0, 0], motion(9))
    start = SE3(*(torch.stack([a, b])[None] for a, b in zip(*(_parts(SE3.identity()), _parts(regressed)), strict=True)))
    found = measured(depth, motion(9), replace(flow, weight=flow.weight * left), start)
    assert found.status.item() == EdgeStatus.FALLBACK
    assert distance(found.target_from_source, regressed.inverse()) < 1e-6
    assert float(found.information.abs().max()) == 0


def _parts(transform: SE3) -> tuple[Tensor, Tensor]:
    return transform.rotation, transform.translation


def test_matches_that_disagree_are_no_camera() -> None:
    flow = exact_flow(cell_world(2)[0, 0], motion(9))
    noise = 15 * torch.randn(flow.shift_px.shape, generator=generator(0))
    found = measured(cell_world(2), motion(9), replace(flow, shift_px=noise))
    assert found.status.item() == EdgeStatus.FALLBACK


@pytest.mark.parametrize("seed", [1, 6])
def test_depth_that_may_be_corrected_does_not_turn_the_camera(seed: int) -> None:
    """Depth is wrong by 30 %, patch by patch. Where it is believed, a rotation replaces part of the translation."""
    true, depth = motion(seed, length=0.4), cell_world(seed)
    wrong = torch.randn(1, 1, HEIGHT // 16, WIDTH // 16, generator=generator(seed)) * 0.3
    flow = exact_flow(depth[0, 0], true)
    matches = _matches(depth * wrong.exp().repeat_interleave(16, 2).repeat_interleave(16, 3), flow)
    start = SE3(true.rotation[None], true.translation[None])

    def error(depth_sigma: float) -> float:
        found, _ = refine_motion(start, matches, Noise(depth_sigma=depth_sigma), steps=8)
        return float(rotation_angle(found.rotation[0].mT @ true.rotation))

    assert error(0.4) < 0.3 * error(0.005)
    _, log_depth = refine_motion(start, matches, Noise(depth_sigma=0.4), steps=8)
    error_before = wrong.repeat_interleave(4, 2).repeat_interleave(4, 3).flatten()
    used = matches.weight[0] > 0
    assert float((error_before + log_depth[0])[used].std()) < 0.5 * float(error_before[used].std())


def _matches(depth: Tensor, flow: EdgeFlow) -> Matches:
    return edge_matches(flow, CHAIN, depth.expand(1, 2, *depth.shape[2:]), intrinsics(2, dtype=depth.dtype))


def _few(seed: int = 0, count: int = 14) -> tuple[Matches, SE3]:
    """Float64 matches with some noise, and a motion near the best one."""
    depth, true = cell_world(seed, dtype=torch.float64), motion(seed, dtype=torch.float64)
    matches = _matches(depth, exact_flow(depth[0, 0], true))
    some = torch.randperm(matches.weight.shape[1], generator=generator(seed))[:count]
    noise = 0.3 * torch.randn(1, 2, count, generator=generator(seed), dtype=torch.float64)
    few = replace(
        matches,
        point=matches.point[..., some],
        pixel=matches.pixel[..., some] + noise,
        weight=torch.full_like(noise[:, 0], 0.7),
    )
    return few, SE3(true.rotation[None], true.translation[None])


@pytest.mark.parametrize("size", [0.0, 0.2])
def test_linearised_rows_are_those_of_the_covariance(size: float) -> None:
    """The slow twin: Σ written out, derivatives by autograd; corrections by the system of both unknowns."""
    matches, true = _few()
    noise, count = Noise(), matches.weight.shape[1]
    log_depth = size * torch.randn(count, generator=generator(1), dtype=torch.float64)

    def residual(twist: Tensor, log_depth: Tensor) -> Tensor:
        moved = (SE3.exp(twist) @ true).apply((matches.point * log_depth.exp()).mT)[0]
        return moved[:, :2] / moved[:, 2:] * matches.focal_px + matches.principal_px - matches.pixel[0].mT

    zero = torch.zeros(1, 6, dtype=torch.float64)
    J, G = torch.autograd.functional.jacobian(residual, (zero, log_depth))
    J, g = J[:, :, 0], torch.stack([G[n, :, n] for n in range(count)])
    r = residual(zero, log_depth) - g * log_depth[:, None]
    covariance = noise.flow_sigma_px**2 * torch.eye(2).double() + noise.depth_sigma**2 * g[:, :, None] * g[:, None]
    precision = torch.linalg.inv(covariance)
    linearised = linearise(true, matches, noise, log_depth[None])
    information, gradient = normal_equations(linearised, matches.weight)
    assert_close(linearised.square[0], torch.einsum("ni,nij,nj->n", r, precision, r))
    assert_close(information[0], 0.7 * torch.einsum("nia,nij,njb->ab", J, precision, J))
    assert_close(gradient[0], 0.7 * torch.einsum("nia,nij,nj->a", J, precision, r))

    step = solve_step(information, gradient, damping=0.0)
    rows = torch.cat([J.flatten(0, 1), G.flatten(0, 1)], 1) / noise.flow_sigma_px
    prior = torch.cat([torch.zeros(count, 6), torch.eye(count) / noise.depth_sigma], 1)
    rows = torch.cat([rows, prior]).double()
    wanted = torch.cat([(G @ log_depth - residual(zero, log_depth)).flatten() / noise.flow_sigma_px, 0 * log_depth])
    both = torch.linalg.lstsq(rows, wanted[:, None]).solution[:, 0]
    assert_close(step[0], both[:6])
    assert_close(
        depth_correction(linearised, step, noise)[0], both[6:].clamp(-4 * noise.depth_sigma, 4 * noise.depth_sigma)
    )


def test_the_score_is_the_likelihood() -> None:
    matches, true = _few()
    noise = Noise()
    g = torch.cat(project_matches(true, matches, 0 * matches.weight).by_depth).mT
    likelihood = (
        linearise(true, matches, noise).square[0]
        + (1 + (g * g).sum(-1) * (noise.depth_sigma / noise.flow_sigma_px) ** 2).log()
    )
    scored = score(SE3(true.rotation[:, None], true.translation[:, None]), matches, noise)
    assert_close(scored[0, 0], 0.7 * likelihood.clamp_max(TRUNCATE**2).sum(), rtol=2e-3, atol=1e-3)


def test_gradients_of_the_refined_motion() -> None:
    matches, true = _few(count=10)
    start = (SE3.exp(0.01 * torch.ones(1, 6, dtype=torch.float64)) @ true).log()

    def refined(log_depth: Tensor, pixel: Tensor, weight: Tensor, twist: Tensor) -> Tensor:
        given = replace(matches, point=matches.point * log_depth.exp(), pixel=pixel, weight=weight)
        return refine_motion(SE3.exp(twist), given, Noise(), steps=2)[0].matrix()

    inputs = (torch.zeros(1, 1, 10, dtype=torch.float64), matches.pixel, matches.weight, start)
    assert torch.autograd.gradcheck(refined, tuple(x.detach().clone().requires_grad_() for x in inputs))


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    warn_of_steps.cache_clear()
    with caplog.at_level(logging.WARNING, logger="openloger"):
        yield caplog
    warn_of_steps.cache_clear()


def test_a_step_that_nothing_supports_is_not_taken_and_warned_of_once(warned: pytest.LogCaptureFixture) -> None:
    assert torch.equal(solve_step(torch.zeros(1, 6, 6), torch.zeros(1, 6)), torch.zeros(1, 6))
    assert not warned.records
    for _ in range(2):
        assert torch.equal(solve_step(torch.full((1, 6, 6), torch.nan), torch.ones(1, 6)), torch.zeros(1, 6))
    (record,) = warned.records
    assert "have no solution" in record.getMessage()


def test_what_is_known_of_a_factor_that_nothing_supports_is_nothing_and_no_matter(
    warned: pytest.LogCaptureFixture,
) -> None:
    """As of the focal length, where a camera hardly moves: the last unknown here is the sum of the others."""
    rows = torch.randn(20, 5, generator=generator(3), dtype=torch.float64)
    rows = torch.cat([rows, rows.sum(1, keepdim=True)], 1)
    singular = (rows.mT @ rows)[None] - 1e-9 * torch.eye(6, dtype=torch.float64)
    assert _last_information(singular).tolist() == [0.0]
    assert not warned.records
    assert_close(_last_information(torch.diag(torch.arange(1.0, 7.0))[None]), torch.tensor([6.0]))


def equations(count: int = 3) -> tuple[Tensor, Tensor]:
    rows = torch.randn(count, 20, 6, generator=generator(0))
    return rows.mT @ rows, torch.randn(count, 6, generator=generator(1))


def test_where_float32_fails_a_step_is_solved_in_float64(
    monkeypatch: pytest.MonkeyPatch, warned: pytest.LogCaptureFixture
) -> None:
    """As under emulation, where float32 takes positive definite matrices for others."""
    information, gradient = equations()
    wanted = solve_step(information, gradient)
    right = torch.linalg.cholesky_ex

    def wrong(matrix: Tensor) -> object:
        fails = (matrix.tril(-1).flatten(-2) != 0).any(-1) & (matrix.dtype == torch.float32)
        return right(torch.where(fails[..., None, None], -matrix, matrix))

    monkeypatch.setattr(torch.linalg, "cholesky_ex", wrong)
    assert_close(solve_step(information, gradient), wanted, rtol=1e-4, atol=1e-6)
    assert not warned.records


def test_factors_of_one_matrix_do_not_depend_on_another_that_fails() -> None:
    information, _ = equations()
    alone, none = factorised(information)
    assert not none.any()
    information[1, 0, 0] = -1
    together, none = factorised(information)
    assert none.tolist() == [False, True, False]
    assert torch.equal(together[[0, 2]], alone[[0, 2]])
    assert torch.equal(together[1], torch.eye(6))


def test_a_matrix_that_fails_leaves_gradients_finite() -> None:
    information, gradient = equations()
    information[1] = torch.nan
    information.requires_grad_()
    solve_step(information, gradient).sum().backward()
    assert information.grad is not None
    assert bool(information.grad[[0, 2]].isfinite().all())
    assert bool(information.grad[[0, 2]].any())


def test_points_behind_the_camera_have_no_say() -> None:
    matches, true = _few()
    behind = replace(matches, point=matches.point * torch.where(torch.arange(14) < 3, -1.0, 1.0))
    linearised = linearise(true, behind, Noise())
    assert linearised.seen[0].tolist() == [0.0] * 3 + [1.0] * 11
    assert bool(linearised.rows.isfinite().all())
