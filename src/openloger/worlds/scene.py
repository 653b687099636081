"""A scene as a table: solids with a shape, a place and a surface, and the zones of light that they stand in.

Every solid lives in a unit body that a 3×3 matrix and a centre carry into the world, so boxes, cylinders and
ellipsoids of any size and attitude are rows of one float32 table. World axes are OpenCV's (x right, y down, z
forward); `SolidBuilder` takes heights upwards, as one thinks of furniture, and turns them over once.

Unit bodies, in local coordinates (x, y, z) with y down:
  box        |x| ≤ 1 − a(1 − y)/2, |y| ≤ 1, |z| ≤ 1 − b(1 − y)/2     (a, b: taper; a = 1 is a gable roof)
  cylinder   x² + z² ≤ (1 − a(1 − y)/2)², |y| ≤ 1                     (a = 1 is a cone)
  ellipsoid  x² + y² + z² ≤ 1
A capsule is a cylinder between two ellipsoids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from openloger.shapes import Bool, Float32, Float64, Int
from openloger.worlds.random import uniform

BOX, CYLINDER, ELLIPSOID, GROUND = 0, 1, 2, 3  # the ground (terrain.py) has a row for its material only
_RUN = 8  # rows of a cluster
_LARGE = 2.5  # metres: radius from which solids are clustered apart from small ones
Number = float | int
Pair = tuple[Number, Number]
Triple = tuple[Number, ...]  # three


class Column:
    """Where a solid's numbers stand in its row of the float32 table."""

    LOCAL_FROM_WORLD = 0  # 3×3, row-major, divided by the half sizes
    CENTRE = 9  # metres, relative to the place's origin
    HALF = 12  # half sizes, metres
    TAPER = 15
    KIND = 17
    SURFACE = 18
    ZONE = 19
    MOVING = 20
    UV_SCALE = 21  # texture periods per unit of local x, y, z
    UV_OFFSET = 24
    TINT = 27
    CASTS = 30  # 1 where it throws a shadow
    RADIUS = 31  # of the sphere around the centre, metres
    COUNT = 32


class ZoneColumn:
    """Where a light zone's numbers stand in its row."""

    LAMP = 0  # position, metres, relative to the place's origin; a sun is a lamp very far away
    FALLOFF = 3  # 1 / (distance at which the light has halved)², 1/m²; 0 for a sun
    LAMP_RGB = 4
    AMBIENT_UP = 7  # light on surfaces that face up, down
    AMBIENT_DOWN = 10
    LOW = 13  # the box whose inner edges darken (a room), metres relative to the origin
    HIGH = 16
    CONTACT = 19  # reach of that darkening, metres
    SHADOW = 20  # depth of the lamp's shadows: 1 black, 0 none (light from many sides)
    SIDE = 21  # the level way from which more of the ambient light comes, times how much more
    MIRROR = 24  # spacing of the bright fields overhead that glossy floors mirror, 1/m; 0 for none
    COUNT = 25


class Zone(NamedTuple):
    """The light that a group of solids shares. Positions in world metres, y down; colours linear RGB."""

    lamp: Triple
    lamp_rgb: Triple
    ambient_up: Triple
    ambient_down: Triple
    falloff: float = 0.0
    low: Triple = (-1e6, -1e6, -1e6)
    high: Triple = (1e6, 1e6, 1e6)
    contact: float = 0.25
    shadow: float = 1.0
    side: Triple = (0.0, 0.0, 0.0)
    mirror: float = 0.0


class Material(NamedTuple):
    """The cover of a solid: a row of the world's surfaces and the placement of the texture on it."""

    surface: int
    period: float = 1.0  # metres of one texture period; not used where `fit` is given
    fit: Triple | None = None  # texture repeats along x, y, z, for façades and posters


@dataclass(frozen=True)
class Solids:
    """Solids and zones in world coordinates (float64, so that a place far from zero is as exact as any other)."""

    rows: Float64[np.ndarray, "solid column"]
    zones: Float64[np.ndarray, "zone zone_column"]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Clusters:
    """Runs of neighbouring rows with a sphere around each: what is culled first. World coordinates, float64."""

    solids: Solids  # with its rows put in the clusters' order
    first: Int[np.ndarray, "cluster"]
    count: Int[np.ndarray, "cluster"]
    sphere: Float64[np.ndarray, "cluster 4"]  # middle and radius, metres
    casts: Bool[np.ndarray, "cluster"]


