"""Rooms: an endless floor plan of rooms and corridors joined by doors, furnished, papered and lit room by room."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from openloger.shapes import Float32, Float64
from openloger.worlds.families import crowd, furniture, props
from openloger.worlds.families.crowd import Way
from openloger.worlds.families.family import Cell, Gait, View
from openloger.worlds.random import Dice, hash_number, uniform_number
from openloger.worlds.routes import Node, RouteStyle
from openloger.worlds.scene import BOX, CYLINDER, Look, Pair, SolidBuilder, Solids, Zone
from openloger.worlds.shading import SkyColumn
from openloger.worlds.surfaces import Paint, SurfaceBook, colour, scaled

_WALL = 0.08  # half of a wall's thickness
_LANE = 0.5  # metres beside the camera's ways that stay free of anything at its height
_LOW = 0.95  # what is lower than this may stand in its way


class Opening(NamedTuple):
    """A hole in the wall between two rooms: where along the wall its middle is, how wide and high (0: no hole)."""

    middle: float
    width: float
    height: float


class Plan:
    """Where the walls run and where they are open. Room (i, j) lies between lines i, i + 1 and j, j + 1."""

    def __init__(self, seed: int, pitch: float, ceiling: float) -> None:
        self.seed, self.pitch, self.ceiling = seed, pitch, ceiling
        self.line = lru_cache(maxsize=1024)(self._line)
        self.opening = lru_cache(maxsize=1024)(self._opening)

    def _line(self, axis: int, number: int) -> float:
        return (number + 0.36 * (uniform_number(self.seed, 601, axis, number) - 0.5)) * self.pitch

    def bounds(self, room: Node) -> tuple[float, float, float, float]:
        """(x low, z low, x high, z high) of a room, between its walls' middles."""
        i, j = room
        return self.line(0, i), self.line(1, j), self.line(0, i + 1), self.line(1, j + 1)

    def _opening(self, room: Node, axis: int) -> Opening:
        """The hole between a room and its neighbour on the high side of an axis (0: x, 1: z)."""
        dice = Dice(self.seed, 602, *room, axis)
        low_x, low_z, high_x, high_z = self.bounds(room)
        low, high = (low_z, high_z) if axis == 0 else (low_x, high_x)
        spine = room[1 - axis] % 2 == 0
        kind = dice.uniform()
        if not spine and kind > 0.55:
            return Opening(0.5 * (low + high), 0.0, 0.0)
        width, height = (0.95, 2.05) if kind > 0.2 else (dice.uniform(1.6, 2.6), 2.3)
        middle = 0.5 * (low + high) + dice.uniform(-0.16, 0.16) * (high - low)
        return Opening(middle, width, min(height, self.ceiling - 0.1))

    def between(self, here: Node, there: Node) -> tuple[Opening, int, float]:
        """The opening between neighbours, its axis, and the wall's position on that axis."""
        axis = 0 if here[0] != there[0] else 1
        low = min(here, there)
        return self.opening(low, axis), axis, self.line(axis, max(here[axis], there[axis]))

    def rooms_seen(self, home: Node, view: View) -> list[Node]:
        """The rooms that can be looked into through openings, by narrowing the angle of view at each (as portals)."""
        seen = [home]
        ahead = [(home, (-1, -1), view.heading - view.half_angle, view.heading + view.half_angle)]
        while ahead:
            room, came_from, begin, end = ahead.pop()
            for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                there = (room[0] + di, room[1] + dj)
                span = self._through(room, there, view, begin, end) if there != came_from else None
                if span is None:
                    continue
                if there not in seen:
                    seen.append(there)
                if len(seen) < 40:
                    ahead.append((there, room, *span))
        return seen

    def _through(self, room: Node, there: Node, view: View, begin: float, end: float) -> tuple[float, float] | None:
        """The part of the angles begin … end (radians) that passes from a room into its neighbour, or None."""
        opening, axis, wall = self.between(room, there)
        side = 1.0 if there[axis] > room[axis] else -1.0
        depth = side * (wall - (view.x if axis == 0 else view.z))
        if opening.width == 0 or depth < -0.2:
            return None
        if depth < 0.2:
            return begin, end
        across = view.z if axis == 0 else view.x
        edges = [opening.middle + half * opening.width - across for half in (-0.5, 0.5)]
        angles = [math.atan2(side * depth, e) if axis == 0 else math.atan2(e, side * depth) for e in edges]
        middle = 0.5 * (begin + end)
        turns = [(angle - middle + math.pi) % (2.0 * math.pi) - math.pi for angle in angles]
        low, high = min(turns), max(turns)
        if high - low > math.pi:  # the opening lies across the back of the view: keep it whole
            return begin, end
        low, high = max(low, begin - middle), min(high, end - middle)
        return (middle + low, middle + high) if low < high else None

    def middle(self, room: Node) -> Pair:
        low_x, low_z, high_x, high_z = self.bounds(room)
        return 0.5 * (low_x + high_x), 0.5 * (low_z + high_z)

    def is_open(self, here: Node, there: Node) -> bool:
        return self.between(here, there)[0].width > 0

    def way(self, here: Node, there: Node) -> list[Pair]:
        opening, axis, wall = self.between(here, there)
        side = 1.0 if there[axis] > here[axis] else -1.0
        points = [self.middle(here)]
        for offset in (-0.8 * side, 0.8 * side):
            points.append((wall + offset, opening.middle) if axis == 0 else (opening.middle, wall + offset))
        return points


