"""Depth of every cell from flow and cameras that are known: what triangulation adds to predicted depth.

A cell's log depth has one correction e that all edges which leave its frame share, with the prior N(0, σ²): a few
reweighted Gauss–Newton steps of one unknown, a·e = −b with a = 1/σ² + Σ w gᵀg / σ_f² and g = ∂u/∂log z. Where the
camera does not move g is 0, and nothing is measured. What neighbouring frames have measured of the same point is then
compared with it (`neighbouring_depth`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from openloger.geometry import SE3
from openloger.network.motion.flow import EdgeFlow, Edges, cell_centres
from openloger.network.motion.matches import cell_depth, edge_matches, pick
from openloger.network.motion.pose import LEAST_DEPTH, project_matches
from openloger.shapes import Float, Tensor

LARGEST = 1.0  # log of a factor of depth, either way
PREDICTED_SIGMA = 0.1  # of predicted log depth: what a measurement is weighed against


@dataclass(frozen=True)
class TriangulationSettings:
    """The noise of flow, the prior of depth, and how long a cell is adjusted."""

    flow_sigma_px: float = 0.25
    depth_sigma: float = 0.3  # of log depth: wide, as what follows weighs the result by its information
    cutoffs: tuple[float, ...] = (8.0, 5.0, 4.0, 3.0, 3.0)  # σ_f, one a step


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
        return _by_source(values.unflatten(0, (batch, len(edges))), edges, frames)

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
        log_depth = (log_depth - step).clamp(-LARGEST, LARGEST)
    parts = log_depth, information, square.sqrt(), by_source(matches.weight)
    return Triangulated(*(part.unflatten(2, cells) for part in parts))


@dataclass(frozen=True, eq=False)
class NeighbouringDepth:
    """The depth of every cell of stride 4 as the frames to which its flow leads have it."""

    log_depth: Float[Tensor, "batch frame rows columns"]  # log of the factor that depth would take, mean of the edges
    spread: Float[Tensor, "batch frame rows columns"]  # its standard deviation
    measured: Float[Tensor, "batch frame rows columns"]  # as `log_depth`, of triangulated depth, by its information
    information: Float[Tensor, "batch frame rows columns"]  # of `measured`, summed; 0: none


def neighbouring_depth(
    flow: EdgeFlow,
    edges: Edges,
    world_from_cam: SE3,
    depth: Float[Tensor, "batch frame height width"],
    intrinsics: Float[Tensor, "batch frame 3 3"],
    found: Triangulated,
) -> NeighbouringDepth:
    """The depth that the targets of all edges have, moved to the source's camera; `found` is what `triangulate` gave.

    A frame is triangulated by its own edges alone, so that its neighbours have measured a point by others.
    """
    height, width = depth.shape[-2:]
    z, known = cell_depth(depth)
    log_z = torch.where(known, z, 1.0).log()
    measured = found.log_depth * measurement_weight(found.information)
    maps = torch.stack([log_z, log_z + measured, found.information, known.to(z.dtype)], 2)[:, edges.target]
    pixel = cell_centres(height, width, like=z) + flow.shift_px  # (batch, edge, rows, columns, 2)
    grid = pixel * (2 / pixel.new_tensor([width, height])) - 1
    there = F.grid_sample(maps.flatten(0, 1), grid.flatten(0, 1), padding_mode="border", align_corners=False)
    predicted, measured, information, usable = there.unflatten(0, (len(depth), len(edges))).unbind(2)

    focal, principal = intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2], intrinsics[..., :2, 2]
    ray = (pixel - principal[:, edges.target, None, None]) / focal[:, edges.target, None, None]
    motion = pick(world_from_cam, edges.source).inverse() @ pick(world_from_cam, edges.target)
    *across, along = motion.rotation[:, :, 2, :, None, None].unbind(2)
    slope = across[0] * ray[..., 0] + across[1] * ray[..., 1] + along  # of depth in the source by depth in the target

    def factor(log_depth: Tensor) -> Tensor:
        """Its logarithm, by the depth in the target."""
        seen = slope * log_depth.exp() + motion.translation[:, :, 2, None, None]
        return (seen.clamp_min(LEAST_DEPTH).log() - log_z[:, edges.source]).clamp(-LARGEST, LARGEST)

    by_source = partial(_by_source, edges=edges, frames=depth.shape[1])
    weight = flow.weight * flow.inside * known[:, edges.source] * (usable > 0.99)
    total, off = by_source(weight).clamp_min(1e-6), factor(predicted)
    mean = by_source(weight * off) / total
    square = by_source(weight * off.square()) / total - mean.square()
    informed = weight * (information + 1)  # where there is no information, the mean
    return NeighbouringDepth(
        log_depth=mean,
        spread=square.clamp_min(1e-6).sqrt(),
        measured=by_source(informed * factor(measured)) / by_source(informed).clamp_min(1e-6),
        information=by_source(weight * information),
    )


def measurement_weight(information: Float[Tensor, "*cell"]) -> Float[Tensor, "*cell"]:
    """The weight of a measurement against predicted depth, 0 to 1."""
    ratio = information * PREDICTED_SIGMA**2
    return ratio / (1 + ratio)


def _by_source(values: Float[Tensor, "batch edge *cells"], edges: Edges, frames: int) -> Tensor:
    """The sums (batch, frame, *cells) over the edges that leave each frame."""
    total = values.new_zeros(len(values), frames, *values.shape[2:])
    return total.index_add(1, edges.source, values)
