"""Similarities that outliers do not move, and pose graphs whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from openloger.errors import InputError
from openloger.geometry import (
    PointAnchors,
    RelativeEdges,
    Sim3,
    robust_similarity,
    solve_pose_graph,
    umeyama_upright,
)
from openloger.geometry.pose_graph import anchor_slopes, edge_slopes

TRUE = Sim3.exp(torch.tensor([5.0, 3.0, -2.0, 0.0, 0.8, 0.0, 0.7], dtype=torch.float64))


def noise(*shape: int, seed: int, size: float = 1.0) -> torch.Tensor:
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("upright", [False, True])
def test_outliers_do_not_move_a_robust_similarity(upright: bool) -> None:
    source = noise(60, 3, seed=0, size=10)
    target = TRUE.apply(source) + noise(60, 3, seed=1, size=0.1)
    target[:26] += noise(26, 3, seed=2, size=400)  # 43 % of them
    found = robust_similarity(source, target, upright=upright)
    off = (found.target_from_source @ TRUE.inverse()).log()
    assert off[3:].abs().max() < 0.01
    assert found.sigma == pytest.approx(0.1, rel=0.3)
    assert not found.is_inlier[:26].any()
    assert found.is_inlier[26:].sum() >= 32


def test_exact_points_give_the_exact_similarity() -> None:
    source = noise(20, 3, seed=3)
    found = robust_similarity(source, TRUE.apply(source)).target_from_source
    torch.testing.assert_close(found.matrix(), TRUE.matrix(), rtol=1e-9, atol=1e-9)


def test_a_straight_level_path_decides_an_upright_similarity() -> None:
    at = torch.linspace(0, 9, 10, dtype=torch.float64)
    line = torch.stack([at, 0 * at, 2 * at], -1)
    torch.testing.assert_close(umeyama_upright(line, TRUE.apply(line)).matrix(), TRUE.matrix())
    above = torch.stack([0 * at, at, 0 * at], -1)
    with pytest.raises(InputError, match="above one another"):
        umeyama_upright(above, TRUE.apply(above))


def circle(count: int) -> Sim3:
    """Cameras on a circle, looking along it."""
    angle = torch.linspace(0, 2 * torch.pi, count, dtype=torch.float64)
    turn = torch.zeros(count, 7, dtype=torch.float64)
    turn[:, 4] = angle
    centre = torch.stack([10 * angle.cos(), 0 * angle, 10 * angle.sin()], 1)
    return Sim3(torch.ones(count, dtype=torch.float64), Sim3.exp(turn).rotation, centre)


def chained(measured: Sim3, first: Sim3) -> Sim3:
    nodes = [first]
    for step in range(len(measured.scale)):
        nodes.append(nodes[-1] @ measured[step : step + 1])
    parts = [torch.cat([getattr(node, part) for node in nodes]) for part in ("scale", "rotation", "translation")]
    return Sim3(*parts)


def joined(*parts: Sim3) -> Sim3:
    return Sim3(*(torch.cat([getattr(one, name) for one in parts]) for name in ("scale", "rotation", "translation")))


@pytest.fixture(scope="module")
def drifting() -> tuple[Sim3, Sim3, Sim3]:
    """True nodes, measured steps whose rotation and scale are off, and the path that they add up to."""
    true = circle(60)
    off = noise(59, 7, seed=4) * torch.tensor([0.01] * 3 + [0.004] * 3 + [0.005]) + 0.006 * torch.eye(7)[6]
    measured = true[:-1].inverse() @ true[1:] @ Sim3.exp(off.double())
    return true, measured, chained(measured, true[:1])


def graph(measured: Sim3, *loops: tuple[int, int, Sim3]) -> RelativeEdges:
    count = len(measured.scale)
    first = torch.tensor([*range(count), *(loop[0] for loop in loops)])
    second = torch.tensor([*range(1, count + 1), *(loop[1] for loop in loops)])
    sigma = torch.tensor([0.02] * 3 + [0.006] * 3 + [0.008], dtype=torch.float64).expand(len(first), 7)
    is_robust = torch.arange(len(first)) >= count
    return RelativeEdges(first, second, joined(measured, *(loop[2] for loop in loops)), sigma, is_robust)


def rms(nodes: Sim3, true: Sim3) -> float:
    return float((nodes.translation - true.translation).square().sum(-1).mean().sqrt())


def test_a_true_loop_closes_the_circle_and_a_false_one_is_left_out(drifting: tuple[Sim3, Sim3, Sim3]) -> None:
    true, measured, start = drifting
    closing = true[:1].inverse() @ true[-1:]
    solved = solve_pose_graph(start, graph(measured, (0, 59, closing)))
    assert rms(solved.world_from_node, true) < rms(start, true) / 3
    gap = (solved.world_from_node.translation[-1] - solved.world_from_node.translation[0]).norm()
    assert gap < (start.translation[-1] - start.translation[0]).norm() / 10
    false = Sim3.identity(1, dtype=torch.float64)
    both = solve_pose_graph(start, graph(measured, (0, 59, closing), (5, 32, false)))
    assert both.edge_weight[-2] > 0.99
    assert both.edge_weight[-1] < 1e-3
    torch.testing.assert_close(both.world_from_node.translation, solved.world_from_node.translation, atol=0.05, rtol=0)


def test_a_graph_without_loops_stays_as_it_is(drifting: tuple[Sim3, Sim3, Sim3]) -> None:
    _, measured, start = drifting
    solved = solve_pose_graph(start, graph(measured))
    torch.testing.assert_close(solved.world_from_node.matrix(), start.matrix(), atol=1e-6, rtol=0)


def test_anchors_bend_a_path_and_outliers_do_not(drifting: tuple[Sim3, Sim3, Sim3]) -> None:
    true, measured, start = drifting
    node = torch.arange(0, 60, 3)
    places = true.translation[node] + noise(20, 3, seed=6, size=0.05)
    places[4] += 50.0
    zero, sigma = torch.zeros(20, 3, dtype=torch.float64), torch.full((20,), 0.05, dtype=torch.float64)
    solved = solve_pose_graph(start, graph(measured), PointAnchors(node, zero, places, sigma))
    assert rms(solved.world_from_node, true) < 0.1 < rms(start, true)
    assert solved.anchor_weight[4] < 1e-3


def numerically(errors: Callable[[Sim3], torch.Tensor], at: Sim3, *, step: float = 1e-5) -> torch.Tensor:
    """Derivatives (row, error, 7) of errors (row, error) by a step of each row's node: the slow twin."""
    steps = step * torch.eye(7, dtype=torch.float64)[:, None]
    return ((errors(at @ Sim3.exp(steps)) - errors(at @ Sim3.exp(-steps))) / (2 * step)).permute(1, 2, 0)