class Rooms:
    """The family "rooms" for one seed."""

    terrain = None
    far_m = 40.0
    fov_deg = (52.0, 92.0)

    def __init__(self, seed: int) -> None:
        dice = Dice(seed, 600)
        self._seed = seed
        self.lattice = Plan(seed, dice.uniform(3.9, 6.2), dice.uniform(2.4, 3.1))
        self.gait = _gait(dice)
        self._book = SurfaceBook(dice)
        self._walls, self._floors, self._ceiling = _shell_looks(dice, self._book)
        self._fabrics = _fabrics(dice, self._book)
        self._day = dice.uniform(0.3, 1.2)
        self._lively = dice.chance(0.3)
        self._outfits = props.outfits(dice, self._book)
        self._walkers: list[list[Solids]] | None = None
        self.light_zone = Zone((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
        self.cell = lru_cache(maxsize=64)(self._make_room)

    def surfaces(self) -> Float32[np.ndarray, "surface column"]:
        return self._book.table()

    def home(self, x: float, z: float) -> Cell:
        i, j = int(np.floor(x / self.lattice.pitch)), int(np.floor(z / self.lattice.pitch))
        i += int(x > self.lattice.line(0, i + 1)) - int(x < self.lattice.line(0, i))
        j += int(z > self.lattice.line(1, j + 1)) - int(z < self.lattice.line(1, j))
        return i, j

    def cells_seen(self, view: View) -> list[Cell]:
        return self.lattice.rooms_seen(self.home(view.x, view.z), view)

    def movers(self, time_s: float, way: Way) -> Solids | None:
        """Somebody who walks ahead through the house."""
        if not self._lively:
            return None
        if self._walkers is None:
            self._walkers = crowd.walkers(self._seed, self._outfits, self.light_zone, 1)
        spot = way.along(time_s, 2.6)
        room = self.home(float(spot[0]), float(spot[1]))
        rows = crowd.standing(crowd.step_of(self._walkers[0], self.gait.route.hub_speed * time_s), spot, 0.0)
        return crowd.gather([rows], self.cell(room).zones)

    def ground(self, x: float, z: float) -> float:
        return 0.0

    def sky(self) -> Float64[np.ndarray, "column"]:
        row = np.zeros(SkyColumn.COUNT)
        row[SkyColumn.SUN] = 1.0
        row[SkyColumn.ZENITH : SkyColumn.ZENITH + 3] = 0.4
        row[SkyColumn.HORIZON : SkyColumn.HORIZON + 3] = 0.5
        row[SkyColumn.HAZE], row[SkyColumn.FAR], row[SkyColumn.EXPOSURE] = 1e-4, self.far_m, 1.0
        return row

    def _make_room(self, room: Cell) -> Solids:
        dice = Dice(self._seed, 603, *room)
        solids = SolidBuilder(key=hash_number(self._seed, 604, *room))
        low_x, low_z, high_x, high_z = self.lattice.bounds(room)
        warm, strength = dice.uniform(0.0, 0.35), dice.uniform(0.7, 1.3)
        base = dice.uniform(0.25, 0.5) * self._day + 0.1
        lamp = (dice.uniform(-0.8, 0.8) + 0.5 * (low_x + high_x), -self.lattice.ceiling + 0.25, 0.5 * (low_z + high_z))
        solids.zones.append(
            Zone(
                lamp=lamp,
                lamp_rgb=(strength, strength * (1 - 0.3 * warm), strength * (1 - warm)),
                falloff=1 / 9.0,
                ambient_up=(base, base, base * 1.02),
                ambient_down=(base * 0.65, base * 0.6, base * 0.55),
                low=(low_x + _WALL, -self.lattice.ceiling, low_z + _WALL),
                high=(high_x - _WALL, 0.0, high_z - _WALL),
                contact=dice.uniform(0.1, 0.35),
            )
        )
        wall = dice.choice(self._walls)
        self._shell(solids, dice, room, wall)
        shell = solids.build(casts=False)
        inside = SolidBuilder(key=solids.key + 1, zones=solids.zones)
        Furnisher(self.lattice, room, inside, dice, self._fabrics).furnish()
        things = inside.build()
        return Solids(rows=np.concatenate([shell.rows, things.rows]), zones=shell.zones)

    def _shell(self, solids: SolidBuilder, dice: Dice, room: Cell, wall: Look) -> None:
        low_x, low_z, high_x, high_z = self.lattice.bounds(room)
        middle_x, middle_z, height = 0.5 * (low_x + high_x), 0.5 * (low_z + high_z), self.lattice.ceiling
        size_x, size_z = high_x - low_x, high_z - low_z
        solids.box((middle_x, -0.1, middle_z), (size_x, 0.1, size_z), dice.choice(self._floors))
        solids.box((middle_x, height, middle_z), (size_x, 0.1, size_z), self._ceiling)
        solids.add(CYLINDER, (middle_x, height - 0.1, middle_z), size=(0.4, 0.1, 0.4), look=self._fabrics.glow)
        trim = dice.choice(self._fabrics.white + self._fabrics.wood)
        for axis in (0, 1):
            for high in (False, True):
                neighbour = (room[0] + (axis == 0) * (1 if high else -1), room[1] + (axis == 1) * (1 if high else -1))
                opening, _, line = self.lattice.between(room, neighbour)
                at = line + (-_WALL / 2 if high else _WALL / 2)
                span = (low_z, high_z) if axis == 0 else (low_x, high_x)
                _wall(solids, axis, at, span, opening, height, (wall, trim))


def _wall(
    solids: SolidBuilder,
    axis: int,
    at: float,
    span: Pair,
    opening: Opening,
    height: float,
    looks: tuple[Look, Look],
) -> None:
    """One side's half of a wall, its skirting board, and the frame of its door."""
    wall, trim = looks

    def piece(begin: float, end: float, bottom: float, top: float, thick: float, look: Look) -> None:
        if end - begin > 1e-3 and top - bottom > 1e-3:
            middle, long = 0.5 * (begin + end), end - begin
            place = (at, bottom, middle) if axis == 0 else (middle, bottom, at)
            size = (thick, top - bottom, long) if axis == 0 else (long, top - bottom, thick)
            solids.box(place, size, look)

    if opening.width == 0:
        piece(*span, 0.0, height, _WALL, wall)
        piece(*span, 0.0, 0.09, _WALL + 0.03, trim)
        return
    left, right = opening.middle - opening.width / 2, opening.middle + opening.width / 2
    for begin, end in ((span[0], left), (right, span[1])):
        piece(begin, end, 0.0, height, _WALL, wall)
        piece(begin, end, 0.0, 0.09, _WALL + 0.03, trim)
    piece(left, right, opening.height, height, _WALL, wall)
    for begin in (left - 0.06, right):
        piece(begin, begin + 0.06, 0.0, opening.height + 0.06, _WALL + 0.05, trim)
    piece(left, right, opening.height, opening.height + 0.06, _WALL + 0.05, trim)


class Furnisher:
    """Puts furniture along the walls of one room, and pictures on them, out of the camera's way."""

    def __init__(self, plan: Plan, room: Cell, solids: SolidBuilder, dice: Dice, looks: furniture.Fabrics) -> None:
        self._plan, self._room, self._solids, self._dice, self._looks = plan, room, solids, dice, looks
        low_x, low_z, high_x, high_z = plan.bounds(room)
        self._bounds = (low_x + _WALL, low_z + _WALL, high_x - _WALL, high_z - _WALL)
        self._taken: list[tuple[float, float, float, float]] = []
        self._ways = np.array(self._free_points())

    def _free_points(self) -> list[Pair]:
        """Points along the ways from the middle to each opening."""
        points = [self._plan.middle(self._room)]
        for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            there = (self._room[0] + di, self._room[1] + dj)
            if self._plan.is_open(self._room, there):
                middle, near, far = self._plan.way(self._room, there)
                for begin, end in ((middle, near), (near, far)):
                    points += [tuple(p) for p in np.linspace(begin, end, 10)]
        return points

    def _is_free(self, x: float, z: float, half_x: float, half_z: float, tall: bool) -> bool:
        low_x, low_z, high_x, high_z = self._bounds
        if x - half_x < low_x or x + half_x > high_x or z - half_z < low_z or z + half_z > high_z:
            return False
        if any(abs(x - a) < half_x + c and abs(z - b) < half_z + d for a, b, c, d in self._taken):
            return False
        reach = _LANE if tall else 0.15
        away = np.maximum(np.abs(self._ways - (x, z)) - (half_x, half_z), 0.0)
        return bool((np.hypot(away[:, 0], away[:, 1]) > reach).all())

    def _stand(self, width: float, depth: float, *, tall: bool, wall: int | None = None) -> furniture.Stand | None:
        """A free place for something of that size, its back to a wall (or anywhere, for wall = -1)."""
        low_x, low_z, high_x, high_z = self._bounds
        for _ in range(6):
            side = self._dice.integer(4) if wall is None else wall
            if side < 0:
                yaw = self._dice.uniform(0, 2 * np.pi)
                reach = 0.5 * np.hypot(width, depth)
                x, z = (
                    self._dice.uniform(low_x + reach, high_x - reach),
                    self._dice.uniform(low_z + reach, high_z - reach),
                )
                half_x = half_z = reach
            else:
                yaw = (0.0, np.pi, np.pi / 2, -np.pi / 2)[side]
                half_x, half_z = (width / 2, depth / 2) if side < 2 else (depth / 2, width / 2)
                x, z = (
                    self._dice.uniform(low_x + half_x, high_x - half_x),
                    self._dice.uniform(low_z + half_z, high_z - half_z),
                )
                x = (x, x, low_x + half_x + 0.01, high_x - half_x - 0.01)[side]
                z = (low_z + half_z + 0.01, high_z - half_z - 0.01, z, z)[side]
            if self._is_free(x, z, half_x, half_z, tall):
                self._taken.append((x, z, half_x, half_z))
                return furniture.Stand(self._solids, x, z, yaw)
        return None

    def furnish(self) -> None:
        dice = self._dice
        for _ in range(1 + dice.integer(2)):
            self._kitchen_or_main_piece()
        for _ in range(4 + dice.integer(6)):
            self._extra()
        for _ in range(4 + dice.integer(6)):
            self._picture()

    def _kitchen_or_main_piece(self) -> None:
        dice, looks = self._dice, self._looks
        kind = dice.choice(("kitchen", "living", "office", "bedroom", "dining"))
        if kind == "kitchen":
            for _ in range(2):
                width = dice.uniform(1.8, 3.2)
                if stand := self._stand(width, 0.62, tall=True):
                    furniture.cabinets(stand, dice, looks, width, upper=dice.chance(0.7))
        if kind == "living":
            width = dice.uniform(1.4, 2.3)
            if stand := self._stand(width, 0.85, tall=False):
                furniture.sofa(stand, dice, looks, width)
        if kind == "bedroom" and (stand := self._stand(1.65, 2.05, tall=False)):
            furniture.bed(stand, dice, looks)
        if kind in ("office", "bedroom"):
            for _ in range(3):
                if stand := self._stand(1.4, 0.75, tall=True):
                    furniture.desk(stand, dice, looks, 1.35)
        if kind in ("dining", "kitchen", "living"):
            self._table()

    def _table(self) -> None:
        dice = self._dice
        width, depth = dice.uniform(0.8, 1.8), dice.uniform(0.6, 0.95)
        if stand := self._stand(width, depth + 0.6, tall=False, wall=-1):
            furniture.table(stand, dice, self._looks, (width, dice.choice((0.45, 0.75, 0.75)), depth))
            for front in (-1, 1):
                yaw = stand.yaw + (0.0 if front < 0 else np.pi)
                offset = front * (depth / 2 + 0.1)
                at = (stand.x + np.sin(stand.yaw) * offset, stand.z + np.cos(stand.yaw) * offset)
                furniture.chair(furniture.Stand(self._solids, *at, yaw + dice.uniform(-0.3, 0.3)), dice, self._looks)

    def _extra(self) -> None:
        dice, looks = self._dice, self._looks
        kind = dice.integer(6)
        if kind <= 1:
            width, height = dice.uniform(0.7, 1.6), dice.uniform(0.9, 2.1)
            if stand := self._stand(width, 0.34, tall=True):
                furniture.shelf(stand, dice, looks, width, height)
        elif kind == 2 and (stand := self._stand(0.6, 0.6, tall=True)):
            furniture.plant(stand, dice, looks)
        elif kind == 3 and (stand := self._stand(0.7, 0.6, tall=True)):
            furniture.crates(stand, dice, looks)
        elif kind == 4 and (stand := self._stand(0.4, 0.4, tall=True)):
            furniture.lamp(stand, dice, looks)
        elif kind == 5 and (stand := self._stand(0.5, 0.5, tall=False)):
            furniture.chair(stand, dice, looks)

    def _picture(self) -> None:
        """A flat picture, poster or notice on a wall, at eye height, not over an opening."""
        dice, side = self._dice, self._dice.integer(4)
        axis, high = (1, 0, 0, 1)[side], side in (1, 3)
        neighbour = (
            self._room[0] + (axis == 0) * (1 if high else -1),
            self._room[1] + (axis == 1) * (1 if high else -1),
        )
        opening, _, line = self._plan.between(self._room, neighbour)
        width, height = dice.uniform(0.2, 1.0), dice.uniform(0.25, 0.9)
        low_x, low_z, high_x, high_z = self._bounds
        low, far = (low_z, high_z) if axis == 0 else (low_x, high_x)
        along = dice.uniform(low + width / 2, far - width / 2)
        if opening.width and abs(along - opening.middle) < opening.width / 2 + width / 2 + 0.1:
            return
        at = line + (-1 if high else 1) * (_WALL + 0.015)
        bottom = dice.uniform(1.1, min(1.8, self._plan.ceiling - height - 0.1))
        look = Look(dice.choice(self._looks.pictures), fit=(1.0, 1.0, 1.0))
        place = (at, bottom, along) if axis == 0 else (along, bottom, at)
        size = (0.03, height, width) if axis == 0 else (width, height, 0.03)
        self._solids.add(BOX, place, size=size, look=look)


def _gait(dice: Dice) -> Gait:
    speed = 0.2 * 6.0 ** dice.uniform()
    route = RouteStyle(tour_s=95.0 / speed, rounding=0.35, step=0.04, turn_slowness=2.5, stops=2.0, hub_speed=speed)
    return Gait(
        route=route,
        height=dice.uniform(1.2, 1.75),
        height_swing=0.08,
        look_ahead=0.9,
        yaw_swing=dice.uniform(15, 50),
        pitch=dice.uniform(-34, -2),
        pitch_swing=dice.uniform(4, 14),
        roll_swing=dice.uniform(0.5, 3),
        swing_s=dice.uniform(2.5, 6),
        bob=dice.uniform(0.005, 0.03),
        step_hz=1.4 + 0.5 * speed,
        jitter_deg=dice.uniform(0.1, 0.6),
        asides=0.45,
        backs=0.1,
        spell_s=dice.uniform(8.0, 16.0),
    )


def _shell_looks(dice: Dice, book: SurfaceBook) -> tuple[list[Look], list[Look], Look]:
    walls, floors = [], []
    for _ in range(6):
        base = colour(dice, saturation=(0.0, 0.35), value=(0.55, 0.95))
        other = scaled(base, dice.uniform(0.75, 1.15))
        pattern = dice.choice(("plaster", "plaster", "wallpaper", "brick", "tiles", "fabric"))
        walls.append(
            Look(book.make(pattern, Paint(base, other, scaled(base, 0.7)), detail=0.3), period=dice.uniform(1.0, 2.6))
        )
    for _ in range(4):
        pattern = dice.choice(("planks", "planks", "tiles", "carpet", "speckle"))
        hue = (0.04, 0.12) if pattern == "planks" else (0.0, 1.0)
        base = colour(dice, hue=hue, saturation=(0.1, 0.5), value=(0.3, 0.75))
        floors.append(
            Look(
                book.make(pattern, Paint(base, scaled(base, 0.65), scaled(base, 0.35)), gloss=0.15),
                period=dice.uniform(1.2, 2.4),
            )
        )
    ceiling = colour(dice, saturation=(0.0, 0.08), value=(0.8, 0.95))
    return (
        walls,
        floors,
        Look(
            book.make(
                dice.choice(("plaster", "tiles")),
                Paint(ceiling, scaled(ceiling, 0.93), scaled(ceiling, 0.7)),
                detail=0.2,
            ),
            period=2.4,
        ),
    )


def _fabrics(dice: Dice, book: SurfaceBook) -> furniture.Fabrics:
    def many(
        count: int, patterns: tuple[str, ...], period: Pair, gloss: float, ranges: Callable[[], tuple]
    ) -> list[Look]:
        looks = []
        for _ in range(count):
            hue, saturation, value = ranges()
            base = colour(dice, hue=hue, saturation=saturation, value=value)
            paint = Paint(base, scaled(base, dice.uniform(0.5, 1.3)), scaled(base, 0.4))
            looks.append(Look(book.make(dice.choice(patterns), paint, gloss=gloss), period=dice.uniform(*period)))
        return looks

    white = colour(dice, saturation=(0.0, 0.1), value=(0.85, 1.0))
    return furniture.Fabrics(
        wood=many(5, ("wood", "planks", "wood"), (0.5, 1.2), 0.2, lambda: ((0.03, 0.11), (0.25, 0.65), (0.25, 0.75))),
        fabric=many(
            8,
            ("fabric", "plaster", "wallpaper", "carpet"),
            (0.3, 0.9),
            0.0,
            lambda: ((0.0, 1.0), (0.1, 0.85), (0.2, 0.85)),
        ),
        metal=many(3, ("speckle", "plaster"), (0.3, 0.8), 0.6, lambda: ((0.0, 1.0), (0.0, 0.15), (0.15, 0.7))),
        white=many(4, ("plaster", "wood"), (0.5, 1.0), 0.15, lambda: ((0.0, 1.0), (0.0, 0.15), (0.75, 0.98))),
        leaf=many(2, ("leaves",), (0.25, 0.5), 0.05, lambda: ((0.2, 0.38), (0.4, 0.8), (0.25, 0.6))),
        books=[book.picture() for _ in range(8)],
        pictures=[book.picture() for _ in range(12)],
        screens=[book.picture(glow=0.6) for _ in range(2)],
        glow=Look(book.make("plaster", Paint(white, white, white), detail=0.0, glow=1.0)),
    )
