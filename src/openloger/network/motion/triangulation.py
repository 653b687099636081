"""Depth of every cell from flow and cameras that are known: what triangulation adds to predicted depth.

A cell's log depth has one correction e that all edges which leave its frame share, with the prior N(0, σ²): a few
reweighted Gauss–Newton steps of one unknown, a·e = −b with a = 1/σ² + Σ w gᵀg / σ_f² and g = ∂u/∂log z. Where the
camera does not move g is 0, and nothing is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.geometry import SE3
from openloger.network.motion.flow import EdgeFlow, Edges
from openloger.network.motion.matches import edge_matches, pick
from openloger.network.motion.pose import project_matches
from openloger.shapes import Float, Tensor


@dataclass(frozen=True)
class TriangulationSettings:
    """The noise of flow, the prior of depth, and how long a cell is adjusted."""

    flow_sigma_px: float = 0.25
    depth_sigma: float = 0.3  # of log depth: wide, as what follows weighs the result by its information
    cutoffs: tuple[float, ...] = (8.0, 5.0, 4.0, 3.0, 3.0)  # σ_f, one a step
    most: float = 1.0  # of a correction, either way


@dataclass(frozen=True, eq=False)
class Triangulated:
    """The depth of every cell of stride 4, as flow measures it."""

    log_depth: Float[Tensor, "batch frame rows columns"]  # e: log of the factor that depth takes
    information: Float[Tensor, "batch frame rows columns"]  # 1 / variance of e by flow alone; 0: none
    residual_px: Float[Tensor, "batch frame rows columns"]  # what is left of the flow, root mean square
    support: Float[Tensor, "batch frame rows columns"]  # summed weight of the edges' flow


def triangulate(
    flow: EdgeFlow,
    edges: Edges,
    world_from_cam: SE3,
    depth: Float[Tensor, "batch frame height width"],
    intrinsics: Float[Tensor, "batch frame 3 3"],
    *,
    settings: TriangulationSettings | None = None,
) -> Triangulated:
    """Corrections of `depth` by the flow of all edges of a window between cameras (batch, frame).

    Depth that is not finite and positive is not measured: its correction and information are 0.
    """
    settings = settings or TriangulationSettings()
    batch, frames = depth.shape[:2]
    cells = flow.weight.shape[-2:]
    motion = pick(world_from_cam, edges.target).inverse() @ pick(world_from_cam, edges.source)
    motion = SE3(motion.rotation.flatten(0, 1), motion.translation.flatten(0, 1))
    matches = edge_matches(flow, edges, depth, intrinsics)
    sigma, precision = settings.flow_sigma_px, settings.depth_sigma**-2

    def by_source(values: Tensor) -> Tensor:
        """The sum over edges that leave a frame."""
        total = values.new_zeros(batch, frames, values.shape[-1])
        return total.index_add(1, edges.source, values.unflatten(0, (batch, len(edges))))

    log_depth = depth.new_zeros(batch, frames, cells.numel())
    information, square = torch.zeros_like(log_depth), torch.zeros_like(log_depth)
    for cutoff in settings.cutoffs:
        projected = project_matches(motion, matches, log_depth[:, edges.source].flatten(0, 1))
        (rx, ry), (gx, gy) = projected.residual, projected.by_depth
        off = rx * rx + ry * ry
        weight = matches.weight * projected.seen / (1 + off / (cutoff * sigma) ** 2).square()
        information = by_source(weight * (gx * gx + gy * gy)) / sigma**2
        slope = by_source(weight * (gx * rx + gy * ry)) / sigma**2
        square = by_source(weight * off) / by_source(weight).clamp_min(1e-6)
        step = (slope + precision * log_depth) / (information + precision)
        log_depth = (log_depth - step).clamp(-settings.most, settings.most)
    parts = log_depth, information, square.sqrt(), by_source(matches.weight)
    return Triangulated(*(part.unflatten(2, cells) for part in parts))
