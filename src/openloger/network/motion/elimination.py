"""Normal equations of a window's frames with every point's depth and every frame's depth field taken out.

Legend: B batch, F frame, S = B · F source, K slots of edges that leave a source, N point, G knots of the field,
y = (ξ of every slot, log focal).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.geometry import SE3
from openloger.network.motion.flow import Edges
from openloger.network.motion.pose import LEAST_DEPTH
from openloger.shapes import Bool, Float, Int, Tensor

MOST_LOG_DEPTH = 1.5  # of a point's correction, either way


@dataclass(frozen=True, eq=False)
class Tracks:
    """Points of every source frame and where its edges have them."""

    ray: Float[Tensor, "source 2 point"]  # (x / z, y / z) in the source, by the given lens
    depth: Float[Tensor, "source point"]
    matched: Float[Tensor, "source slot 2 point"]  # the same in the target
    weight: Float[Tensor, "source slot point"]  # 0 where there is no edge or no match
    focal_px: Float[Tensor, "source slot 2"]  # of the target
    basis: Float[Tensor, "point knot"]  # φ


@dataclass(frozen=True, eq=False)
class WindowState:
    """The unknowns of the adjustment."""

    world_from_cam: SE3  # (batch, frame)
    log_depth: Float[Tensor, "source point"]  # e
    field: Float[Tensor, "source knot"]  # a
    log_focal: Float[Tensor, " batch"]  # log of the factor that the given focal length takes


@dataclass(frozen=True, eq=False)
class Slots:
    """Edges by the frame that they leave; the same in every batch."""

    edge: Int[Tensor, "frame slot"]  # number of the edge; 0 where there is none
    target: Int[Tensor, "frame slot"]
    used: Bool[Tensor, "frame slot"]

    @staticmethod
    def of(edges: Edges, frames: int) -> Slots:
        source, target = edges.source.tolist(), edges.target.tolist()
        leaving = [[e for e, i in enumerate(source) if i == frame] for frame in range(frames)]
        count = max(1, *(len(found) for found in leaving))
        edge = [found + [-1] * (count - len(found)) for found in leaving]
        ends = [[target[e] if e >= 0 else frame for e in found] for frame, found in enumerate(edge)]
        index = torch.tensor(edge, device=edges.source.device)
        return Slots(index.clamp_min(0), torch.tensor(ends, device=index.device), index >= 0)


def target_from_source(state: WindowState, slots: Slots) -> SE3:
    """Of every frame and slot: (batch, frame, slot); the identity where a slot is empty."""
    world = state.world_from_cam
    target = SE3(world.rotation[:, slots.target], world.translation[:, slots.target]).inverse()
    return target @ SE3(world.rotation[:, :, None], world.translation[:, :, None])


def adjoints(state: WindowState, slots: Slots) -> Float[Tensor, "batch frame slot 6 6"]:
    return target_from_source(state, slots).adjoint()


@dataclass(frozen=True, eq=False)
class _Observed:
    """Whitened residuals of all tracks and their derivatives; x, then y in the last axis."""

    residual: Float[Tensor, "source slot twice"]
    by_y: Float[Tensor, "source slot 7 twice"]  # ξ, log focal
    by_depth: Float[Tensor, "source slot twice"]
    weight: Float[Tensor, "source slot point"]


def _observe(state: WindowState, tracks: Tracks, slots: Slots, *, sigma: float, cutoff: float) -> _Observed:
    motion = target_from_source(state, slots)
    R, t = motion.rotation.flatten(0, 1)[..., None], motion.translation.flatten(0, 1)[..., None]  # (S, K, 3, 3, 1)
    factor = state.log_focal.repeat_interleave(slots.target.shape[0]).exp()[:, None, None]  # (S, 1, 1)
    z = (tracks.depth * state.log_depth.exp())[:, None]
    sx, sy = (z / factor * ray for ray in tracks.ray[:, None].unbind(2))  # (S, 1, N)
    sideways = [R[:, :, i, 0] * sx + R[:, :, i, 1] * sy for i in range(3)]
    turned = [part + R[:, :, i, 2] * z for i, part in enumerate(sideways)]
    moved_z = turned[2] + t[:, :, 2]
    seen = moved_z > LEAST_DEPTH
    inverse = 1 / torch.where(seen, moved_z, 1.0)
    x, y = normal = [(turned[i] + t[:, :, i]) * inverse for i in range(2)]
    zero, one = torch.zeros_like(inverse), torch.ones_like(inverse)
    twists = (
        [inverse, zero, -x * inverse, -x * y, one + x * x, -y],
        [zero, inverse, -y * inverse, -one - y * y, x * y, x],
    )
    focal = (tracks.focal_px * factor / sigma)[..., None]
    residual, by_y, by_depth = [], [], []
    for i, f in enumerate(focal.unbind(2)):
        residual.append(f * (normal[i] - tracks.matched[:, :, i] / factor))
        by_log_focal = normal[i] - inverse * (sideways[i] - normal[i] * sideways[2])
        by_y.append(f[:, :, None] * torch.stack([*twists[i], by_log_focal], 2))
        by_depth.append(f * inverse * (turned[i] - normal[i] * turned[2]))
    square = (residual[0] * residual[0] + residual[1] * residual[1]) / cutoff**2
    return _Observed(
        residual=torch.cat(residual, -1),
        by_y=torch.cat(by_y, -1),
        by_depth=torch.cat(by_depth, -1),
        weight=tracks.weight * seen / (1 + square).square(),
    )


@dataclass(frozen=True, eq=False)
class Eliminated:
    """The normal equations of every source after its points and its field are taken out."""

    information: Float[Tensor, "source y y"]
    gradient: Float[Tensor, "source y"]
    field_by_y: Float[Tensor, "source knot y"]  # a = −(field_offset + field_by_y y)
    field_offset: Float[Tensor, "source knot"]
    point_by_both: Float[Tensor, "source both point"]  # e = −(point_offset + point_by_bothᵀ (y, a))
    point_offset: Float[Tensor, "source point"]

    @staticmethod
    def of(
        state: WindowState,
        tracks: Tracks,
        slots: Slots,
        prior: Float[Tensor, "knot knot"],
        *,
        sigma: tuple[float, float],
        cutoff: float,
    ) -> Eliminated:
        """At a state; `prior` is the precision of the knots, `sigma` that of flow in pixels and of a point's depth."""
        seen = _observe(state, tracks, slots, sigma=sigma[0], cutoff=cutoff)
        points = _Points.of(seen, state, tracks, precision=1 / sigma[1] ** 2)
        scaled = points.coupling / points.curvature[:, None]
        full, slope = _without_points(seen, state, tracks, prior, precision=1 / sigma[1] ** 2)
        full, slope = full - scaled @ points.coupling.mT, slope - (scaled @ points.slope[..., None])[..., 0]
        ys = 6 * slots.target.shape[1] + 1
        factor = torch.linalg.cholesky(full[:, ys:, ys:])
        by_y = torch.cholesky_solve(full[:, ys:, :ys], factor)
        offset = torch.cholesky_solve(slope[:, ys:, None], factor)[..., 0]
        return Eliminated(
            information=full[:, :ys, :ys] - full[:, :ys, ys:] @ by_y,
            gradient=slope[:, :ys] - (full[:, :ys, ys:] @ offset[..., None])[..., 0],
            field_by_y=by_y,
            field_offset=offset,
            point_by_both=scaled,
            point_offset=points.slope / points.curvature,
        )

    def back_substitute(
        self,
        state: WindowState,
        slots: Slots,
        cameras: Float[Tensor, "batch frame 6"],
        log_focal: Float[Tensor, " batch"],
    ) -> WindowState:
        """All unknowns after cameras and focal length took their step."""
        y = _ys(state, slots, cameras, log_focal)
        field = -(self.field_offset + (self.field_by_y @ y[..., None])[..., 0])
        both = torch.cat([y, field], 1)
        points = -(self.point_offset + (both[:, None] @ self.point_by_both)[:, 0])
        return WindowState(
            state.world_from_cam @ SE3.exp(cameras),
            (state.log_depth + points).clamp(-MOST_LOG_DEPTH, MOST_LOG_DEPTH),
            state.field + field,
            state.log_focal + log_focal,
        )


