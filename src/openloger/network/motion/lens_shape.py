"""Whether a window's matches are a pinhole's or a fisheye's: epipolar geometry, which needs no depth.

Two pictures' matches with rays a and b satisfy bᵀ [t]× R a = 0 for the right lens alone. So the motion of each edge is
fitted under several pinhole and several equidistant lenses (angle off the axis = radius / f), each by a few damped
Gauss–Newton steps on Sampson's distance in pixels (P. D. Sampson, 1982; Luong and Faugeras, 1996), robustly, and the
best lenses of both kinds are compared. A camera that only moves ahead tells nothing: what it sees stays on its radius.

Legend: C lens, E edge, N match.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from openloger.geometry import SE3, rotation_from_axis_angle
from openloger.network.motion.flow import STRIDE, EdgeFlow, Edges, cell_centres
from openloger.shapes import Float, Tensor

PINHOLE_DEG = (50.0, 65.0, 80.0, 95.0, 110.0, 125.0)  # over the diagonal
FISHEYE_DEG = (90.0, 110.0, 130.0, 150.0, 170.0, 190.0)
STEP = 3  # every third cell of stride 4, down and across
MOST_EDGES = 12
LEAST_EDGES = 3
LEAST_MATCHES = 20.0  # of an edge, weighted
LEAST_MOTION_PX = 1.5  # of its matches, in the mean
STEPS = 4
SIGMA_PX = 0.25
CUTOFF = 3.0  # σ: what is so far off counts half
_DELTA_PX = 0.05  # for derivatives of rays


@dataclass(frozen=True, eq=False)
class _Rays:
    """Of pixels, and their derivatives by x and y."""

    at: Float[Tensor, "lens edge match 3"]
    by_x: Float[Tensor, "lens edge match 3"]
    by_y: Float[Tensor, "lens edge match 3"]


def fisheye_error(
    flow: EdgeFlow, edges: Edges, world_from_cam: Float[Tensor, "batch frame 4 4"]
) -> Float[Tensor, " batch"]:
    """The robust error of a window's matches under the best fisheye, by that under the best pinhole.

    Near 1 where they tell nothing, below it for a fisheye; NaN where too few edges move. Computed in float64 on the
    CPU; no gradient passes.
    """
    found = [_of_window(flow, edges, cameras, number) for number, cameras in enumerate(world_from_cam)]
    return torch.stack(found).to(world_from_cam)


@torch.no_grad()
def _of_window(flow: EdgeFlow, edges: Edges, world_from_cam: Tensor, number: int) -> Float[Tensor, ""]:
    some = (slice(None), slice(STEP // 2, None, STEP), slice(STEP // 2, None, STEP))
    height, width = (STRIDE * cells for cells in flow.weight.shape[-2:])
    weight = (flow.weight * flow.inside)[number][some].flatten(1).cpu().double()
    shift = flow.shift_px[number][some].flatten(1, 2).cpu().double()
    start = cell_centres(height, width, like=shift)[some[1:]].flatten(0, 1).expand_as(shift)
    total = weight.sum(1)
    motion = (weight * shift.norm(dim=-1)).sum(1) / total.clamp_min(1e-9)
    usable = torch.where(motion > LEAST_MOTION_PX, total, 0.0)
    chosen = usable.argsort(descending=True)[:MOST_EDGES]
    chosen = chosen[usable[chosen] > LEAST_MATCHES]
    if len(chosen) < LEAST_EDGES:
        return weight.new_tensor(torch.nan)
    world = SE3.from_matrix(world_from_cam.cpu().double())
    seen_from, seen_by = (
        SE3(world.rotation[frame], world.translation[frame])
        for frame in (side.cpu()[chosen] for side in (edges.source, edges.target))
    )
    centre = shift.new_tensor([width / 2, height / 2])
    pixels = start[chosen] - centre, start[chosen] + shift[chosen] - centre
    half = math.hypot(height, width) / 2
    pinholes = half / shift.new_tensor(PINHOLE_DEG).deg2rad().div(2).tan()
    fisheyes = half / shift.new_tensor(FISHEYE_DEG).deg2rad().div(2)
    source, target = (
        _Rays(*map(torch.cat, zip(_rays(pinholes, of, fisheye=False), _rays(fisheyes, of, fisheye=True), strict=True)))
        for of in pixels
    )
    errors = _fitted_error(source, target, weight[chosen], seen_by.inverse() @ seen_from)
    return errors[len(pinholes) :].min() / errors[: len(pinholes)].min().clamp_min(1e-9)


def _rays(focal_px: Tensor, pixel: Tensor, *, fisheye: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rays (C, E, N, 3) of pixels (E, N, 2) about the middle, and their derivatives."""

    def ray(x: Tensor, y: Tensor) -> Tensor:
        x, y = (side / focal_px[:, None, None] for side in (x, y))
        radius = torch.hypot(x, y).clamp_min(1e-9)
        angle = radius if fisheye else radius.atan()
        sideways = angle.sin() / radius
        return torch.stack([x * sideways, y * sideways, angle.cos()], -1)

    x, y = pixel.unbind(-1)
    at = ray(x, y)
    return at, (ray(x + _DELTA_PX, y) - at) / _DELTA_PX, (ray(x, y + _DELTA_PX) - at) / _DELTA_PX


