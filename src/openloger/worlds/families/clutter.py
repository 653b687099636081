"""Clutter: random solids of every size and surface around open lanes, above and below; no up, no use, no meaning."""

from __future__ import annotations

import math

import numpy as np

from openloger.shapes import Float32, Float64
from openloger.worlds.families.crowd import Way
from openloger.worlds.families.family import Cell, Gait, View
from openloger.worlds.families.outdoors import Daylight, Grid
from openloger.worlds.photos import PROCEDURAL
from openloger.worlds.random import Dice, hash_number
from openloger.worlds.routes import RouteStyle
from openloger.worlds.scene import BOX, CYLINDER, ELLIPSOID, Material, SolidBuilder, Solids
from openloger.worlds.surfaces import Paint, SurfaceBook, colour, scaled

_PATTERNS = (
    "plain",
    "plain",
    "plain",
    "plaster",
    "concrete",
    "marble",
    "slats",
    "speckle",
    "brick",
    "tiles",
    "planks",
    "wood",
    "carpet",
    "fabric",
    "wallpaper",
    "grass",
    "leaves",
    "stones",
)


class Clutter:
    """The family "clutter" for one seed."""

    terrain = None
    far_m = 16.0
    fov_deg = (38.0, 95.0)

    def __init__(self, seed: int, textures: str = PROCEDURAL) -> None:
        dice = Dice(seed, 900)
        self._seed = seed
        self._pitch = dice.uniform(6.0, 10.0)
        self._lane = dice.uniform(0.9, 1.3)
        self.lattice = Grid(seed, self._pitch)
        self._light = Daylight(dice, far_m=self.far_m, haze=(0.0, 0.02))
        self._height = dice.uniform(1.4, 3.0)
        self._grounded = dice.chance(0.6)
        self._crowd = dice.uniform(10, 24)
        self.gait = _gait(dice, self._height)
        self._book = SurfaceBook(dice, textures)
        self._materials = [self._any_material(dice) for _ in range(40)]
        self.light_zone = self._light.zone()
        self._lively = dice.chance(0.35)
        self.cell = self._make_cell

    def _any_material(self, dice: Dice) -> Material:
        if dice.chance(0.25):
            print_ = dice.choice(("picture", "page", "cover", "spines", "photo", "screen"))
            return Material(self._book.picture(print_), period=dice.uniform(0.5, 2.5))
        first, second, dark = (colour(dice, saturation=(0.0, 0.7), value=(0.15, 1.0)) for _ in range(3))
        if dice.chance(0.6):  # one colour and its shades
            second, dark = scaled(first, dice.uniform(0.7, 1.2)), scaled(first, 0.6)
        surface = self._book.make(
            dice.choice(_PATTERNS), Paint(first, second, dark, dice.uniform(0.05, 0.7)), gloss=dice.uniform(0, 0.6)
        )
        return Material(surface, period=dice.uniform(0.4, 3.0))

    def surfaces(self) -> Float32[np.ndarray, "surface column"]:
        return self._book.table()

    def home(self, x: float, z: float) -> Cell:
        return math.floor(x / self._pitch), math.floor(z / self._pitch)

    def cells_seen(self, view: View) -> list[Cell]:
        return self.lattice.cells_seen(view, self.far_m, self._light.shadow(5.0))

    def movers(self, time_s: float, way: Way) -> Solids | None:
        """Solids that sway and turn in the middles of the cells nearby."""
        if not self._lively:
            return None
        x, z, _ = way.along(time_s)
        i, j = self.home(x, z)
        solids = SolidBuilder(key=hash_number(self._seed, 903), zones=[self.light_zone])
        for a in (-1, 0, 1):
            for b in (-1, 0, 1):
                self._swaying(solids, (i + a, j + b), time_s)
        return solids.build(moving=True)

    def _swaying(self, solids: SolidBuilder, cell: Cell, time_s: float) -> None:
        dice = Dice(self._seed, 904, *cell)
        size = dice.uniform(0.3, 1.0)
        room = max(self._pitch / 2 - self._lane - size, 0.1)
        angle = dice.uniform(0, 6.28) + dice.uniform(0.3, 1.5) * time_s
        x, z = (
            (cell[0] + 0.5) * self._pitch + room * math.cos(angle),
            (cell[1] + 0.5) * self._pitch + room * math.sin(angle),
        )
        height = self._height + dice.uniform(-0.6, 0.6) + 0.4 * math.sin(0.7 * angle)
        turn = (angle, 0.6 * angle, 0.0)
        kind = dice.choice((BOX, CYLINDER, ELLIPSOID))
        solids.add(
            kind, (x, height, z), size=(size, size * 0.7, size), material=dice.choice(self._materials), turn=turn
        )

    def ground(self, x: float, z: float) -> float:
        return 0.0

    def sky(self) -> Float64[np.ndarray, "column"]:
        return self._light.row()

    def _make_cell(self, cell: Cell) -> Solids:
        """Solids within the cell's square, at least a lane away from its sides (where the ways run) or far above."""
        dice = Dice(self._seed, 901, *cell)
        solids = SolidBuilder(key=hash_number(self._seed, 902, *cell), zones=[self.light_zone])
        low_x, low_z, pitch = cell[0] * self._pitch, cell[1] * self._pitch, self._pitch
        if self._grounded:
            solids.box(
                (low_x + pitch / 2, -0.2, low_z + pitch / 2), (pitch, 0.2, pitch), self._materials[dice.integer(4)]
            )
        for _ in range(int(self._crowd * dice.uniform(0.6, 1.4))):
            size = tuple(math.exp(dice.uniform(math.log(0.5), math.log(4.0))) for _ in range(3))
            reach = 0.5 * math.hypot(*size)
            aside = dice.chance(0.75)
            room = pitch / 2 - self._lane - reach if aside else pitch / 2
            if room < 0:
                continue
            above = dice.uniform(0.0, 3.5) if aside else self._height + self._lane + reach + dice.uniform(0.2, 2.0)
            if aside and not self._grounded:
                above = self._height + dice.uniform(-3.0, 3.0)
            at = (
                low_x + pitch / 2 + dice.uniform(-room, room),
                above - size[1] / 2,
                low_z + pitch / 2 + dice.uniform(-room, room),
            )
            turn = (
                (dice.uniform(0, 6.28), dice.uniform(0, 6.28), dice.uniform(0, 6.28))
                if dice.chance(0.6)
                else (0.0, 0.0, 0.0)
            )
            kind = dice.choice((BOX, BOX, CYLINDER, ELLIPSOID))
            taper = (dice.uniform(0, 1), dice.uniform(0, 1)) if dice.chance(0.3) else (0.0, 0.0)
            solids.add(kind, at, size=size, material=dice.choice(self._materials), turn=turn, taper=taper)  # pyright: ignore[reportArgumentType]
        return solids.build()


def _gait(dice: Dice, height: float) -> Gait:
    speed = 0.4 * 4.0 ** dice.uniform()
    route = RouteStyle(tour_s=110.0 / speed, rounding=1.0, step=0.05, turn_slowness=1.5, stops=0.5, hub_speed=speed)
    return Gait(
        route=route,
        height=height,
        height_swing=0.4,
        look_ahead=1.5,
        yaw_swing=dice.uniform(15, 50),
        pitch=0.0,
        pitch_swing=15.0,
        roll_swing=dice.uniform(1, 15),
        swing_s=dice.uniform(2, 5),
        bob=0.01,
        step_hz=1.5,
        jitter_deg=dice.uniform(0, 0.5),
        asides=0.5,
        backs=0.15,
    )
