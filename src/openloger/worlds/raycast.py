"""The plain ray-caster: every ray against every solid, nearest wins. The readable twin that the fast one must equal."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch

from openloger.shapes import Bool, Float32, Float64, Int, Tensor, UInt8
from openloger.worlds.intersect import Vector, enter_box, enter_cylinder, enter_ellipsoid
from openloger.worlds.scene import BOX, CYLINDER, ELLIPSOID, Column, ZoneColumn
from openloger.worlds.shading import Hits, Rays, SkyColumn, Tables, add, column, columns, dot, hits_of, scale, shade
from openloger.worlds.terrain import Relief, ground_normal, meet_ground_densely

_BLOCK = 1 << 17  # ray–solid pairs at a time
_LIFT = 2e-3  # metres: shadow rays start this far off the surface


class ClusterTable(NamedTuple):
    """Runs of the solid table's rows and the sphere around each (metres, relative to its place's origin)."""

    first: Int[Tensor, "cluster"]
    count: Int[Tensor, "cluster"]  # pyright: ignore[reportIncompatibleMethodOverride]
    sphere: Float32[Tensor, "cluster 4"]
    casts: Bool[Tensor, "cluster"]

    def rows(self, cluster: Tensor) -> tuple[Tensor, Tensor]:
        """(rows of the solid table, which entry of `cluster` each belongs to)."""
        count = self.count[cluster]
        entry = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        begin = torch.cumsum(count, 0) - count
        return self.first[cluster][entry] + torch.arange(len(entry), device=count.device) - begin[entry], entry


class Ground(NamedTuple):
    """The terrain below each frame's camera (terrain.Relief)."""

    row: Int[Tensor, "frame"]  # of the solid table, −1 for none
    corners: Float32[Tensor, "4 cell"]
    first: Int[Tensor, "frame"]
    sizes: Float32[Tensor, "frame 4"]

    def below(self, frame: Int[Tensor, "tile"]) -> Relief:
        """The relief of tiles that belong to these frames."""
        return Relief(self.corners, self.first[frame][:, None], self.sizes[frame])


@dataclass(frozen=True)
class Shot:
    """A batch of frames to render: what there is, and where each frame's camera stands."""

    tables: Tables
    sky: Float32[Tensor, "frame column"]  # SkyColumn
    origin: Float64[Tensor, "frame 3"]  # camera position relative to its place's origin, metres
    rotation: Float64[Tensor, "frame 3 3"]  # world_from_cam
    intrinsics: Float64[Tensor, "frame 3 3"]
    clusters: ClusterTable
    listed: Int[Tensor, "listed"]  # clusters that each frame may see, frame after frame
    starts: Int[Tensor, "frame_and_end"]  # where each frame's part of that list begins; one more than frames
    ground: Ground
    size: tuple[int, int]  # (height, width) pixels

    def to(self, device: torch.device) -> Shot:
        """All of it on a device."""
        return Shot(**{part.name: _moved(getattr(self, part.name), device) for part in fields(self)})


def _moved(part: Any, device: torch.device) -> Any:
    """A tensor, a table of tensors, or numbers, which stay as they are."""
    if isinstance(part, torch.Tensor):
        return part.to(device)
    return part._make(_moved(value, device) for value in part) if hasattr(part, "_make") else part


@dataclass(frozen=True)
class RenderedFrames:
    """Rendered frames. Depth is along z in metres, 0 and not valid where nothing is met (sky)."""

    rgb: UInt8[Tensor, "frame height width 3"]
    depth: Float32[Tensor, "frame height width"]
    normal: Float32[Tensor, "frame height width 3"]  # camera axes, towards the camera; zero in the sky
    valid: Bool[Tensor, "frame height width"]
    moving: Bool[Tensor, "frame height width"]


