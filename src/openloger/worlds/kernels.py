"""The heavy steps of the fast ray-caster as pure tensor functions.

Each works on any number of rows (its first dimension) and a fixed number of rays per tile. They run as they are, one
operation after another, or compiled into fused loops: the same code for a processor and for a card.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch

from openloger.runtime.compiler import allow_variants, keep_compiled_code
from openloger.shapes import Tensor
from openloger.worlds.culling import TILE, try_pair
from openloger.worlds.intersect import Vector, clip, enter_box, enter_cylinder, enter_ellipsoid
from openloger.worlds.raycast import towards_lamp
from openloger.worlds.scene import BOX, CYLINDER, ELLIPSOID, Column, ZoneColumn
from openloger.worlds.shading import Hits, Rays, Tables, column, dot, hits_of, local_rows, shade, take
from openloger.worlds.terrain import March, Relief, clearance, close_in, ground_normal, march

SLOTS = 4  # solids that one row of tests holds
RAYS = TILE * TILE
BUNDLE = 12  # columns of a bundle of shadow rays
ENTRY_COLUMNS = 14  # origin, right, down, forward, taper


def _vector(table: Tensor, row: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
    return column(table, row, first), column(table, row, first + 1), column(table, row, first + 2)


def test_pairs(entries: Tensor, entry: Tensor, spans: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """`try_pair` for (entry, tile) pairs; `spans` (pair, 4) holds x first, x last, y first, y last."""
    origin, right, down, forward = (_vector(entries, entry, first) for first in (0, 3, 6, 9))
    taper = column(entries, entry, 12), column(entries, entry, 13)
    span = spans[:, 0], spans[:, 1], spans[:, 2], spans[:, 3]
    return try_pair(origin, right, down, forward, taper, span, box)


def _meet(kind: int) -> Callable:
    def meet(entries: Tensor, slots: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """(depth, entry) of the nearest of each row's solids for the rays of its tile; entry −1 where none is met.

        `slots` (row, SLOTS) numbers of entries; `place` (row, 4) first x, first y, step x, step y of the tile.
        """
        lane = torch.arange(RAYS, device=slots.device)
        x = place[:, 0:1] + (lane % TILE).to(torch.float32)[None] * place[:, 2:3]
        y = place[:, 1:2] + (lane // TILE).to(torch.float32)[None] * place[:, 3:4]
        best = torch.full_like(x, float("inf"))
        found = torch.full_like(x, -1, dtype=torch.int32)
        for slot in range(SLOTS):
            entry = slots[:, slot : slot + 1]
            origin, right, down, forward = (_vector(entries, entry, first) for first in (0, 3, 6, 9))
            ray = tuple(forward[k] + x * right[k] + y * down[k] for k in range(3))
            if kind == BOX:
                t = enter_box(origin, ray, column(entries, entry, 12), column(entries, entry, 13))
            elif kind == CYLINDER:
                t = enter_cylinder(origin, ray, column(entries, entry, 12))
            else:
                t = enter_ellipsoid(origin, ray)
            found = torch.where(t < best, entry, found)
            best = torch.minimum(best, t)
        return best, found

    return meet


def rays_of(frames: Tensor, place: Tensor, solid: Tensor, t: Tensor, sky: Tensor) -> Rays:
    """`frames` (tile, 12): camera origin and rotation rows; `place` as in meet."""
    lane = torch.arange(RAYS, device=t.device)
    x = place[:, 0:1] + (lane % TILE).to(torch.float32)[None] * place[:, 2:3]
    y = place[:, 1:2] + (lane // TILE).to(torch.float32)[None] * place[:, 3:4]
    turn = [frames[:, 3 + k : 4 + k] for k in range(9)]
    direction = tuple(turn[3 * a] * x + turn[3 * a + 1] * y + turn[3 * a + 2] for a in range(3))
    origin = frames[:, 0:1], frames[:, 1:2], frames[:, 2:3]
    return Rays(origin=origin, direction=direction, pixel=place[:, 2:3], sky=sky, solid=solid, t=t)


def locate(tables: Tables, rays: Rays, hits: Hits) -> tuple[Tensor, ...]:
    """Shadow rays of each hit, (tile, ray) each: start x, y, z, unit direction x, y, z, distance to the lamp (metres),
    and whether the surface faces the lamp at all, and the lamp throws shadows."""
    start, direction, distance = towards_lamp(tables, hits)
    shadowed = (rays.solid >= 0) & (column(tables.zones, hits.zone(tables.solids), ZoneColumn.SHADOW) > 0)
    return *start, *direction, distance, shadowed & (dot(hits.normal, direction) > 0)


def sweep_meets(start: Vector, along: Vector, half: Vector, wide: Vector, narrow: Vector) -> Tensor:
    """Whether a box, swept along a segment while its half sizes go from `wide` to `narrow`, may meet a box at zero.

    All in one frame's axes: `start` the segment's first point, `along` the vector to its end, `half` the half sizes of
    the box at zero. Each axis bounds the share of the segment in which both overlap.
    """
    enter, leave = torch.zeros_like(start[0]), torch.ones_like(start[0])
    for axis in range(3):
        s, v, reach = start[axis], along[axis], half[axis] + wide[axis]
        shrink = wide[axis] - narrow[axis]
        for room, speed in ((reach - s, v + shrink), (reach + s, shrink - v)):  # share · speed ≤ room
            enter, leave = clip(room, speed, enter, leave)
    return enter <= leave


def _part(table: Tensor, first: int) -> Vector:
    return table[:, first], table[:, first + 1], table[:, first + 2]


def test_clusters(bundles: Tensor, spheres: Tensor) -> Tensor:
    """Whether bundles of shadow rays (pair, BUNDLE) may pass through spheres (pair, 4)."""
    middle, radius = _part(bundles, 0), spheres[:, 3]
    start = middle[0] - spheres[:, 0], middle[1] - spheres[:, 1], middle[2] - spheres[:, 2]
    return sweep_meets(start, _part(bundles, 6), (radius, radius, radius), _part(bundles, 3), _part(bundles, 9))


def test_blockers(solids: Tensor, row: Tensor, bundles: Tensor) -> Tensor:
    """Whether a solid may stand between a tile's points and their lamp: `sweep_meets` in the solid's unit body.

    `bundles` (pair, BUNDLE): middle of the points, half sizes of their box, vector to the lamp, spread of the lamps.
    """
    axes = local_rows(solids, row)
    middle, wide, along, spread = (_part(bundles, first) for first in (0, 3, 6, 9))
    away = tuple(middle[k] - column(solids, row, Column.CENTRE + k) for k in range(3))
    size = [(torch.abs(r[0]), torch.abs(r[1]), torch.abs(r[2])) for r in axes]
    one = torch.ones_like(middle[0])
    return sweep_meets(
        (dot(axes[0], away), dot(axes[1], away), dot(axes[2], away)),
        (dot(axes[0], along), dot(axes[1], along), dot(axes[2], along)),
        (one, one, one),
        (dot(size[0], wide), dot(size[1], wide), dot(size[2], wide)),
        (dot(size[0], spread), dot(size[1], spread), dot(size[2], spread)),
    )


def _block(kind: int) -> Callable:
    def block(
        solids: Tensor,
        slots: Tensor,
        tile: Tensor,
        ox: Tensor,
        oy: Tensor,
        oz: Tensor,
        dx: Tensor,
        dy: Tensor,
        dz: Tensor,
        far: Tensor,
    ) -> Tensor:
        """Whether any of each row's solids stands before the lamp, for the shadow rays of its tile."""
        origin, ray = (take(ox, tile), take(oy, tile), take(oz, tile)), (take(dx, tile), take(dy, tile), take(dz, tile))
        limit = take(far, tile)
        blocked = torch.zeros_like(origin[0], dtype=torch.bool)
        for slot in range(SLOTS):
            row = slots[:, slot : slot + 1]
            axes = local_rows(solids, row)
            away = tuple(origin[k] - column(solids, row, Column.CENTRE + k) for k in range(3))
            o = dot(axes[0], away), dot(axes[1], away), dot(axes[2], away)
            d = dot(axes[0], ray), dot(axes[1], ray), dot(axes[2], ray)
            if kind == BOX:
                t = enter_box(o, d, column(solids, row, Column.TAPER), column(solids, row, Column.TAPER + 1))
            elif kind == CYLINDER:
                t = enter_cylinder(o, d, column(solids, row, Column.TAPER))
            else:
                t = enter_ellipsoid(o, d)
            blocked = blocked | (t < limit)
        return blocked

    return block


