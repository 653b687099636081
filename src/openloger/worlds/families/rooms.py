"""Rooms: an endless floor plan of rooms and corridors joined by doors, furnished, papered and lit room by room."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from openloger.shapes import Float32, Float64
from openloger.worlds.families import crowd, props
from openloger.worlds.families.crowd import Way
from openloger.worlds.families.family import Cell, Gait, View, hold
from openloger.worlds.families.furnisher import Furnisher
from openloger.worlds.families.interiors import interior, room_light
from openloger.worlds.families.plan import WALL, Plan
from openloger.worlds.families.shell import Shell
from openloger.worlds.photos import PROCEDURAL
from openloger.worlds.random import Dice, hash_number
from openloger.worlds.routes import RouteStyle
from openloger.worlds.scene import SolidBuilder, Solids, Zone
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