def cluster(solids: Solids) -> Clusters:
    """Cuts a table into runs of rows alike in casting shadows and in being large or small."""
    rows = solids.rows
    kind = 2 * (rows[:, Column.CASTS] > 0) + (rows[:, Column.RADIUS] > _LARGE)
    order = np.argsort(kind, kind="stable")
    rows, kind = rows[order], kind[order]
    starts = np.flatnonzero(np.diff(kind, prepend=-1))
    ends = np.append(starts, len(rows))[1:]
    first = np.concatenate([np.arange(s, e, _RUN) for s, e in zip(starts, ends, strict=True)] or [np.zeros(0, int)])
    end = np.minimum(first + _RUN, ends[np.searchsorted(ends, first, side="right")]) if len(first) else first
    owner = np.repeat(np.arange(len(first)), end - first)
    centre, radius = rows[:, Column.CENTRE : Column.CENTRE + 3], rows[:, Column.RADIUS, None]
    if len(first):
        low, high = np.minimum.reduceat(centre - radius, first), np.maximum.reduceat(centre + radius, first)
        middle = 0.5 * (low + high)
        reach = np.maximum.reduceat(np.linalg.norm(centre - middle[owner], axis=1) + radius[:, 0], first)
    else:
        middle, reach = np.zeros((0, 3)), np.zeros(0)
    return Clusters(
        solids=Solids(rows=rows, zones=solids.zones),
        first=first,
        count=end - first,
        sphere=np.concatenate([middle, reach[:, None]], axis=1),
        casts=rows[first, Column.CASTS] > 0,
    )


def join(parts: list[Solids]) -> Solids:
    """One table of several; zone numbers are shifted to fit."""
    rows, zones, shift = [], [], 0
    for part in parts:
        shifted = part.rows.copy()
        shifted[:, Column.ZONE] += shift
        rows.append(shifted)
        zones.append(part.zones)
        shift += len(part.zones)
    return Solids(rows=np.concatenate(rows), zones=np.concatenate(zones))


def instances(
    template: Solids, places: Float64[np.ndarray, "instance 4"], zone: int = 0
) -> Float64[np.ndarray, "row column"]:
    """Rows of a template (built around zero) set down at places (x, floor height, z, yaw in radians)."""
    rows = np.repeat(template.rows[None], len(places), axis=0)
    cos, sin = np.cos(places[:, 3])[:, None], np.sin(places[:, 3])[:, None]
    x, z = rows[:, :, Column.CENTRE].copy(), rows[:, :, Column.CENTRE + 2].copy()
    rows[:, :, Column.CENTRE] = cos * x + sin * z + places[:, 0:1]
    rows[:, :, Column.CENTRE + 1] -= places[:, 1:2]
    rows[:, :, Column.CENTRE + 2] = cos * z - sin * x + places[:, 2:3]
    for start in (0, 3, 6):  # local_from_world · inverse turn: each row turns like a vector
        along, across = rows[:, :, start].copy(), rows[:, :, start + 2].copy()
        rows[:, :, start] = cos * along + sin * across
        rows[:, :, start + 2] = cos * across - sin * along
    rows[:, :, Column.ZONE] = zone
    return rows.reshape(-1, Column.COUNT)


def relative_to(
    solids: Solids, origin: Float64[np.ndarray, "3"]
) -> tuple[Float32[np.ndarray, "solid column"], Float32[np.ndarray, "zone zone_column"]]:
    """The float32 tables that are rendered: positions relative to `origin` (metres, world axes)."""
    rows, zones = solids.rows.copy(), solids.zones.copy()
    rows[:, Column.CENTRE : Column.CENTRE + 3] -= origin
    for start in (ZoneColumn.LAMP, ZoneColumn.LOW, ZoneColumn.HIGH):
        zones[:, start : start + 3] -= origin
    return rows.astype(np.float32), zones.astype(np.float32)


def rotations(turns: Float64[np.ndarray, "solid 3"]) -> Float64[np.ndarray, "solid 3 3"]:
    """world_from_local of (yaw, tilt, roll) in radians: roll about z, then tilt about x, then yaw about y."""
    (cy, ct, cr), (sy, st, sr) = np.cos(turns).T, np.sin(turns).T
    result = np.empty((len(turns), 3, 3))
    result[:, 0] = np.stack([cy * cr + sy * st * sr, -cy * sr + sy * st * cr, sy * ct], axis=1)
    result[:, 1] = np.stack([ct * sr, ct * cr, -st], axis=1)
    result[:, 2] = np.stack([-sy * cr + cy * st * sr, sy * sr + cy * st * cr, cy * ct], axis=1)
    return result


