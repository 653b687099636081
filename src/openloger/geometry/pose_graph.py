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
_CONVERGED, _SETTLED = 1e-9, 1e-2  # relative decrease of the cost by one step
_MOST_DAMPING = 1e8
_HELD = 1e12  # information of a node that stays


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
    nodes, errors, damping = world_from_node, _errors(world_from_node, edges, anchors), 1e-6
    limit = max(robust_at, errors.largest(edges.is_robust))
    is_final = False
    for _ in range(steps):
        of_anchors = partial(_scaling if is_final else _huber, robust_at=robust_at)
        weights = errors.weights(edges.is_robust, limit=limit, of_anchors=of_anchors)
        cost = errors.cost(weights)
        normal, gradient = _normal_equations(nodes, edges, anchors, errors, weights, sparse)
        moved, ahead, after = nodes, errors, cost
        while damping < _MOST_DAMPING:
            damped = normal + damping * sparse.diags(normal.diagonal().clip(min=1e-12))
            step = torch.from_numpy(solve(damped, -gradient.flatten().numpy()).reshape(-1, TWIST))
            moved = nodes @ Sim3.exp(step) if bool(step.isfinite().all()) else nodes
            ahead = _errors(moved, edges, anchors)
            after = ahead.cost(weights)
            if after <= cost:
                damping = max(damping / 10, 1e-12)
                break
            damping = max(10 * damping, 1e-6)
        decrease = (cost - after) / max(cost, 1e-12)
        is_stuck = damping >= _MOST_DAMPING or decrease <= _CONVERGED
        if after <= cost:
            nodes, errors = moved, ahead
        if is_stuck and is_final:
            break
        damping = min(damping, 1.0)
        if is_stuck or decrease < _SETTLED:
            is_final = limit == robust_at
            limit = max(robust_at, limit / 2)
    weights = errors.weights(edges.is_robust, limit=robust_at, of_anchors=partial(_scaling, robust_at=robust_at))
    return PoseGraphSolution(nodes, weights[0], weights[1], errors.cost(weights))


def _scipy() -> tuple[Any, Callable[[Any, np.ndarray], np.ndarray]]:
    """Sparse matrices, and the solution of symmetric positive definite equations: eliminated along the diagonal, in an
    order that keeps the factors sparse."""
    try:
        import scipy.sparse
        import scipy.sparse.linalg
    except ImportError as error:
        raise InputError(f"a correction along the path needs the package scipy: {install_command('align')}") from error

    def solve(matrix: Any, right: np.ndarray) -> np.ndarray:
        symmetric = {"SymmetricMode": True}
        factors = scipy.sparse.linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
        return factors.solve(right)

    return scipy.sparse, solve


def _edge_errors(first: Sim3, second: Sim3, edges: RelativeEdges) -> Tensor:
    """In standard deviations."""
    return (edges.first_from_second.inverse() @ first.inverse() @ second).log() / edges.sigma


def _anchor_errors(node: Sim3, anchors: PointAnchors) -> Tensor:
    moved = node.scale[..., None] * rotate(node.rotation, anchors.point_node) + node.translation
    return (moved - anchors.point_world) / anchors.sigma[:, None]


