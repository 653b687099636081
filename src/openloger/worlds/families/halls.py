"""Halls: wide rooms in endless rows, with aisles between desks, benches, racks or tables that are seen from near.

The camera goes along the lines of a grid and mostly looks aside, down at what stands in the cells: a table that it
goes round, rows of desks, shelves that tower over it.
"""

from __future__ import annotations

import math

import numpy as np

from openloger.shapes import Float32, Float64
from openloger.worlds.families import crowd, fitments, furniture, props, things
from openloger.worlds.families.crowd import Way
from openloger.worlds.families.family import Cell, Gait, View, hold
from openloger.worlds.families.furniture import Stand
from openloger.worlds.families.interiors import interior, room_light
from openloger.worlds.families.outdoors import Grid
from openloger.worlds.families.plan import Opening, Plan
from openloger.worlds.photos import PROCEDURAL
from openloger.worlds.random import Dice, hash_number
from openloger.worlds.routes import Node, RouteStyle
from openloger.worlds.scene import Material, SolidBuilder, Solids, Zone
from openloger.worlds.shading import SkyColumn
from openloger.worlds.surfaces import SurfaceBook

_BLOCK = 4  # aisles between a hall's walls
_WALLED = 2  # the cells whose number is this, modulo _BLOCK, have a wall through their middle
_DOOR = 2.1  # height of the doors in these walls, metres
_KINDS = ("tables", "desks", "benches", "racks", "mixed")


class Aisles(Grid):
    """A grid whose ways pass the walls only where doors are: along every fourth line."""

    def is_open(self, here: Node, there: Node) -> bool:
        low, axis = min(here, there), 0 if here[0] != there[0] else 1
        return low[axis] % _BLOCK != _WALLED or low[1 - axis] % _BLOCK == 0


class Doors(Plan):
    """The same as a floor plan of halls, for what is visible through the doors."""

    def __init__(self, seed: int, aisle_pitch: float, door: float, ceiling: float) -> None:
        super().__init__(seed, _BLOCK * aisle_pitch, ceiling)
        self._aisle_pitch, self._door = aisle_pitch, door

    def _line(self, axis: int, number: int) -> float:
        return (_BLOCK * number + _WALLED + 0.5) * self._aisle_pitch

    def _opening(self, room: Node, axis: int) -> Opening:
        return Opening(_BLOCK * (room[1 - axis] + 1) * self._aisle_pitch, self._door, _DOOR)

    def cells(self, room: Node) -> tuple[range, range]:
        """The cells of a hall, with those that its walls stand in."""
        i, j = (_BLOCK * number + _WALLED for number in room)
        return range(i, i + _BLOCK + 1), range(j, j + _BLOCK + 1)