def colour(tables: Tables, frames: Tensor, rays: Rays, hits: Hits, lit: Tensor) -> tuple[Tensor, ...]:
    """(red, green, blue as int 0..255, normal x, y, z in camera axes, moving) of each ray; `frames` as in rays_of."""
    rgb = shade(tables, rays, hits, lit)
    seen = rays.solid >= 0
    turned = []
    for axis in range(3):
        along = frames[:, 3 + axis : 4 + axis], frames[:, 6 + axis : 7 + axis], frames[:, 9 + axis : 10 + axis]
        turned.append(torch.where(seen, dot(along, hits.normal), 0.0))
    moving = seen & (column(tables.solids, hits.row, Column.MOVING) > 0)
    shown = [torch.floor(channel * 255.0 + 0.5).to(torch.uint8) for channel in rgb]
    return *shown, *turned, moving


STRIDES = 2  # steps of one march


class Sight(NamedTuple):
    """Tiles whose rays meet the ground."""

    relief: Relief
    frames: Tensor  # (tile, 12): camera origin and rotation rows
    place: Tensor  # (tile, 4): as in meet

    def only(self, tile: Tensor) -> Sight:
        """Some of the tiles."""
        first, sizes = take(self.relief.first, tile), take(self.relief.sizes, tile)
        return Sight(Relief(self.relief.corners, first, sizes), take(self.frames, tile), take(self.place, tile))

    def rays(self, t: Tensor) -> Rays:
        return rays_of(self.frames, self.place, t, t, self.frames)