@dataclass(frozen=True, eq=False)
class _Errors:
    """All measurements' errors at some nodes, in standard deviations."""

    edges: Float64[Tensor, "edge 7"]
    anchors: Float64[Tensor, "anchor 3"]

    def largest(self, is_robust: Tensor) -> float:
        """Of the robust edges."""
        errors = self.edges.norm(dim=-1)[is_robust]
        return float(errors.max()) if len(errors) else 0.0

    def weights(
        self, is_robust: Tensor, *, limit: float, of_anchors: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Of edges and of anchors."""
        robust = _scaling(self.edges.square().sum(-1), limit)
        return torch.where(is_robust, robust, torch.ones_like(robust)), of_anchors(self.anchors.square().sum(-1))

    def cost(self, weights: tuple[Tensor, Tensor]) -> float:
        """Half their weighted sum of squares."""
        return (
            float((weights[0] * self.edges.square().sum(-1)).sum() + (weights[1] * self.anchors.square().sum(-1)).sum())
            / 2
        )


def _errors(nodes: Sim3, edges: RelativeEdges, anchors: PointAnchors | None) -> _Errors:
    of_edges = _edge_errors(nodes[edges.first], nodes[edges.second], edges)
    return _Errors(
        of_edges, of_edges.new_zeros(0, 3) if anchors is None else _anchor_errors(nodes[anchors.node], anchors)
    )


def _huber(chi2: Tensor, robust_at: float) -> Tensor:
    return (robust_at / chi2.clamp_min(1e-12).sqrt()).clamp(max=1)


def _scaling(chi2: Tensor, robust_at: float) -> Tensor:
    """s² of dynamic covariance scaling with Φ = `robust_at`²: 1 up to χ² = Φ, then falling with its square."""
    phi = robust_at**2
    return (2 * phi / (phi + chi2)).clamp(max=1).square()


def edge_slopes(first: Sim3, second: Sim3, edges: RelativeEdges) -> tuple[Tensor, Tensor]:
    """Derivatives (edge, 7, 7) of the edges' errors, in standard deviations, by steps of their two nodes.

    With E = measured⁻¹ · first⁻¹ · second and the right Jacobian J of log E: J⁻¹ by the second node, and
    −J⁻¹ Ad(second⁻¹ · first) by the first (Strasdat 2012, sec. 2.4).
    """
    between = second.inverse() @ first
    error = (edges.first_from_second.inverse() @ between.inverse()).log()
    by_second = Sim3.inverse_right_jacobian(error) / edges.sigma[..., None]
    return -by_second @ between.adjoint(), by_second


def anchor_slopes(node: Sim3, anchors: PointAnchors) -> Tensor:
    """Derivatives (anchor, 3, 7) of the anchors' errors, in standard deviations: s R [I, −[p]×, p]."""
    linear = (node.scale / anchors.sigma)[:, None, None] * node.rotation
    point = anchors.point_node
    turned = torch.linalg.cross(linear, point[:, None].expand_as(linear), dim=-1)  # rows × p, which is −s R [p]×
    return torch.cat([linear, -turned, rotate(linear, point)[..., None]], -1)


def _normal_equations(
    nodes: Sim3,
    edges: RelativeEdges,
    anchors: PointAnchors | None,
    errors: _Errors,
    weights: tuple[Tensor, Tensor],
    sparse: Any,
) -> tuple[Any, Tensor]:
    """JᵀWJ and JᵀWr for steps X ← X exp(δ)."""
    first, second = nodes[edges.first], nodes[edges.second]
    by_first, by_second = edge_slopes(first, second, edges)
    parts = [([(edges.first, by_first), (edges.second, by_second)], errors.edges, weights[0])]
    if anchors is not None:
        fixed = nodes[anchors.node]
        parts.append(([(anchors.node, anchor_slopes(fixed, anchors))], errors.anchors, weights[1]))
    rows, columns, blocks = [], [], []
    gradient = nodes.scale.new_zeros(len(nodes.scale), TWIST)
    for slopes, error, weight in parts:
        for row, slope in slopes:
            weighted = weight[:, None, None] * slope.mT
            gradient.index_add_(0, row, (weighted @ error[..., None])[..., 0])
            for column, other in slopes:
                rows.append(row)
                columns.append(column)
                blocks.append(weighted @ other)
    if anchors is None:  # nothing decides where the whole is: its first node stays
        rows.append(edges.first.new_zeros(1))
        columns.append(edges.first.new_zeros(1))
        blocks.append(_HELD * torch.eye(TWIST, dtype=torch.float64)[None])
    return _assembled(torch.cat(rows), torch.cat(columns), torch.cat(blocks), len(nodes.scale), sparse), gradient


def _assembled(rows: Tensor, columns: Tensor, blocks: Float64[Tensor, "block 7 7"], nodes: int, sparse: Any) -> Any:
    """The sum of blocks at their places, in compressed columns."""
    within = torch.arange(TWIST)
    row = (rows[:, None, None] * TWIST + within[:, None]).expand(blocks.shape)
    column = (columns[:, None, None] * TWIST + within).expand(blocks.shape)
    at = (row.flatten().numpy(), column.flatten().numpy())
    return sparse.csc_matrix((blocks.flatten().numpy(), at), shape=(nodes * TWIST, nodes * TWIST))