class Halls:
    """The family "halls" for one seed."""

    terrain = None
    far_m = 45.0
    fov_deg = (42.0, 86.0)

    def __init__(self, seed: int, textures: str = PROCEDURAL) -> None:
        dice = Dice(seed, 1300)
        self._seed = seed
        self._kind = dice.choice(_KINDS)
        self._lane = dice.uniform(0.55, 0.95)  # half of an aisle
        self._inner = (
            dice.uniform(1.1, 2.0) if self._kind == "tables" else dice.uniform(2.6, 5.0)
        )  # metres across a cell's furniture
        self._pitch = self._inner + 2.0 * self._lane
        self._ceiling = dice.uniform(2.5, 3.0) if self._kind == "tables" else dice.uniform(2.5, 4.5)
        self.lattice = Aisles(seed, self._pitch)
        self._doors = Doors(seed, self._pitch, 2.0 * self._lane, self._ceiling)
        self.gait = _gait(dice, close=self._kind == "tables")
        self._book = SurfaceBook(dice, textures)
        self._materials = interior(dice, self._book)
        self._day, self._walls = dice.uniform(0.3, 1.2), dice.uniform(0.1, 0.5)
        self._blur, self._haze = dice.uniform(0.04, 0.2), dice.uniform(0.0, 0.01)
        self._lively = dice.chance(0.3)
        self._outfits = props.outfits(dice, self._book)
        self._walkers: list[list[Solids]] | None = None
        self.light_zone: Zone = room_light(dice, (-1e3, -self._ceiling, -1e3), (1e3, 0.0, 1e3), day=self._day)._replace(
            shadow=0.0, lamp_rgb=(0.0, 0.0, 0.0)
        )
        self.cell = self._make_cell

    def surfaces(self) -> Float32[np.ndarray, "surface column"]:
        return self._book.table()

    def home(self, x: float, z: float) -> Cell:
        return math.floor(x / self._pitch), math.floor(z / self._pitch)

    def cells_seen(self, view: View) -> list[Cell]:
        home = [math.floor((at / self._pitch - _WALLED - 0.5) / _BLOCK) for at in (view.x, view.z)]
        cells: dict[Cell, None] = {}
        for room in self._doors.rooms_seen((home[0], home[1]), view):
            across, along = self._doors.cells(room)
            cells.update(dict.fromkeys((i, j) for i in across for j in along))
        inside = set(self.lattice.cells_seen(view, self.far_m))
        return [cell for cell in cells if cell in inside]

    def movers(self, time_s: float, way: Way) -> Solids | None:
        """Somebody who walks ahead, and others who come along the aisles."""
        if not self._lively:
            return None
        if self._walkers is None:
            self._walkers = crowd.walkers(self._seed, self._outfits, self.light_zone, 2)
        spots = [(0, way.along(time_s, 3.0))]
        found = crowd.meetings(self._seed, time_s, 12.0)
        spots += [(1, crowd.oncoming(way, time_s, meeting, 0.7 * self._lane)) for _, meeting in found]
        parts = [
            crowd.standing(crowd.step_of(self._walkers[number], self.gait.route.hub_speed * time_s), spot, 0.0)
            for number, spot in spots
        ]
        return crowd.gather(parts, self._walkers[0][0].zones)

    def ground(self, x: float, z: float) -> float:
        return 0.0

    def sky(self) -> Float64[np.ndarray, "column"]:
        row = np.zeros(SkyColumn.COUNT)
        row[SkyColumn.SUN] = 1.0
        row[SkyColumn.ZENITH : SkyColumn.ZENITH + 3] = 0.4
        row[SkyColumn.HORIZON : SkyColumn.HORIZON + 3] = 0.45
        row[SkyColumn.HAZE], row[SkyColumn.FAR] = self._haze, self.far_m
        row[SkyColumn.EXPOSURE], row[SkyColumn.BLUR] = self._materials.exposure, self._blur
        return row

    def _make_cell(self, cell: Cell) -> Solids:
        """A square between four aisles: floor and ceiling of half the aisles around it, and what stands in it."""
        dice = Dice(self._seed, 1301, *cell)
        x, z = (cell[0] + 0.5) * self._pitch, (cell[1] + 0.5) * self._pitch
        half = 0.5 * self._pitch
        solids = SolidBuilder(key=hash_number(self._seed, 1302, *cell))
        light = Dice(self._seed, 1303)  # one kind of light for the hall, with its lamp over each cell
        low, high = (x - half, -self._ceiling, z - half), (x + half, 0.0, z + half)
        zone = room_light(light, low, high, day=self._day)
        wide = (-1e6, -self._ceiling, -1e6), (1e6, 0.0, 1e6)
        solids.zones.append(zone._replace(low=wide[0], high=wide[1]))
        self._shell(solids, dice, (x, z))
        walled = [number % _BLOCK == _WALLED for number in cell]
        for axis in (0, 1):
            if walled[axis]:
                self._wall_through(solids, axis, (x, z), cell[1 - axis])
        shell = solids.build(casts=False)
        inside = SolidBuilder(key=solids.key + 1, zones=solids.zones)
        if not any(walled):
            self._furnish(Stand(inside, x, z, dice.choice((0.0, 0.5, 1.0, 1.5)) * math.pi), dice)
        elif not all(walled):
            self._along_wall(Stand(inside, x, z, 0.5 * math.pi if walled[0] else 0.0), dice)
        return Solids(rows=np.concatenate([shell.rows, inside.build().rows]), zones=shell.zones)

    def _shell(self, solids: SolidBuilder, dice: Dice, middle: tuple[float, float]) -> None:
        (x, z), pitch, height, materials = middle, self._pitch, self._ceiling, self._materials
        solids.box((x, -0.1, z), (pitch, 0.1, pitch), materials.floors[0])
        solids.box((x, height, z), (pitch, 0.1, pitch), materials.ceilings[0])
        fields = max(int(pitch / 2.4), 1)
        for number in range(fields):
            at = x + ((number + 0.5) / fields - 0.5) * pitch
            solids.box((at, height - 0.03, z), (0.3 if self._seed % 2 else 0.6, 0.04, 1.2), materials.fabrics.glow)
        if dice.chance(0.2):
            solids.box((x, height - 0.35, z), (pitch, 0.3, 0.4), dice.choice(materials.fabrics.metal + materials.trims))
        if dice.chance(0.15):
            solids.box((x, 0, z), (0.4, height, 0.4), dice.choice(materials.walls))

    def _wall_through(self, solids: SolidBuilder, axis: int, middle: tuple[float, float], number: int) -> None:
        """A wall through a cell's middle, at right angles to an axis, open at the aisles that have doors."""
        materials, at = self._materials, middle[1 - axis]
        low, high = at - 0.5 * self._pitch, at + 0.5 * self._pitch
        begin = low + self._lane if number % _BLOCK == 0 else low
        end = high - self._lane if (number + 1) % _BLOCK == 0 else high

        def piece(begin: float, end: float, bottom: float, top: float, material: Material, thick: float = 0.15) -> None:
            place = (middle[0], bottom, 0.5 * (begin + end)), (0.5 * (begin + end), bottom, middle[1])
            size = (thick, top - bottom, end - begin), (end - begin, top - bottom, thick)
            solids.box(place[axis], size[axis], material)

        piece(begin, end, 0.0, self._ceiling, materials.walls[0])
        piece(begin, end, 0.0, 0.09, materials.trims[0], 0.19)
        for first, last in ((low, begin), (end, high)):
            if last > first:
                piece(first, last, _DOOR, self._ceiling, materials.walls[0])

    def _furnish(self, stand: Stand, dice: Dice) -> None:
        kind, size, materials = self._kind, self._inner, self._materials.fabrics
        if kind == "mixed":
            kind = dice.choice(("tables", "desks", "benches", "racks", "wall", "wall"))
        elif dice.chance(self._walls):
            kind = "wall"
        if kind == "tables":
            self._table(stand, dice)
        elif kind == "wall":
            self._wall(stand, dice)
        else:
            rows = max(int(size / (1.7 if kind == "desks" else 1.3)), 1)
            for row in range(rows):
                for back in (0, 1):
                    front = ((row + 0.5) / rows - 0.5) * size
                    place = stand.beside(0.0, front + (0.38 if back == 0 else -0.38), 0.0 if back == 0 else math.pi)
                    self._row(place, dice, kind, size)
                if kind == "desks" and dice.chance(0.6):
                    screen = stand.beside(0.0, ((row + 0.5) / rows - 0.5) * size)
                    fitments.partition(screen, dice, materials, (size, dice.uniform(1.0, 1.5), 0.04))

    def _row(self, stand: Stand, dice: Dice, kind: str, size: float) -> None:
        """A row of one kind along the stand's right, as long as the cell's furniture is wide."""
        materials, count = self._materials.fabrics, max(round(size / 1.5), 1)
        each = size / count
        for number in range(count):
            place = stand.beside(((number + 0.5) / count - 0.5) * size, 0.0)
            if dice.chance(0.12):
                dice.choice(things.ON_THE_FLOOR)(place, dice, materials, (0.0, 0.0, 0.0))
            elif kind == "desks":
                fitments.desk(place, dice, materials, each - 0.04)
                if dice.chance(0.7):
                    seat = place.beside(dice.uniform(-0.2, 0.2), 0.5, math.pi + dice.uniform(-0.8, 0.8))
                    furniture.chair(seat, dice, materials)
            elif kind == "benches":
                fitments.bench(place, dice, materials, (each - 0.02, dice.uniform(0.76, 0.95), 0.7))
            elif dice.chance(0.5):
                height = min(dice.uniform(1.3, 2.8), self._ceiling - 0.4)
                fitments.rack(place, dice, materials, (each - 0.02, height, 0.55))
            else:
                furniture.shelf(place, dice, materials, each - 0.02, min(dice.uniform(1.2, 2.6), self._ceiling - 0.4))

    def _table(self, stand: Stand, dice: Dice) -> None:
        """A table crowded with things and chairs pushed under it."""
        materials, size = self._materials.fabrics, self._inner
        width, depth = size * dice.uniform(0.7, 0.95), size * dice.uniform(0.5, 0.8)
        height = dice.choice((0.45, 0.72, 0.76, 0.95))
        furniture.table(stand, dice, materials, (width, height, depth))
        things.scatter(stand, dice, materials, (0.92 * width, height, 0.92 * depth), 4 + dice.integer(14))
        for front in (-1, 1):
            if dice.chance(0.6):
                turn = (math.pi if front > 0 else 0.0) + dice.uniform(-0.3, 0.3)
                furniture.chair(stand.beside(dice.uniform(-0.25, 0.25), front * 0.4 * depth, turn), dice, materials)
        for _ in range(dice.integer(3)):
            dice.choice(things.ON_THE_FLOOR)(stand, dice, materials, (dice.uniform(-0.3, 0.3) * width, 0.0, 0.0))

    def _wall(self, stand: Stand, dice: Dice) -> None:
        """A piece of wall to the ceiling with something on it or before it, seen from both sides."""
        materials, size = self._materials, self._inner
        stand.box((0, 0, 0), (size, self._ceiling, 0.15), dice.choice(materials.walls))
        stand.box((0, 0, 0), (size, 0.09, 0.19), dice.choice(materials.trims))
        self._along_wall(stand, dice)

    def _along_wall(self, stand: Stand, dice: Dice) -> None:
        """The things on both sides of a wall along the stand's right."""
        size = self._inner
        for turn in (0.0, math.pi):
            side = stand.beside(0.0, math.copysign(0.08, 1.0 - turn), turn)
            for number in range(max(int(size / 1.2), 1)):
                place = side.beside(((number + 0.5) / max(int(size / 1.2), 1) - 0.5) * size, 0.0)
                self._before_wall(place, dice, size)

    def _before_wall(self, place: Stand, dice: Dice, size: float) -> None:
        materials, kind, wide = self._materials.fabrics, dice.uniform(), min(1.1, size)
        reach = 0.5 * self._inner - 0.1
        if kind < 0.25:
            picture = Material(dice.choice(materials.pictures), fit=(1.0, 1.0, 1.0))
            place.box((0, dice.uniform(0.9, 1.4), 0.01), (0.8 * wide, dice.uniform(0.4, 0.9), 0.03), picture)
        elif kind < 0.45:
            fitments.wardrobe(place.beside(0, 0.3), dice, materials, (wide, dice.choice((0.9, 1.8, 2.1)), 0.5))
        elif kind < 0.6 and reach > 0.8:
            fitments.machine(place.beside(0, 0.6), dice, materials)
        elif kind < 0.8:
            furniture.shelf(place.beside(0, 0.2), dice, materials, wide, dice.uniform(1.0, 2.2))
        elif kind < 0.9:
            furniture.plant(place.beside(0, 0.35), dice, materials)


def _gait(dice: Dice, *, close: bool) -> Gait:
    hand, speed = hold(dice), (0.15 if close else 0.25) * 6.0 ** dice.uniform()
    return Gait(
        route=RouteStyle(tour_s=70.0 / speed, rounding=0.45, step=0.04, turn_slowness=2.0, stops=1.5, hub_speed=speed),
        height=dice.uniform(1.05, 1.7),
        height_swing=dice.uniform(0.03, 0.2),
        look_ahead=0.9,
        yaw_swing=hand.yaw_swing,
        pitch=dice.uniform(-42.0, -12.0) if close else dice.uniform(-32.0, 0.0),
        pitch_swing=dice.uniform(4.0, 14.0),
        roll=hand.roll,
        roll_swing=hand.roll_swing,
        swing_s=hand.swing_s,
        bob=dice.uniform(0.003, 0.025),
        step_hz=1.4 + 0.5 * speed,
        jitter_deg=dice.uniform(0.1, 0.6),
        asides=0.75 if close else 0.5,
        backs=0.05,
        spell_s=dice.uniform(8.0, 16.0),
    )