def begin_march(sight: Sight, start: Tensor) -> March:
    """Rays that are known to be in the air up to depth `start`."""
    rays = sight.rays(start)
    air = clearance(sight.relief, rays.origin, rays.direction, start)
    return March(start, torch.full_like(start, float("inf")), air, torch.full_like(start, -1.0))


def march_ground(sight: Sight, at: March) -> March:
    """STRIDES steps over the ground."""
    rays = sight.rays(at.above)
    for _ in range(STRIDES):
        at = march(sight.relief, rays.origin, rays.direction, at)
    return at


def touch_ground(sight: Sight, at: March) -> tuple[Tensor, Vector]:
    """(depth of the ground, inf for none; its normal)."""
    rays = sight.rays(at.above)
    t = close_in(sight.relief, rays.origin, rays.direction, at)
    safe = torch.where(torch.isinf(t), 1.0, t)
    return t, ground_normal(sight.relief, rays.origin, rays.direction, safe)


class RayKernels(NamedTuple):
    """The steps, as they are called."""

    test_pairs: Callable = test_pairs
    meet: tuple[Callable, ...] = tuple(_meet(kind) for kind in (BOX, CYLINDER, ELLIPSOID))  # by the kind of solid
    begin_march: Callable = begin_march
    march_ground: Callable = march_ground
    touch_ground: Callable = touch_ground
    rays_of: Callable = rays_of
    hits_of: Callable = hits_of
    locate: Callable = locate
    test_clusters: Callable = test_clusters
    test_blockers: Callable = test_blockers
    block: tuple[Callable, ...] = tuple(_block(kind) for kind in (BOX, CYLINDER, ELLIPSOID))
    colour: Callable = colour


PLAIN = RayKernels()


@lru_cache(maxsize=1)
def compiled(backend: str = "inductor") -> RayKernels:
    """The same by torch.compile, for any number of rows: equal up to rounding, and two to three times as fast.

    Each is compiled when it is first called, minutes in all, and found in a cache later (TORCHINDUCTOR_CACHE_DIR, by
    default in ~/.cache/openloger). `runtime.compiler.check_compiler` says whether that works here.
    """
    keep_compiled_code()
    allow_variants()  # of one row, of many; with one zone, or no ground, and so on
    fuse = partial(torch.compile, dynamic=True, fullgraph=True, backend=backend)
    fused: dict[str, Any] = {
        name: tuple(map(fuse, step)) if isinstance(step, tuple) else fuse(step)
        for name, step in PLAIN._asdict().items()
    }
    return RayKernels(**fused)