def directions(shot: Shot, frame: int) -> tuple[Vector, Tensor]:
    """World directions (z = 1 along the camera's axis) of a frame's pixels, row by row, and the pixel's size."""
    height, width = shot.size
    intrinsics, rotation = shot.intrinsics[frame], shot.rotation[frame]
    x = (torch.arange(width, dtype=torch.float64, device=rotation.device) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (torch.arange(height, dtype=torch.float64, device=rotation.device) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    x, y = x.expand(height, width).reshape(-1), y[:, None].expand(height, width).reshape(-1)
    world = [(rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2]).float() for axis in range(3)]
    pixel = (1.0 / intrinsics[0, 0]).float().view(1, 1)
    return (world[0], world[1], world[2]), pixel


def into_local(solids: Tensor, origin: Vector, direction: Vector) -> tuple[Vector, Vector]:
    """Rays (columns) in the unit bodies of solids (rows of the table): both broadcast."""
    local = solids[:, Column.LOCAL_FROM_WORLD : Column.LOCAL_FROM_WORLD + 9].reshape(-1, 3, 3)
    centre = solids[:, Column.CENTRE : Column.CENTRE + 3]
    away = [origin[axis][:, None] - centre[None, :, axis] for axis in range(3)]
    o = [sum(local[None, :, row, axis] * away[axis] for axis in range(3)) for row in range(3)]
    d = [sum(local[None, :, row, axis] * direction[axis][:, None] for axis in range(3)) for row in range(3)]
    return (o[0], o[1], o[2]), (d[0], d[1], d[2])  # pyright: ignore[reportReturnType]


def enter_all(solids: Tensor, origin: Vector, direction: Vector) -> Tensor:
    """(ray, solid) depth at which each ray enters each solid; inf where it does not."""
    result = torch.full((len(direction[0]), len(solids)), float("inf"), device=solids.device)
    for kind in (BOX, CYLINDER, ELLIPSOID):
        chosen = torch.nonzero(solids[:, Column.KIND] == kind)[:, 0]
        if len(chosen) == 0:
            continue
        rows = solids[chosen]
        o, d = into_local(rows, origin, direction)
        if kind == BOX:
            t = enter_box(o, d, rows[None, :, Column.TAPER], rows[None, :, Column.TAPER + 1])
        elif kind == CYLINDER:
            t = enter_cylinder(o, d, rows[None, :, Column.TAPER])
        else:
            t = enter_ellipsoid(o, d)
        result[:, chosen] = t
    return result


def nearest(solids: Tensor, origin: Vector, direction: Vector) -> tuple[Tensor, Tensor]:
    """(depth, row of `solids`) of the first solid on each ray; (inf, −1) where there is none."""
    depths, rows = [], []
    step = max(_BLOCK // max(len(solids), 1), 1)
    for begin in range(0, len(direction[0]), step):
        part = slice(begin, begin + step)
        entered = enter_all(solids, *_cut(origin, direction, part))
        depth, row = entered.min(dim=1)
        depths.append(depth)
        rows.append(torch.where(torch.isinf(depth), -1, row))
    return torch.cat(depths), torch.cat(rows)


def _cut(origin: Vector, direction: Vector, part: slice) -> tuple[Vector, Vector]:
    return (origin[0][part], origin[1][part], origin[2][part]), (
        direction[0][part],
        direction[1][part],
        direction[2][part],
    )


def lit_by_lamp(tables: Tables, casters: Tensor, hits: Hits) -> Float32[Tensor, "tile ray"]:
    """1 where the zone's lamp is seen from the surface, 0 where one of the casting solids stands between."""
    start, to_lamp, distance = towards_lamp(tables, hits)
    flat = [(start[axis].reshape(-1), to_lamp[axis].reshape(-1)) for axis in range(3)]
    result, step = [], max(_BLOCK // max(len(casters), 1), 1)
    for begin in range(0, distance.numel(), step):
        part = slice(begin, begin + step)
        o, d = tuple(o[part] for o, _ in flat), tuple(d[part] for _, d in flat)
        entered = enter_all(casters, o, d)  # pyright: ignore[reportArgumentType]
        result.append((entered >= distance.view(-1)[part, None]).all(dim=1))
    return torch.cat(result).float().view(distance.shape)


def towards_lamp(tables: Tables, hits: Hits) -> tuple[Vector, Vector, Tensor]:
    """Shadow rays: start (a little off the surface), unit direction to the zone's lamp, distance to it in metres."""
    lamp = columns(tables.zones, hits.zone(tables.solids), ZoneColumn.LAMP)
    start = add(hits.point, scale(hits.normal, _LIFT))
    to_lamp = (lamp[0] - start[0], lamp[1] - start[1], lamp[2] - start[2])
    distance = torch.sqrt(dot(to_lamp, to_lamp))
    return start, scale(to_lamp, 1.0 / distance), distance


def through_lens(
    rgb: UInt8[Tensor, "frame height width 3"], blur: Float32[Tensor, "frame"]
) -> UInt8[Tensor, "frame height width 3"]:
    """The picture as a lens draws it: each pixel gives the share `blur` to both neighbours along each axis. Softens
    the edges that one ray a pixel leaves jagged."""
    picture, share = rgb.float(), blur[:, None, None, None]
    for axis in (1, 2):
        last = picture.shape[axis] - 1
        before = torch.cat([picture.narrow(axis, 0, 1), picture.narrow(axis, 0, last)], dim=axis)
        after = torch.cat([picture.narrow(axis, 1, last), picture.narrow(axis, last, 1)], dim=axis)
        picture = picture + share * (before + after - 2.0 * picture)
    return (picture + 0.5).to(torch.uint8)


def render_plain(shot: Shot) -> RenderedFrames:
    """Renders frame by frame, every ray against every solid, without any culling."""
    pictures = [_render_frame(shot, frame) for frame in range(len(shot.origin))]
    rgb, depth, normal, valid, moving = (torch.stack(part) for part in zip(*pictures, strict=True))
    return RenderedFrames(
        rgb=through_lens(rgb, shot.sky[:, SkyColumn.BLUR]), depth=depth, normal=normal, valid=valid, moving=moving
    )


def _with_ground(
    shot: Shot, frame: int, rays: tuple[Vector, Vector], t: Tensor, solid: Tensor
) -> tuple[Tensor, Tensor, Vector]:
    """Depth and solid with the ground where it is nearer, and the ground's normal."""
    origin, direction = rays
    if shot.ground.row[frame] < 0:
        nothing = torch.zeros_like(direction[0])
        return t, solid, (nothing, nothing, nothing)
    relief = shot.ground.below(torch.tensor([frame], device=t.device))
    far = float(shot.sky[frame, SkyColumn.FAR])
    depth = meet_ground_densely(relief, origin, direction, far)[0]
    nearer = (depth < t) & (depth < far)
    t, solid = torch.where(nearer, depth, t), torch.where(nearer, shot.ground.row[frame], solid).to(torch.int32)
    return t, solid, ground_normal(relief, origin, direction, torch.nan_to_num(t, posinf=1.0)[None])


def _render_frame(shot: Shot, frame: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    height, width = shot.size
    listed, _ = shot.clusters.rows(shot.listed[shot.starts[frame] : shot.starts[frame + 1]])
    here = shot.tables.solids[listed]
    direction, pixel = directions(shot, frame)
    origin = tuple(shot.origin[frame, axis].float().expand(height * width) for axis in range(3))
    t, found = nearest(here, origin, direction)
    found = torch.where(t < shot.sky[frame, SkyColumn.FAR], found, -1)
    solid = torch.where(found >= 0, listed[torch.clamp(found, min=0)], -1).to(torch.int32)
    origin = (origin[0][None, :1], origin[1][None, :1], origin[2][None, :1])
    direction = (direction[0][None], direction[1][None], direction[2][None])
    t, solid, upward = _with_ground(shot, frame, (origin, direction), t, solid)
    rays = Rays(
        origin=origin,
        direction=direction,
        pixel=pixel,
        sky=shot.sky[frame : frame + 1],
        solid=solid[None],
        t=t[None],
    )
    hits = hits_of(shot.tables.solids, rays, upward)
    lit = lit_by_lamp(shot.tables, here[here[:, Column.CASTS] > 0], hits)
    rgb = shade(shot.tables, rays, hits, lit)
    turn = shot.rotation[frame].float()
    seen = [dot((turn[0, axis], turn[1, axis], turn[2, axis]), hits.normal) for axis in range(3)]
    valid = rays.solid >= 0
    moving = (column(shot.tables.solids, hits.row, Column.MOVING) > 0) & valid
    return (
        torch.floor(torch.stack(rgb, dim=-1) * 255.0 + 0.5).to(torch.uint8).view(height, width, 3),
        torch.where(valid, rays.t, 0.0).view(height, width),
        torch.where(valid[..., None], torch.stack(seen, dim=-1), 0.0).view(height, width, 3),
        valid.view(height, width),
        moving.view(height, width),
    )