def _fitted_error(source: _Rays, target: _Rays, weight: Float[Tensor, "edge match"], start: SE3) -> Tensor:
    """Mean over edges and matches of r² / (r² + CUTOFF²), r in σ, under every lens (C), after the steps."""
    lenses = len(source.at)
    rotation = start.rotation.expand(lenses, -1, -1, -1)
    direction = _unit(start.translation.expand(lenses, -1, -1) + start.translation.new_tensor([0.0, 0.0, 1e-9]))
    damping = torch.full_like(direction[..., :1], 1e-3)
    residual, by = _sampson(source, target, rotation, direction)
    cost = _cost(residual, weight)
    for _ in range(STEPS):
        robust = weight * (CUTOFF**2 / (residual.square() + CUTOFF**2)).square()
        weighted = by * robust[..., None]
        information = weighted.mT @ by
        diagonal = information.diagonal(dim1=-2, dim2=-1)
        information = information + torch.diag_embed(damping * diagonal + 1e-6)
        step = -torch.linalg.solve(information, (weighted * residual[..., None]).sum(-2))
        trial = rotation_from_axis_angle(step[..., :3]) @ rotation, _unit(direction + step[..., 3:])
        tried, tried_by = _sampson(source, target, *trial)
        better = (tried_cost := _cost(tried, weight)) < cost
        wide = better[..., None, None]
        rotation, direction = torch.where(wide, trial[0], rotation), torch.where(better[..., None], trial[1], direction)
        residual, by = torch.where(better[..., None], tried, residual), torch.where(wide, tried_by, by)
        cost = torch.where(better, tried_cost, cost)
        damping = torch.where(better[..., None], damping / 4, damping * 8)
    return cost.mean(1)


def _cost(
    residual: Float[Tensor, "lens edge match"], weight: Float[Tensor, "edge match"]
) -> Float[Tensor, "lens edge"]:
    square = residual.square()
    return (weight * square / (square + CUTOFF**2)).sum(-1) / weight.sum(-1)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True)


def _sampson(source: _Rays, target: _Rays, rotation: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Sampson's distance in σ, (C, E, N); its derivatives by a turn on the left and by the direction, (C, E, N, 6)."""
    turned, by_x, by_y = (one @ rotation.mT for one in (source.at, source.by_x, source.by_y))
    across = direction[..., None, :].expand_as(turned)
    line = torch.linalg.cross(across, turned)  # t × R a
    other = torch.linalg.cross(target.at, across)  # bᵀ [t]× = (b × t)ᵀ
    error = (target.at * line).sum(-1)
    slopes = [(other * one).sum(-1) for one in (by_x, by_y)] + [
        (one * line).sum(-1) for one in (target.by_x, target.by_y)
    ]
    scale = 1 / (SIGMA_PX * torch.stack(slopes).square().sum(0).clamp_min(1e-18).sqrt())
    by_turn = torch.linalg.cross(turned, other)  # (b × t) · (ω × R a)
    by_direction = torch.linalg.cross(turned, target.at)  # b · (t × R a); its length has no say
    by_direction = by_direction - (by_direction * across).sum(-1, keepdim=True) * across
    return error * scale, torch.cat([by_turn, by_direction], -1) * scale[..., None]
