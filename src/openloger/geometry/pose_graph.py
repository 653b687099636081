"""Similarities of nodes from relative measurements between them and from points whose place is known.

Gauss and Newton's method with Levenberg's damping over nodes world_from_node in Sim(3), as in Strasdat, "Scale
Drift-Aware Large Scale Monocular SLAM" (RSS 2010); edges and points that contradict the rest lose their weight by
dynamic covariance scaling (Agarwal, "Robust Map Optimization Using Dynamic Covariance Scaling", ICRA 2013). The normal
equations are sparse, and scipy solves them: memory and time grow with the nodes, not with their square.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from openloger.errors import InputError
from openloger.geometry.rotations import rotate
from openloger.geometry.transforms import Sim3
from openloger.shapes import Bool, Float64, Int, Tensor
from openloger.version import install_command

TWIST = 7
_STEP = 1e-6  # of the central differences
_CONVERGED, _SETTLED = 1e-9, 1e-2  # relative decrease of the cost by one step
_MOST_DAMPING = 1e8


@dataclass(frozen=True, eq=False)
class RelativeEdges:
    """Measured similarities between nodes; the error is log(measured⁻¹ · first⁻¹ · second), in the second's frame."""

    first: Int[Tensor, " edge"]
    second: Int[Tensor, " edge"]
    first_from_second: Sim3
    sigma: Float64[Tensor, "edge 7"]  # of (translation, rotation in radians, logarithm of scale)
    is_robust: Bool[Tensor, " edge"]  # whether it may lose its weight


@dataclass(frozen=True, eq=False)
class PointAnchors:
    """Points fixed to nodes, whose place in the world was measured; they may lose their weight."""

    node: Int[Tensor, " anchor"]
    point_node: Float64[Tensor, "anchor 3"]
    point_world: Float64[Tensor, "anchor 3"]
    sigma: Float64[Tensor, " anchor"]  # standard deviation along each axis, in the world's unit


@dataclass(frozen=True, eq=False)
class PoseGraphSolution:
    """Nodes where the weighted errors are least, and the weight that each robust measurement kept."""

    world_from_node: Sim3
    edge_weight: Float64[Tensor, " edge"]  # 0..1
    anchor_weight: Float64[Tensor, " anchor"]  # 0..1
    cost: float  # half the weighted sum of squared errors over their standard deviations


def solve_pose_graph(
    world_from_node: Sim3,
    edges: RelativeEdges,
    anchors: PointAnchors | None = None,
    *,
    steps: int = 100,
    robust_at: float = 3.0,
) -> PoseGraphSolution:
    """The nodes, float64, from a start that is near enough; the first is held where nothing anchors the graph.

    A robust measurement keeps its full weight up to an error of `robust_at` standard deviations; beyond that, the
    weight of dynamic covariance scaling lets go of it. For edges the limit begins at the largest error and is halved as
    often as the graph has settled, so that a true loop may begin as far off as the path has drifted (graduated
    non-convexity; Yang, RA-L 2020). Anchors, which are many and each pull at one node, have Huber's weight meanwhile.

    Raises InputError where scipy is not installed.
    """
    sparse, solve = _scipy()
    nodes, damping = world_from_node, 1e-6
    limit = max(robust_at, _largest_error(nodes, edges))
    is_final = False
    for _ in range(steps):
        of_anchors = partial(_scaling if is_final else _huber, robust_at=robust_at)
        weights = _weights(nodes, edges, anchors, limit=limit, of_anchors=of_anchors)
        cost = _cost(nodes, edges, anchors, weights)
        normal, gradient = _normal_equations(nodes, edges, anchors, weights, sparse)
        moved, after = nodes, cost
        while damping < _MOST_DAMPING:
            damped = normal + damping * sparse.diags(normal.diagonal().clip(min=1e-12))
            step = torch.from_numpy(np.asarray(solve(damped, -gradient)).reshape(-1, TWIST))
            moved = nodes @ Sim3.exp(step) if bool(step.isfinite().all()) else nodes
            after = _cost(moved, edges, anchors, weights)
            if after <= cost:
                damping = max(damping / 10, 1e-12)
                break
            damping = max(10 * damping, 1e-6)
        decrease = (cost - after) / max(cost, 1e-12)
        is_stuck = damping >= _MOST_DAMPING or decrease <= _CONVERGED
        nodes = moved if after <= cost else nodes
        if is_stuck and is_final:
            break
        damping = min(damping, 1.0)
        if is_stuck or decrease < _SETTLED:
            is_final = limit == robust_at
            limit = max(robust_at, limit / 2)
    weights = _weights(nodes, edges, anchors, limit=robust_at, of_anchors=partial(_scaling, robust_at=robust_at))
    return PoseGraphSolution(nodes, weights[0], weights[1], _cost(nodes, edges, anchors, weights))


def _scipy() -> tuple[Any, Any]:
    try:
        import scipy.sparse
        import scipy.sparse.linalg
    except ImportError as error:
        raise InputError(f"a correction along the path needs the package scipy: {install_command('align')}") from error
    return scipy.sparse, scipy.sparse.linalg.spsolve


