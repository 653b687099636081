"""Rooms: an endless floor plan of rooms and corridors joined by doors, furnished, papered and lit room by room.

`Furnisher` furnishes one room: what stands along its walls and in its middle, and what hangs on the walls.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from openloger.shapes import Float32, Float64
from openloger.worlds.families import crowd, fitments, furniture, props, things
from openloger.worlds.families.crowd import Way
from openloger.worlds.families.family import Cell, Gait, View, hold
from openloger.worlds.families.furniture import Fabrics, Stand
from openloger.worlds.families.interiors import interior, room_light
from openloger.worlds.families.plan import WALL, Plan
from openloger.worlds.families.shell import Shell
from openloger.worlds.families.things import WHOLE
from openloger.worlds.photos import PROCEDURAL
from openloger.worlds.random import Dice, hash_number
from openloger.worlds.routes import Node, RouteStyle
from openloger.worlds.scene import BOX, CYLINDER, Material, Pair, SolidBuilder, Solids, Zone
from openloger.worlds.shading import SkyColumn
from openloger.worlds.surfaces import SurfaceBook


class Rooms:
    """The family "rooms" for one seed."""

    terrain = None
    far_m = 40.0
    fov_deg = (42.0, 84.0)

    def __init__(self, seed: int, textures: str = PROCEDURAL) -> None:
        dice = Dice(seed, 600)
        self._seed = seed
        self.lattice = Plan(seed, dice.uniform(3.4, 6.4), dice.uniform(2.35, 3.3))
        self.gait = _gait(dice)
        self._book = SurfaceBook(dice, textures)
        self._materials = interior(dice, self._book)
        self._day = dice.uniform(0.3, 1.2)
        self._blur = dice.uniform(0.04, 0.2)
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
        row[SkyColumn.HAZE], row[SkyColumn.FAR], row[SkyColumn.EXPOSURE] = 1e-4, self.far_m, self._materials.exposure
        row[SkyColumn.BLUR] = self._blur
        return row

    def _make_room(self, room: Cell) -> Solids:
        dice = Dice(self._seed, 603, *room)
        solids = SolidBuilder(key=hash_number(self._seed, 604, *room))
        low_x, low_z, high_x, high_z = self.lattice.bounds(room)
        low = (low_x + WALL, -self.lattice.ceiling, low_z + WALL)
        solids.zones.append(room_light(dice, low, (high_x - WALL, 0.0, high_z - WALL), day=self._day))
        shell = Shell(self.lattice, room, solids, dice, self._materials)
        shell.build()
        inside = SolidBuilder(key=solids.key + 1, zones=solids.zones)
        Furnisher(self.lattice, room, inside, dice, self._materials.fabrics, shell).furnish()
        still, things = solids.build(casts=False), inside.build()
        return Solids(rows=np.concatenate([still.rows, things.rows]), zones=still.zones)


def _gait(dice: Dice) -> Gait:
    hand = hold(dice)
    speed = 0.2 * 6.0 ** dice.uniform()
    route = RouteStyle(tour_s=95.0 / speed, rounding=0.35, step=0.04, turn_slowness=2.5, stops=2.0, hub_speed=speed)
    return Gait(
        route=route,
        height=dice.uniform(0.95, 1.8),
        height_swing=0.08,
        look_ahead=0.9,
        yaw_swing=hand.yaw_swing,
        pitch=dice.uniform(-40, 4),
        pitch_swing=dice.uniform(4, 14),
        roll=hand.roll,
        roll_swing=hand.roll_swing,
        swing_s=hand.swing_s,
        bob=dice.uniform(0.005, 0.03),
        step_hz=1.4 + 0.5 * speed,
        jitter_deg=dice.uniform(0.1, 0.6),
        asides=0.45,
        backs=0.1,
        spell_s=dice.uniform(8.0, 16.0),
    )


_LANE = 0.5  # metres beside the camera's ways that stay free of anything at its height


class Furnisher:
    """Puts furniture along the walls of one room, and pictures on them, out of the camera's way."""

    def __init__(
        self, plan: Plan, room: Node, solids: SolidBuilder, dice: Dice, materials: Fabrics, shell: Shell
    ) -> None:
        self._plan, self._room, self._solids, self._dice, self._materials = plan, room, solids, dice, materials
        self._shell = shell
        low_x, low_z, high_x, high_z = plan.bounds(room)
        self.bounds = (low_x + WALL, low_z + WALL, high_x - WALL, high_z - WALL)
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
        low_x, low_z, high_x, high_z = self.bounds
        if x - half_x < low_x or x + half_x > high_x or z - half_z < low_z or z + half_z > high_z:
            return False
        if any(abs(x - a) < half_x + c and abs(z - b) < half_z + d for a, b, c, d in self._taken):
            return False
        reach = _LANE if tall else 0.15
        away = np.maximum(np.abs(self._ways - (x, z)) - (half_x, half_z), 0.0)
        return bool((np.hypot(away[:, 0], away[:, 1]) > reach).all())

    def _stand(self, width: float, depth: float, *, tall: bool, wall: int | None = None) -> Stand | None:
        """A free place for something of that size, its back to a wall (or anywhere, for wall = -1)."""
        low_x, low_z, high_x, high_z = self.bounds
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
                return Stand(self._solids, x, z, yaw)
        return None

    def furnish(self) -> None:
        dice = self._dice
        fullness = dice.uniform(0.4, 1.3)
        kind = dice.choice(("kitchen", "living", "office", "bedroom", "dining", "laboratory", "store", "bare"))
        if kind != "bare":
            self._main(kind)
        if dice.chance(0.35):
            self._rug()
        for _ in range(int(fullness * (6 + dice.integer(8)))):
            self._extra(kind)
        for _ in range(int(fullness * (2 + dice.integer(7)))):
            self._on_the_wall()

    def _main(self, kind: str) -> None:
        dice, materials = self._dice, self._materials
        if kind == "kitchen":
            for _ in range(2):
                width = dice.uniform(1.8, 3.6)
                if stand := self._stand(width, 0.64, tall=True):
                    fitments.cabinets(stand, dice, materials, width, upper=dice.chance(0.6))
            if stand := self._stand(0.65, 0.65, tall=True):
                fitments.wardrobe(stand, dice, materials, (0.6, dice.uniform(1.2, 1.95), 0.62))
        if kind == "living":
            width = dice.uniform(1.4, 2.6)
            if stand := self._stand(width, 0.85, tall=False):
                furniture.sofa(stand, dice, materials, width)
        if kind == "bedroom" and (stand := self._stand(1.65, 2.05, tall=False)):
            furniture.bed(stand, dice, materials)
        if kind in ("office", "bedroom"):
            for _ in range(4 if kind == "office" else 1):
                self._desk()
        if kind == "laboratory":
            for _ in range(3):
                width = dice.uniform(1.4, 2.6)
                if stand := self._stand(width, 0.75, tall=True):
                    fitments.bench(stand, dice, materials, (width, dice.uniform(0.75, 0.95), 0.7))
            if stand := self._stand(1.0, 1.0, tall=True):
                fitments.machine(stand, dice, materials)
        if kind == "store":
            for _ in range(4):
                width = dice.uniform(0.9, 2.4)
                if stand := self._stand(width, 0.5, tall=True):
                    fitments.rack(stand, dice, materials, (width, dice.uniform(1.2, 2.2), dice.uniform(0.35, 0.5)))
        if kind in ("dining", "kitchen", "living", "laboratory"):
            for _ in range(1 + dice.integer(2)):
                self._table()

    def _desk(self) -> None:
        dice, width = self._dice, self._dice.uniform(1.1, 1.7)
        if stand := self._stand(width + 0.05, 0.75, tall=True):
            fitments.desk(stand, dice, self._materials, width)
            furniture.chair(
                stand.beside(dice.uniform(-0.2, 0.2), 0.6, np.pi + dice.uniform(-0.7, 0.7)), dice, self._materials
            )

    def _table(self) -> None:
        dice = self._dice
        width, depth = dice.uniform(0.8, 2.0), dice.uniform(0.6, 1.0)
        if stand := self._stand(width, depth + 0.5, tall=False, wall=-1):
            height = dice.choice((0.42, 0.74, 0.76))
            fitments.laid_table(stand, dice, self._materials, (width, height, depth))
            seats = max(int(width / 0.6), 1)
            for seat in range(2 * seats):
                if height > 0.5 and dice.chance(0.7):
                    front = 1 if seat % 2 else -1
                    at = ((seat // 2 + 0.5) / seats - 0.5) * width
                    turn = (np.pi if front > 0 else 0.0) + dice.uniform(-0.4, 0.4)
                    furniture.chair(stand.beside(at, front * (depth / 2 + 0.12), turn), dice, self._materials)

    def _rug(self) -> None:
        dice = self._dice
        low_x, low_z, high_x, high_z = self.bounds
        x, z = (low_x + high_x) / 2 + dice.uniform(-0.5, 0.5), (low_z + high_z) / 2 + dice.uniform(-0.5, 0.5)
        size = dice.uniform(1.2, 2.2), dice.uniform(0.9, 1.7)
        furniture.rug(Stand(self._solids, x, z, dice.choice((0.0, np.pi / 2, 0.3))), dice, self._materials, size)

    def _extra(self, kind: str) -> None:
        dice, materials = self._dice, self._materials
        what = dice.choice(
            ("shelf", "shelf", "cupboard", "cupboard", "plant", "lamp", "chair", "floor", "floor", "machine")
        )
        if what == "shelf":
            width, height = dice.uniform(0.6, 1.8), dice.uniform(0.8, 2.2)
            if stand := self._stand(width, 0.38, tall=True):
                furniture.shelf(stand, dice, materials, width, height)
        elif what == "cupboard":
            size = dice.uniform(0.5, 1.8), dice.choice((0.6, 0.85, 1.1, 1.8, 2.05)), dice.uniform(0.35, 0.6)
            if stand := self._stand(size[0], size[2], tall=True):
                fitments.wardrobe(stand, dice, materials, size)
        elif what == "plant" and (stand := self._stand(0.6, 0.6, tall=True)):
            furniture.plant(stand, dice, materials)
        elif what == "lamp" and (stand := self._stand(0.4, 0.4, tall=True)):
            furniture.lamp(stand, dice, materials)
        elif what == "chair" and (stand := self._stand(0.5, 0.5, tall=False)):
            furniture.chair(stand, dice, materials)
        elif what == "floor" and (stand := self._stand(0.5, 0.5, tall=False)):
            dice.choice(things.ON_THE_FLOOR)(stand, dice, materials, (0.0, 0.0, 0.0))
        elif what == "machine" and kind in ("laboratory", "store", "office"):
            if dice.chance(0.5) and (stand := self._stand(1.9, 0.6, tall=True)):
                fitments.board_on_wheels(stand, dice, materials)
            elif stand := self._stand(1.0, 1.0, tall=True):
                fitments.machine(stand, dice, materials)

    def _on_the_wall(self) -> None:
        """Pictures, notices, a clock, a screen, a shelf or a white board, at eye height, not over an opening."""
        dice, materials = self._dice, self._materials
        side, kind = (
            dice.integer(4),
            dice.choice(("picture", "picture", "notices", "screen", "shelf", "clock", "board")),
        )
        width = {"notices": dice.uniform(0.5, 1.6), "board": dice.uniform(1.0, 2.0), "clock": 0.34}.get(
            kind, dice.uniform(0.3, 1.1)
        )
        if (at := self._shell.claim(side, width)) is None:
            return
        stand, top = self._shell.stand(side, at), self._plan.ceiling - 0.1
        bottom = dice.uniform(1.0, min(1.7, top - 0.9))
        stand = Stand(self._solids, stand.x, stand.z, stand.yaw)
        if kind == "clock":
            stand.add(CYLINDER, (0, bottom + 0.5, 0.02), (0.3, 0.04, 0.3), dice.choice(materials.white), tilt=np.pi / 2)
        elif kind == "notices":
            _notices(stand, dice, materials, (width, bottom))
        elif kind == "shelf":
            stand.box(
                (0, bottom, 0.11), (width, 0.025, 0.2), dice.choice(materials.wood + materials.white + materials.metal)
            )
            things.scatter(stand.beside(0, 0.11), dice, materials, (width, bottom + 0.025, 0.1), 2 + dice.integer(6))
        elif kind == "board":
            stand.box((0, bottom, 0.015), (width, 0.9, 0.03), dice.choice(materials.white + materials.dark))
            stand.box((0, bottom - 0.03, 0.04), (width, 0.03, 0.07), dice.choice(materials.metal))
        elif kind == "screen":
            stand.box((0, bottom, 0.03), (width, 0.58 * width, 0.05), dice.choice(materials.dark))
            front = Material(dice.choice(materials.screens), fit=WHOLE)
            stand.box((0, bottom + 0.02, 0.057), (width - 0.04, 0.58 * width - 0.04, 0.008), front)
        else:
            tall = min(dice.uniform(0.25, 1.0), top - bottom)
            material = Material(dice.choice(materials.pictures), fit=WHOLE)
            if dice.chance(0.5):
                stand.box(
                    (0, bottom - 0.03, 0.008),
                    (width + 0.06, tall + 0.06, 0.02),
                    dice.choice(materials.wood + materials.dark),
                )
            stand.box((0, bottom, 0.012), (width, tall, 0.025), material)


def _notices(stand: Stand, dice: Dice, materials: Fabrics, size: Pair) -> None:
    """Sheets beside and over each other, perhaps on a board; `size` = (width, height of the lower edge)."""
    if dice.chance(0.4):
        stand.box((0, size[1] - 0.1, 0.008), (size[0], 0.9, 0.015), dice.choice(materials.card + materials.fabric))
    for number in range(3 + dice.integer(10)):
        material = Material(dice.choice(materials.pages + materials.covers + materials.pictures), fit=WHOLE)
        wide, tall = dice.choice(((0.21, 0.297), (0.297, 0.21), (0.15, 0.21), (0.1, 0.15)))
        at = (dice.uniform(-0.42, 0.42) * size[0], size[1] + dice.uniform(-0.05, 0.55), 0.02 + 0.002 * number)
        stand.add(BOX, at, (wide, tall, 0.004), material, roll=dice.uniform(-0.08, 0.08))