def _fold(values: Tensor) -> Tensor:
    """The sum of x and y parts of the last axis."""
    x, y = values.chunk(2, -1)
    return x + y


@dataclass(frozen=True, eq=False)
class _Points:
    """The part of the normal equations that has the points' corrections."""

    curvature: Float[Tensor, "source point"]
    slope: Float[Tensor, "source point"]
    coupling: Float[Tensor, "source both point"]  # with y and a

    @staticmethod
    def of(seen: _Observed, state: WindowState, tracks: Tracks, *, precision: float) -> _Points:
        off = state.log_depth - state.field @ tracks.basis.mT
        pull = torch.cat([seen.weight, seen.weight], -1) * seen.by_depth  # (S, K, 2N)
        coupling = _fold(pull[:, :, None] * seen.by_y)  # (S, K, 7, N)
        field = (-precision * tracks.basis.mT).expand(len(off), -1, -1)
        return _Points(
            curvature=_fold(pull * seen.by_depth).sum(1) + precision,
            slope=_fold(pull * seen.residual).sum(1) + precision * off,
            coupling=torch.cat([coupling[:, :, :6].flatten(1, 2), coupling[:, :, 6].sum(1, keepdim=True), field], 1),
        )


def _without_points(
    seen: _Observed, state: WindowState, tracks: Tracks, prior: Tensor, *, precision: float
) -> tuple[Float[Tensor, "source both both"], Float[Tensor, "source both"]]:
    """Normal equations over (ξ of every slot, log focal, a), as if the points' corrections were held."""
    weighted = seen.by_y * torch.cat([seen.weight, seen.weight], -1)[:, :, None]
    blocks = weighted @ seen.by_y.mT  # (S, K, 7, 7)
    slopes = (weighted @ seen.residual[..., None])[..., 0]  # (S, K, 7)
    sources, count = slopes.shape[:2]
    phi, off = tracks.basis, state.log_depth - state.field @ tracks.basis.mT
    field, field_slope = precision * phi.mT @ phi + prior, state.field @ prior - precision * off @ phi
    diagonal = torch.eye(count, dtype=blocks.dtype, device=blocks.device)
    xi = (blocks[:, :, :6, :6][:, :, :, None] * diagonal[:, None, :, None]).reshape(sources, 6 * count, 6 * count)
    cross = blocks[:, :, :6, 6].reshape(sources, 6 * count, 1)
    focal = blocks[:, :, 6, 6].sum(1)[:, None, None]
    top = torch.cat([xi, cross, xi.new_zeros(sources, 6 * count, len(field))], 2)
    middle = torch.cat([cross.mT, focal, xi.new_zeros(sources, 1, len(field))], 2)
    bottom = torch.cat([xi.new_zeros(sources, len(field), 6 * count + 1), field.expand(sources, -1, -1)], 2)
    slope = torch.cat([slopes[:, :, :6].flatten(1), slopes[:, :, 6].sum(1, keepdim=True), field_slope], 1)
    return torch.cat([top, middle, bottom], 1), slope


def _ys(state: WindowState, slots: Slots, cameras: Tensor, log_focal: Tensor) -> Float[Tensor, "source y"]:
    """ξ = Ad η_source − η_target of every slot, and the focal length."""
    xi = (adjoints(state, slots) @ cameras[:, :, None, :, None])[..., 0] - cameras[:, slots.target]
    return torch.cat([xi.flatten(0, 1).flatten(1), log_focal.repeat_interleave(cameras.shape[1])[:, None]], 1)