def _edge_errors(first: Sim3, second: Sim3, edges: RelativeEdges) -> Tensor:
    """In standard deviations."""
    return (edges.first_from_second.inverse() @ first.inverse() @ second).log() / edges.sigma


def _anchor_errors(node: Sim3, anchors: PointAnchors) -> Tensor:
    moved = node.scale[..., None] * rotate(node.rotation, anchors.point_node) + node.translation
    return (moved - anchors.point_world) / anchors.sigma[:, None]


def _largest_error(nodes: Sim3, edges: RelativeEdges) -> float:
    """Of the robust edges, in standard deviations."""
    errors = _edge_errors(nodes[edges.first], nodes[edges.second], edges).norm(dim=-1)[edges.is_robust]
    return float(errors.max()) if len(errors) else 0.0


def _weights(
    nodes: Sim3,
    edges: RelativeEdges,
    anchors: PointAnchors | None,
    *,
    limit: float,
    of_anchors: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    errors = _edge_errors(nodes[edges.first], nodes[edges.second], edges)
    robust = _scaling(errors.square().sum(-1), limit)
    of_edges = torch.where(edges.is_robust, robust, torch.ones_like(robust))
    if anchors is None:
        return of_edges, of_edges.new_ones(0)
    return of_edges, of_anchors(_anchor_errors(nodes[anchors.node], anchors).square().sum(-1))


def _huber(chi2: Tensor, robust_at: float) -> Tensor:
    return (robust_at / chi2.clamp_min(1e-12).sqrt()).clamp(max=1)


def _scaling(chi2: Tensor, robust_at: float) -> Tensor:
    """s² of dynamic covariance scaling with Φ = `robust_at`²: 1 up to χ² = Φ, then falling with its square."""
    phi = robust_at**2
    return (2 * phi / (phi + chi2)).clamp(max=1).square()


def _cost(nodes: Sim3, edges: RelativeEdges, anchors: PointAnchors | None, weights: tuple[Tensor, Tensor]) -> float:
    errors = _edge_errors(nodes[edges.first], nodes[edges.second], edges).square().sum(-1)
    total = float((weights[0] * errors).sum())
    if anchors is not None:
        total += float((weights[1] * _anchor_errors(nodes[anchors.node], anchors).square().sum(-1)).sum())
    return total / 2


def _normal_equations(
    nodes: Sim3, edges: RelativeEdges, anchors: PointAnchors | None, weights: tuple[Tensor, Tensor], sparse: Any
) -> tuple[Any, np.ndarray]:
    """JᵀWJ and JᵀWr for steps X ← X exp(δ); derivatives by central differences, of all edges at once."""
    first, second = nodes[edges.first], nodes[edges.second]
    by_first = _derivative(lambda moved: _edge_errors(moved, second, edges), first)
    by_second = _derivative(lambda moved: _edge_errors(first, moved, edges), second)
    errors, root = _edge_errors(first, second, edges), weights[0].sqrt()
    blocks = [(edges.first, by_first * root[:, None, None]), (edges.second, by_second * root[:, None, None])]
    parts = [_jacobian(blocks, len(nodes.scale), sparse)]
    residuals = [(errors * root[:, None]).flatten().numpy()]
    if anchors is not None:
        fixed, root = nodes[anchors.node], weights[1].sqrt()
        slope = _derivative(lambda moved: _anchor_errors(moved, anchors), fixed) * root[:, None, None]
        parts.append(_jacobian([(anchors.node, slope)], len(nodes.scale), sparse))
        residuals.append((_anchor_errors(fixed, anchors) * root[:, None]).flatten().numpy())
    else:  # nothing says where the whole is: its first node stays
        hold = sparse.csr_matrix((np.full(TWIST, 1e6), (range(TWIST), range(TWIST))), (TWIST, parts[0].shape[1]))
        parts.append(hold)
        residuals.append(np.zeros(TWIST))
    jacobian = sparse.vstack(parts).tocsc()
    return (jacobian.T @ jacobian).tocsc(), jacobian.T @ np.concatenate(residuals)


def _derivative(errors: Any, at: Sim3) -> Tensor:
    """Of errors (row, error) by a step of the row's node: (row, error, 7)."""
    steps = _STEP * torch.eye(TWIST, dtype=torch.float64)[:, None]
    ahead, behind = errors(at @ Sim3.exp(steps)), errors(at @ Sim3.exp(-steps))
    return ((ahead - behind) / (2 * _STEP)).permute(1, 2, 0)


def _jacobian(blocks: list[tuple[Tensor, Tensor]], nodes: int, sparse: Any) -> Any:
    """A row for each error, seven columns for each node."""
    values, rows, columns = [], [], []
    count = 0
    for node, slope in blocks:
        edges, errors, _ = slope.shape
        count = edges * errors
        row = torch.arange(count).reshape(edges, errors, 1).expand(slope.shape)
        column = (node[:, None, None] * TWIST + torch.arange(TWIST)).expand(slope.shape)
        values.append(slope.flatten())
        rows.append(row.flatten())
        columns.append(column.flatten())
    at = (torch.cat(rows).numpy(), torch.cat(columns).numpy())
    return sparse.csr_matrix((torch.cat(values).numpy(), at), shape=(count, nodes * TWIST))
