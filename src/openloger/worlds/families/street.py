"""Street: an endless town of blocks; house fronts, gardens, kerbs, parked and driving cars, trees and signs."""

from __future__ import annotations

import math

import numpy as np

from openloger.shapes import Float32, Float64
from openloger.worlds.families import crowd, houses, props
from openloger.worlds.families.crowd import Way
from openloger.worlds.families.family import Cell, Gait, View
from openloger.worlds.families.furniture import Stand
from openloger.worlds.families.outdoors import Daylight, Grid
from openloger.worlds.photos import PROCEDURAL
from openloger.worlds.random import Dice, hash_number
from openloger.worlds.routes import RouteStyle
from openloger.worlds.scene import Material, SolidBuilder, Solids, instances
from openloger.worlds.surfaces import Paint, SurfaceBook, colour, scaled

_KERB = 0.14  # height of the pavement, metres
_TALLEST = 15.0  # metres: what shadows are reckoned from


class Street:
    """The family "street" for one seed."""

    terrain = None
    far_m = 110.0
    fov_deg = (48.0, 92.0)

    def __init__(self, seed: int, textures: str = PROCEDURAL) -> None:
        dice = Dice(seed, 1000)
        self._seed = seed
        self._pitch = dice.uniform(48.0, 70.0)
        self._narrow = dice.chance(0.45)  # one lane: the camera's way is its middle, between parked cars
        self._road = dice.uniform(3.1, 4.0) if self._narrow else dice.uniform(4.2, 6.2)  # half, parked cars included
        self._pavement = dice.uniform(1.0, 3.2)
        self.lattice = Grid(seed, self._pitch)
        self._light = Daylight(dice, far_m=self.far_m, haze=(0.001, 0.006), lowest_deg=24.0)
        self.light_zone = self._light.zone()
        walked = 0.0 if self._narrow else self._road - 2.6
        self.gait = _walk(dice, walked) if dice.chance(0.25) else _drive(dice, narrow=self._narrow)
        self._book = SurfaceBook(dice, textures)
        self._ground = _ground_materials(dice, self._book)
        self._houses = houses.fronts(dice, self._book)
        self._outfits = props.outfits(dice, self._book)
        self._green = dice.uniform(0.1, 0.9)
        self._apartments = dice.uniform(0.1, 0.9)
        self._parked = dice.uniform(0.25, 0.97)
        self._templates = {name: [self._template(name, number) for number in range(5)] for name in _TEMPLATES}
        self._lively = dice.integer(8) if dice.chance(0.5) else 0
        self._walkers: list[list[Solids]] | None = None
        self.cell = self._make_block

    def _template(self, name: str, number: int) -> Solids:
        dice = Dice(self._seed, 1001, hash_number(0, *name.encode()), number)
        solids = SolidBuilder(key=hash_number(self._seed, 1002, *name.encode(), number), zones=[self.light_zone])
        _TEMPLATES[name](Stand(solids, 0.0, 0.0, 0.0), dice, self._outfits)
        return solids.build()

    def surfaces(self) -> Float32[np.ndarray, "surface column"]:
        return self._book.table()

    def home(self, x: float, z: float) -> Cell:
        return math.floor(x / self._pitch), math.floor(z / self._pitch)

    def cells_seen(self, view: View) -> list[Cell]:
        return self.lattice.cells_seen(view, self.far_m, self._light.shadow(_TALLEST))

    def movers(self, time_s: float, way: Way) -> Solids | None:
        """Cars ahead and coming towards the camera; people who walk round the blocks nearby."""
        if not self._lively:
            return None
        parts = []
        if self._lively & 1:
            parts.append(crowd.standing(self._templates["car"][0], way.along(time_s + 2.6, 0.0, self.gait.beside), 0.0))
        if self._lively & 2 and not self._narrow:
            for number, meeting in crowd.meetings(self._seed, time_s, 9.0):
                spot = crowd.oncoming(way, time_s, meeting, max(self.gait.beside, 1.6))
                parts.append(crowd.standing(self._templates["car"][number % 5], spot, 0.0))
        if self._lively & 4:
            x, z, _ = way.along(time_s)
            i, j = self.home(x, z)
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    parts += self._passers_by((i + di, j + dj), time_s)
        return crowd.gather(parts, self._templates["car"][0].zones)

    def _passers_by(self, cell: Cell, time_s: float) -> list[np.ndarray]:
        """People on the pavement round a block."""
        dice = Dice(self._seed, 1005, *cell)
        half = self._pitch / 2 - self._road - 0.55 * self._pavement
        parts = []
        for _ in range(dice.integer(4)):
            walked = dice.uniform(0.0, 8.0 * half) + dice.uniform(0.7, 1.6) * time_s
            side, rest = int(walked / (2.0 * half)) % 4, walked % (2.0 * half) - half
            yaw = side * math.pi / 2.0
            middle = (cell[0] + 0.5) * self._pitch, (cell[1] + 0.5) * self._pitch
            x, z = _turned(middle, yaw, half, rest)
            person = dice.choice(self._people())
            parts.append(crowd.standing(crowd.step_of(person, walked), (x, z, yaw), _KERB))
        return parts

    def _people(self) -> list[list[Solids]]:
        if self._walkers is None:
            self._walkers = crowd.walkers(self._seed, self._outfits, self.light_zone)
        return self._walkers

    def ground(self, x: float, z: float) -> float:
        return 0.0

    def sky(self) -> Float64[np.ndarray, "column"]:
        return self._light.row()

    def _make_block(self, cell: Cell) -> Solids:
        """A block of houses between streets, the carriageways on its low sides, and what stands along them."""
        dice = Dice(self._seed, 1003, *cell)
        solids = SolidBuilder(key=hash_number(self._seed, 1004, *cell), zones=[self.light_zone])
        low_x, low_z = cell[0] * self._pitch, cell[1] * self._pitch
        self._carriageways(solids, low_x, low_z)
        inner = self._pitch - 2 * self._road
        middle_x, middle_z = low_x + self._pitch / 2, low_z + self._pitch / 2
        paving = dice.choice(self._ground["paving"])
        solids.box((middle_x, 0.0, middle_z), (inner, _KERB - 0.02, inner), self._ground["kerb"][0])
        solids.box((middle_x, _KERB - 0.02, middle_z), (inner - 0.3, 0.02, inner - 0.3), paving)
        lots = inner - 2 * self._pavement
        solids.box((middle_x, _KERB, middle_z), (lots, 0.03, lots), dice.choice(self._ground["garden"]))
        loose: list[np.ndarray] = []
        for side in range(4):
            self._front(solids, dice, (middle_x, middle_z), lots, side, loose)
            self._roadside(dice, (middle_x, middle_z), inner, side, loose)
        block = solids.build()
        return Solids(rows=np.concatenate([block.rows, *loose]), zones=block.zones)

    def _carriageways(self, solids: SolidBuilder, low_x: float, low_z: float) -> None:
        """The roads along the block's low x and low z lines, and the crossing at their corner."""
        wide, long = 2 * self._road, self._pitch - 2 * self._road
        repeats = max(round(long / 9.0), 1)
        lane = Material(self._ground["road"][0].surface, fit=(1.0, 1.0, float(repeats)))
        middle = self._pitch / 2
        solids.box((low_x, -0.2, low_z + middle), (wide, 0.2, long), lane)
        solids.box((low_x + middle, -0.2, low_z), (wide, 0.2, long), lane, math.pi / 2)
        solids.box((low_x, -0.2, low_z), (wide, 0.2, wide), self._ground["crossing"][0])

    def _front(
        self,
        solids: SolidBuilder,
        dice: Dice,
        middle: tuple[float, float],
        lots: float,
        side: int,
        loose: list[np.ndarray],
    ) -> None:
        """Houses, gardens and gaps along one side of the block, from its left end to its right."""
        deep = 11.0
        begin, end = (0.0, lots) if side < 2 else (deep, lots - deep)
        yaw = (0.0, math.pi, math.pi / 2, -math.pi / 2)[side]
        while end - begin > 5.0:
            width = min(dice.uniform(8.0, 18.0), end - begin)
            if end - begin - width < 5.0:
                width = end - begin
            along = begin + width / 2 - lots / 2
            depth = dice.uniform(8.0, deep - 0.5)
            setback = 0.0 if dice.chance(self._apartments) else min(dice.uniform(1.0, 4.0), deep - depth + 2.5)
            x, z = _turned(middle, yaw, along, lots / 2 - setback - depth / 2)
            stand = Stand(solids, x, z, yaw, _KERB)
            if dice.chance(0.12):
                for row in range(3):
                    at = _turned(middle, yaw, along + dice.uniform(-0.3, 0.3) * width, lots / 2 - 1.0 - 3.0 * row)
                    loose.append(self._set("tree", dice, at, dice.uniform(0, 6.28)))
            elif dice.chance(self._apartments):
                houses.apartments(stand, dice, self._houses, (width, depth))
            else:
                houses.villa(stand, dice, self._houses, (width, depth))
            if setback > 0.8:
                fx, fz = _turned(middle, yaw, along, lots / 2 - 0.2)
                houses.garden_edge(Stand(solids, fx, fz, yaw, _KERB), dice, self._houses, width)
                for _ in range(dice.integer(4)):
                    at = _turned(
                        middle,
                        yaw,
                        along + dice.uniform(-0.45, 0.45) * width,
                        lots / 2 - dice.uniform(0.6, max(setback - 0.3, 0.7)),
                    )
                    loose.append(self._set("bush", dice, at, dice.uniform(0, 6.28)))
            begin += width + (dice.uniform(0.0, 3.0) if dice.chance(0.5) else 0.0)

    def _roadside(
        self, dice: Dice, middle: tuple[float, float], inner: float, side: int, loose: list[np.ndarray]
    ) -> None:
        """Parked cars, trees, lamps, signs along one side of the block."""
        yaw = (0.0, math.pi, math.pi / 2, -math.pi / 2)[side]
        half, spot = inner / 2, -inner / 2 + 5.0
        parking = self._narrow or self._road > 5.0 or dice.chance(0.3)
        while spot < half - 5.0:
            if parking and dice.chance(self._parked):
                at = _turned(middle, yaw, spot, half + 1.15)
                loose.append(self._set("car", dice, at, yaw + math.pi / 2 * dice.choice((1, 1, 1, -1)), floor=0.0))
            if dice.chance(self._green * 0.6):
                loose.append(
                    self._set("tree", dice, _turned(middle, yaw, spot + 2.0, half - 0.7), dice.uniform(0, 6.28))
                )
            elif dice.chance(0.35):
                thing = dice.choice(("lamp_post", "sign", "sign", "bin"))
                loose.append(self._set(thing, dice, _turned(middle, yaw, spot + 2.0, half - 0.5), yaw))
            spot += dice.uniform(5.2, 6.6)

    def _set(self, name: str, dice: Dice, at: tuple[float, float], yaw: float, floor: float = _KERB) -> np.ndarray:
        return instances(dice.choice(self._templates[name]), np.array([[at[0], floor, at[1], yaw]]))


