"""Terrain: rolling ground under the open sky with trees, bushes, rocks, huts and fences, walked over or flown over."""

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
from openloger.worlds.scene import BOX, ELLIPSOID, Column, Material, Number, SolidBuilder, Solids, Zone, instances
from openloger.worlds.surfaces import Paint, SurfaceBook, blend, colour, scaled
from openloger.worlds.terrain import Terrain

_TALLEST = 10.0  # metres: what shadows are reckoned from
_TRAIL = 2.0  # metres beside the trails that stay free


class TerrainWorld:
    """The family "terrain" for one seed."""

    far_m = 130.0
    fov_deg = (42.0, 92.0)

    def __init__(self, seed: int, textures: str = PROCEDURAL) -> None:
        dice = Dice(seed, 1100)
        self._seed = seed
        self._pitch = dice.uniform(24.0, 36.0)
        self.lattice = Grid(seed, self._pitch, bend=5.0)
        self._light = Daylight(dice, far_m=self.far_m, haze=(0.001, 0.009), lowest_deg=22.0)
        self.light_zone: Zone = self._light.zone()._replace(high=(1e6, 1e6, 1e6))
        self.gait = _drone(dice) if dice.chance(0.45) else _hike(dice)
        self._book = SurfaceBook(dice, textures)
        rough = dice.uniform(0.3, 1.0)
        self._terrain = Terrain(
            seed, (dice.uniform(1.0, 5.0), rough * dice.uniform(0.5, 2.0), rough * dice.uniform(0.1, 0.7))
        )
        self._cover = _cover(dice, self._book)
        self._outfits, self._fronts = props.outfits(dice, self._book), houses.fronts(dice, self._book)
        self._rocks = [_rock_material(dice, self._book) for _ in range(3)]
        self._density = dice.uniform(3.0, 16.0)
        self._wanted = [dice.uniform(0.0, 1.0) for _ in _KINDS]
        self._templates = {kind: [self._template(kind, number) for number in range(6)] for kind in _KINDS}
        self._lively = 1 + dice.integer(3) if dice.chance(0.35) else 0
        self._walkers: list[list[Solids]] | None = None
        self.cell = self._make_cell

    @property
    def terrain(self) -> tuple[Terrain, Material]:
        return self._terrain, self._cover

    def _template(self, kind: str, number: int) -> Solids:
        dice = Dice(self._seed, 1101, hash_number(0, *kind.encode()), number)
        solids = SolidBuilder(key=hash_number(self._seed, 1102, *kind.encode(), number), zones=[self.light_zone])
        stand = Stand(solids, 0.0, 0.0, 0.0, -0.15)
        if kind == "tree":
            props.tree(stand, dice, self._outfits, dice.uniform(3.5, 9.0))
        elif kind == "bush":
            props.bush(stand, dice, self._outfits, dice.uniform(0.5, 1.8))
        elif kind == "hut":
            houses.villa(stand, dice, self._fronts, (dice.uniform(4.5, 7.0), dice.uniform(3.5, 5.0)))
        elif kind == "fence":
            _fence(stand, dice, self._outfits)
        else:
            _rock(stand, dice, dice.choice(self._rocks))
        return solids.build()

    def surfaces(self) -> Float32[np.ndarray, "surface column"]:
        return self._book.table()

    def home(self, x: float, z: float) -> Cell:
        return math.floor(x / self._pitch), math.floor(z / self._pitch)

    def cells_seen(self, view: View) -> list[Cell]:
        return self.lattice.cells_seen(view, self.far_m, self._light.shadow(_TALLEST))

    def movers(self, time_s: float, way: Way) -> Solids | None:
        """Somebody who walks ahead on the trail, and others who come towards the camera."""
        if not self._lively:
            return None
        if self._walkers is None:
            self._walkers = crowd.walkers(self._seed, self._outfits, self.light_zone)
        spots = [(0, way.along(time_s, 4.0, 0.3))] if self._lively & 1 else []
        if self._lively & 2:
            found = crowd.meetings(self._seed, time_s, 14.0)
            spots += [(number, crowd.oncoming(way, time_s, meeting, 1.2)) for number, meeting in found]
        parts = []
        for number, spot in spots:
            step = crowd.step_of(self._walkers[number % len(self._walkers)], 1.2 * time_s)
            parts.append(crowd.standing(step, spot, self.ground(float(spot[0]), float(spot[1]))))
        return crowd.gather(parts, self._zones())

    def ground(self, x: float, z: float) -> float:
        return float(self._terrain.height(np.array([x]), np.array([z]))[0])

    def sky(self) -> Float64[np.ndarray, "column"]:
        return self._light.row()

    def _make_cell(self, cell: Cell) -> Solids:
        dice = Dice(self._seed, 1103, *cell)
        wooded = dice.uniform(0.3, 1.7)
        names, spots = [], []
        for _ in range(int(self._density * wooded)):
            kind = _pick(dice, self._wanted)
            clear = _TRAIL + {"hut": 4.5, "fence": 2.5}.get(kind, 1.0)
            low, high = clear / self._pitch, 1.0 - clear / self._pitch
            x, z = self.lattice.bent(
                (cell[0] + dice.uniform(low, high)) * self._pitch, (cell[1] + dice.uniform(low, high)) * self._pitch
            )
            names.append((kind, dice.integer(6)))
            spots.append((x, z, dice.uniform(0.0, 2.0 * math.pi)))
        if not spots:
            return Solids(rows=np.zeros((0, Column.COUNT)), zones=self._zones())
        places = np.array(spots)
        floors = self._terrain.height(places[:, 0], places[:, 1])
        rows = [
            instances(self._templates[kind][number], np.array([[x, floor, z, yaw]]))
            for (kind, number), (x, z, yaw), floor in zip(names, spots, floors, strict=True)
        ]
        return Solids(rows=np.concatenate(rows), zones=self._zones())

    def _zones(self) -> np.ndarray:
        return self._templates["rock"][0].zones