def assert_slopes(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.abs().max().clamp_min(1)))


@pytest.mark.parametrize("size", [0.0, 0.01, 1.0])
def test_slopes_of_edges_agree_with_central_differences(size: float) -> None:
    """Errors from none to angles of π and scales of e."""
    one, other = (Sim3.exp(noise(50, 7, seed=seed)) for seed in (8, 9))
    apart = size * noise(50, 7, seed=10)
    apart[:, 3:6] *= (3.1 / apart[:, 3:6].norm(dim=-1, keepdim=True).clamp_min(3.1)) if size else 1.0
    measured = one.inverse() @ other @ Sim3.exp(apart).inverse()
    number, sigma = torch.arange(50), 0.1 + noise(50, 7, seed=11).abs()
    edges = RelativeEdges(number, number + 50, measured, sigma, number >= 0)

    def errors(first: Sim3, second: Sim3) -> torch.Tensor:
        return (measured.inverse() @ first.inverse() @ second).log() / sigma

    by_first, by_second = edge_slopes(one, other, edges)
    assert_slopes(by_first, numerically(lambda moved: errors(moved, other), one))
    assert_slopes(by_second, numerically(lambda moved: errors(one, moved), other))


def test_slopes_of_anchors_agree_with_central_differences() -> None:
    node, point, place = Sim3.exp(noise(50, 7, seed=12)), noise(50, 3, seed=13, size=5), noise(50, 3, seed=14)
    sigma = 0.1 + noise(50, seed=15).abs()

    def errors(moved: Sim3) -> torch.Tensor:
        at = moved.scale[..., None] * (moved.rotation @ point[..., None])[..., 0] + moved.translation
        return (at - place) / sigma[:, None]

    assert_slopes(anchor_slopes(node, PointAnchors(torch.arange(50), point, place, sigma)), numerically(errors, node))