def _turned(middle: tuple[float, float], yaw: float, along: float, out: float) -> tuple[float, float]:
    """A point beside the block's middle: `along` its side and `out` from the middle, for the side that faces yaw."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return middle[0] + cos * along + sin * out, middle[1] - sin * along + cos * out


def _tree(stand: Stand, dice: Dice, materials: props.Outfits) -> None:
    props.tree(stand, dice, materials, dice.uniform(4.5, 10.0))


def _bush(stand: Stand, dice: Dice, materials: props.Outfits) -> None:
    props.bush(stand, dice, materials, dice.uniform(0.6, 1.6))


_TEMPLATES = {
    "car": props.car,
    "tree": _tree,
    "bush": _bush,
    "lamp_post": props.lamp_post,
    "sign": props.sign,
    "bin": props.bin_or_box,
}


def _drive(dice: Dice, *, narrow: bool) -> Gait:
    speed = dice.uniform(5.0, 11.0)
    route = RouteStyle(tour_s=950.0 / speed, rounding=5.0, step=0.4, turn_slowness=3.0, stops=1.5, hub_speed=speed)
    return Gait(
        route=route,
        height=dice.uniform(1.2, 1.9),
        height_swing=0.02,
        look_ahead=5.0,
        yaw_swing=dice.uniform(0.3, 4.0),
        pitch=dice.uniform(-4.0, 1.0),
        pitch_swing=0.8,
        roll_swing=0.6,
        swing_s=2.5,
        bob=0.006,
        step_hz=2.2,
        jitter_deg=0.15,
        beside=dice.uniform(-0.3, 0.3) if narrow else dice.uniform(1.5, 1.9),
    )


def _walk(dice: Dice, beside: float) -> Gait:
    speed = dice.uniform(0.9, 1.7)
    route = RouteStyle(tour_s=950.0 / speed, rounding=8.0, step=0.3, turn_slowness=1.2, stops=3.0, hub_speed=speed)
    return Gait(
        route=route,
        height=dice.uniform(1.5, 1.75),
        height_swing=0.03,
        look_ahead=3.0,
        yaw_swing=dice.uniform(10, 45),
        pitch=dice.uniform(-8.0, 4.0),
        pitch_swing=6.0,
        roll_swing=1.5,
        swing_s=4.0,
        bob=dice.uniform(0.01, 0.035),
        step_hz=1.8,
        jitter_deg=0.5,
        beside=beside,
        asides=0.25,
        backs=0.05,
    )


def _ground_materials(dice: Dice, book: SurfaceBook) -> dict[str, list[Material]]:
    tar = colour(dice, saturation=(0.0, 0.08), value=(0.25, 0.5))
    line = colour(dice, hue=(0.1, 0.16), saturation=(0.0, 0.3), value=(0.7, 0.95))
    strength = dice.uniform(0.1, 0.35)
    road = book.make("road", Paint(tar, line, scaled(tar, 0.65), strength), detail=strength)
    crossing = book.make("concrete", Paint(tar, scaled(tar, 0.9), scaled(tar, 0.65), strength), detail=strength)

    def paving() -> Material:
        stone = colour(dice, hue=(0.0, 0.15), saturation=(0.0, 0.25), value=(0.4, 0.75))
        pattern = dice.choice(("tiles", "brick", "stones", "speckle", "concrete", "concrete"))
        return Material(
            book.make(pattern, Paint(stone, scaled(stone, 0.85), scaled(stone, 0.6), 0.3)),
            period=dice.uniform(1.2, 2.5),
        )

    def garden() -> Material:
        green = colour(dice, hue=(0.15, 0.33), saturation=(0.3, 0.6), value=(0.3, 0.6))
        return Material(
            book.make("grass", Paint(green, scaled(green, 0.7), scaled(green, 0.5), 0.7)), period=dice.uniform(1.5, 3.0)
        )

    kerb = colour(dice, saturation=(0.0, 0.1), value=(0.5, 0.8))
    return {
        "road": [Material(road)],
        "crossing": [Material(crossing, period=4.0)],
        "paving": [paving() for _ in range(3)],
        "garden": [garden() for _ in range(2)],
        "kerb": [Material(book.make("brick", Paint(kerb, scaled(kerb, 0.9), scaled(kerb, 0.6))), period=2.0)],
    }