_KINDS = ("tree", "bush", "rock", "fence", "hut")
_COMMON = (1.0, 1.0, 0.9, 0.15, 0.12)


def _pick(dice: Dice, wanted: list[float]) -> str:
    odds = [want * common for want, common in zip(wanted, _COMMON, strict=True)]
    left = dice.uniform() * sum(odds)
    for kind, share in zip(_KINDS, odds, strict=True):
        left -= share
        if left < 0:
            return kind
    return _KINDS[0]


def _rock(stand: Stand, dice: Dice, material: Material) -> None:
    """A few blocks and boulders sunk into the ground."""
    size = dice.uniform(0.4, 2.4)
    for _ in range(1 + dice.integer(4)):
        at = (dice.uniform(-0.6, 0.6) * size, -0.3 * size, dice.uniform(-0.6, 0.6) * size)
        part = (size * dice.uniform(0.4, 1.0), size * dice.uniform(0.4, 1.0), size * dice.uniform(0.4, 1.0))
        yaw, tilt = dice.uniform(0, 6.28), dice.uniform(-0.5, 0.5)
        if dice.chance(0.5):
            stand.add(ELLIPSOID, at, part, material, yaw=yaw, tilt=tilt)
        else:
            stand.add(
                BOX, at, part, material, yaw=yaw, tilt=tilt, taper=(dice.uniform(0.2, 0.8), dice.uniform(0.2, 0.8))
            )


def _fence(stand: Stand, dice: Dice, materials: props.Outfits) -> None:
    material, height = dice.choice(materials.bark), dice.uniform(0.8, 1.3)
    for post in range(5):
        stand.box((post * 1.1 - 2.2, -0.4, 0), (0.1, height + 0.4, 0.1), material)
    for rail in (0.45, 0.9):
        stand.box((0, rail * height, 0), (4.6, 0.09, 0.05), material)


def _rock_material(dice: Dice, book: SurfaceBook) -> Material:
    stone = colour(dice, hue=(0.0, 0.15), saturation=(0.0, 0.3), value=(0.3, 0.7))
    pattern = dice.choice(("plaster", "speckle", "stones"))
    return Material(
        book.make(pattern, Paint(stone, scaled(stone, 0.7), scaled(stone, 0.4), 0.7), detail=0.6),
        period=dice.uniform(0.8, 2.5),
    )


def _cover(dice: Dice, book: SurfaceBook) -> Material:
    """Grass, heath or sand, and next to it what shows on slopes."""
    hue, value = dice.choice(
        (((0.15, 0.3), 0.5), ((0.08, 0.14), 0.7), ((0.1, 0.25), 0.45), ((0.05, 0.12), 0.5), ((0.5, 0.6), 0.95))
    )
    low = colour(dice, hue=hue, saturation=(0.0, 0.1) if value > 0.9 else (0.1, 0.5), value=(0.6 * value, value))
    other = colour(dice, hue=(0.06, 0.3), saturation=(0.1, 0.5), value=(0.25, 0.6))
    strength = dice.uniform(0.3, 0.75)
    second = blend(low, other, dice.uniform(0.2, 0.7))
    cover = book.make(
        dice.choice(("grass", "grass", "speckle", "concrete")),
        Paint(low, second, scaled(low, 0.6), strength),
        detail=strength,
    )
    earth = colour(dice, hue=(0.02, 0.12), saturation=(0.1, 0.5), value=(0.25, 0.6))
    book.make(
        dice.choice(("stones", "concrete", "speckle")),
        Paint(earth, scaled(earth, 1.2), scaled(earth, 0.6), 0.5),
        detail=0.5,
    )
    return Material(cover, period=dice.uniform(2.0, 8.0))


def _hike(dice: Dice) -> Gait:
    speed = dice.uniform(0.8, 1.8)
    return Gait(
        route=RouteStyle(tour_s=500.0 / speed, rounding=3.0, step=0.2, turn_slowness=1.2, stops=1.0, hub_speed=speed),
        height=dice.uniform(1.5, 1.8),
        height_swing=0.05,
        look_ahead=3.0,
        yaw_swing=dice.uniform(10, 45),
        pitch=dice.uniform(-14.0, 2.0),
        pitch_swing=8.0,
        roll_swing=2.0,
        swing_s=4.0,
        bob=dice.uniform(0.01, 0.04),
        step_hz=1.8,
        jitter_deg=0.6,
        asides=0.35,
        backs=0.1,
    )


def _drone(dice: Dice) -> Gait:
    speed: Number = 1.5 * 6.0 ** dice.uniform()
    return Gait(
        route=RouteStyle(tour_s=500.0 / speed, rounding=5.0, step=0.3, turn_slowness=1.5, stops=0.5, hub_speed=speed),
        height=2.5 * 8.0 ** dice.uniform(),
        height_swing=0.8,
        look_ahead=6.0,
        yaw_swing=dice.uniform(5, 40),
        pitch=dice.uniform(-55.0, -2.0),
        pitch_swing=dice.uniform(4.0, 12.0),
        roll_swing=dice.uniform(1.0, 18.0),
        swing_s=dice.uniform(1.5, 5.0),
        bob=0.0,
        step_hz=1.0,
        jitter_deg=0.2,
        asides=0.35,
        backs=0.15,
        spell_s=20.0,
    )