@dataclass
class SolidBuilder:
    """Collects solids; `build` makes the table. `key` fixes the textures' offsets, so equal keys give equal ones."""

    key: int
    zones: list[Zone] = field(default_factory=list)
    _records: list[tuple] = field(default_factory=list)

    def add(
        self,
        kind: int,
        at: Triple,
        *,
        size: Triple,
        material: Material,
        turn: Triple = (0.0, 0.0, 0.0),
        taper: Pair = (0.0, 0.0),
        tint: Triple = (1.0, 1.0, 1.0),
    ) -> None:
        """A solid whose underside's middle is `at` = (x, height of the underside, z), `size` = (x, height, z), in
        metres; `turn` = (yaw, tilt, roll) in radians. It stands in the zone that was added last."""
        self._records.append((kind, at, size, material, turn, taper, tint, len(self.zones) - 1))

    def box(self, at: Triple, size: Triple, material: Material, yaw: float = 0.0) -> None:
        self.add(BOX, at, size=size, material=material, turn=(yaw, 0.0, 0.0))

    def build(self, *, moving: bool = False, casts: bool = True) -> Solids:
        count = len(self._records)
        rows = np.zeros((count, Column.COUNT))
        if count:
            self._fill(rows)
        rows[:, Column.MOVING] = float(moving)
        rows[:, Column.CASTS] *= float(casts)
        return Solids(rows=rows, zones=np.array([_zone_row(zone) for zone in self.zones]).reshape(-1, ZoneColumn.COUNT))

    def _fill(self, rows: np.ndarray) -> None:
        kinds, ats, sizes, materials, turns, tapers, tints, zones = zip(*self._records, strict=True)
        half = np.array(sizes) / 2.0
        centre = np.array(ats, dtype=np.float64) * (1.0, -1.0, 1.0)
        centre[:, 1] -= half[:, 1]
        turn = rotations(np.array(turns))
        rows[:, :9] = (np.swapaxes(turn, 1, 2) / half[:, :, None]).reshape(-1, 9)
        rows[:, Column.CENTRE : Column.CENTRE + 3] = centre
        rows[:, Column.HALF : Column.HALF + 3] = half
        rows[:, Column.TAPER : Column.TAPER + 2] = tapers
        rows[:, Column.KIND] = kinds
        rows[:, Column.SURFACE] = [material.surface for material in materials]
        rows[:, Column.ZONE] = zones
        fits = np.array([material.fit or (0.0, 0.0, 0.0) for material in materials])
        fitted = np.array([material.fit is not None for material in materials])[:, None]
        periods = np.array([material.period for material in materials])[:, None]
        rows[:, Column.UV_SCALE : Column.UV_SCALE + 3] = np.where(fitted, fits / 2.0, half / periods)
        offsets = uniform(self.key, np.arange(len(rows))[:, None], np.arange(3)[None, :])
        rows[:, Column.UV_OFFSET : Column.UV_OFFSET + 3] = np.where(fitted, fits / 2.0, offsets)
        rows[:, Column.TINT : Column.TINT + 3] = tints
        rows[:, Column.CASTS] = 1.0
        rows[:, Column.RADIUS] = np.linalg.norm(half, axis=1)


def ground_solid(material: Material, origin: Float64[np.ndarray, "3"], zone: Zone) -> Solids:
    """The row that holds the ground's material around an origin; its texture goes on without a seam to the next."""
    row = np.zeros((1, Column.COUNT))
    row[0, :9] = np.eye(3).ravel()
    row[0, Column.CENTRE : Column.CENTRE + 3] = origin
    row[0, Column.HALF : Column.HALF + 3] = 1.0
    row[0, Column.KIND], row[0, Column.SURFACE] = GROUND, material.surface
    row[0, Column.UV_SCALE : Column.UV_SCALE + 3] = 1.0 / material.period
    row[0, Column.UV_OFFSET : Column.UV_OFFSET + 3] = (origin / material.period) % 1.0
    row[0, Column.TINT : Column.TINT + 3] = 1.0
    return Solids(rows=row, zones=np.array([_zone_row(zone)]))


def _zone_row(zone: Zone) -> list[float]:
    return [
        *zone.lamp,
        zone.falloff,
        *zone.lamp_rgb,
        *zone.ambient_up,
        *zone.ambient_down,
        *zone.low,
        *zone.high,
        zone.contact,
        zone.shadow,
        *zone.side,
        zone.mirror,
    ]
