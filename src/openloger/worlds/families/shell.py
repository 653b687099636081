"""The shell of a room: floor, walls, skirting boards, doors, windows with curtains or blinds, ceiling, lights."""

from __future__ import annotations

import math

from openloger.worlds.families.furniture import Stand
from openloger.worlds.families.interiors import Interior
from openloger.worlds.families.plan import WALL, Opening, Plan
from openloger.worlds.families.things import WHOLE
from openloger.worlds.random import Dice
from openloger.worlds.routes import Node
from openloger.worlds.scene import BOX, CYLINDER, Material, Pair, SolidBuilder

Span = tuple[float, float]


class Shell:
    """Builds the shell of one room; afterwards `taken` holds which stretches of its four walls are in use.

    Sides are numbered as (low z, high z, low x, high x); along a side, positions are x or z in metres.
    """

    def __init__(self, plan: Plan, room: Node, solids: SolidBuilder, dice: Dice, materials: Interior) -> None:
        self._plan, self._room, self._solids, self._dice, self._materials = plan, room, solids, dice, materials
        self._wall, self._trim = dice.choice(materials.walls), dice.choice(materials.trims)
        self._accent = dice.choice(materials.walls) if dice.chance(0.3) else self._wall
        self.taken: list[list[Span]] = [[], [], [], []]

    def build(self) -> None:
        low_x, low_z, high_x, high_z = self._plan.bounds(self._room)
        middle_x, middle_z, height = 0.5 * (low_x + high_x), 0.5 * (low_z + high_z), self._plan.ceiling
        size_x, size_z = high_x - low_x, high_z - low_z
        self._solids.box((middle_x, -0.1, middle_z), (size_x, 0.1, size_z), self._dice.choice(self._materials.floors))
        self._solids.box((middle_x, height, middle_z), (size_x, 0.1, size_z), self._materials.ceilings[0])
        for side in range(4):
            axis, high = (1, 0)[side // 2], side % 2 == 1
            step = (1 if high else -1) if axis == 0 else 0, (1 if high else -1) if axis == 1 else 0
            opening, _, line = self._plan.between(self._room, (self._room[0] + step[0], self._room[1] + step[1]))
            at = line + (-WALL / 2 if high else WALL / 2)
            span = (low_z, high_z) if axis == 0 else (low_x, high_x)
            material = self._accent if side == 0 else self._wall
            _wall(self._solids, axis, at, span, opening, height, (material, self._trim))
            if opening.width:
                half = opening.width / 2 + 0.08
                self.taken[side].append((opening.middle - half, opening.middle + half))
            self._fill(side)
        self._lights((middle_x, middle_z), (size_x - 2 * WALL, size_z - 2 * WALL), height)

    def stand(self, side: int, along: float) -> Stand:
        """A stand on the face of a wall, facing into the room."""
        low_x, low_z, high_x, high_z = self._plan.bounds(self._room)
        x, z = (
            (along, low_z + WALL),
            (along, high_z - WALL),
            (low_x + WALL, along),
            (high_x - WALL, along),
        )[side]
        return Stand(self._solids, x, z, (0.0, math.pi, math.pi / 2, -math.pi / 2)[side])

    def length(self, side: int) -> Span:
        """Where a side begins and ends."""
        low_x, low_z, high_x, high_z = self._plan.bounds(self._room)
        return (low_x + WALL, high_x - WALL) if side < 2 else (low_z + WALL, high_z - WALL)

    def claim(self, side: int, width: float, gap: float = 0.1) -> float | None:
        """The middle of a free stretch of a side that is now in use, or None."""
        low, high = self.length(side)
        if high - low < width + 0.1:
            return None
        for _ in range(4):
            at = self._dice.uniform(low + width / 2, high - width / 2)
            if all(at + width / 2 + gap < begin or at - width / 2 - gap > end for begin, end in self.taken[side]):
                self.taken[side].append((at - width / 2, at + width / 2))
                return at
        return None

    def _fill(self, side: int) -> None:
        """A window or a shut door in a wall, sockets near the floor."""
        dice = self._dice
        if dice.chance(0.45):
            width = dice.uniform(0.8, 2.2)
            if (at := self.claim(side, width + 0.4)) is not None:
                window(self.stand(side, at), dice, self._materials, (width, self._plan.ceiling))
        if dice.chance(0.3) and (at := self.claim(side, 1.1)) is not None:
            door(self.stand(side, at), dice, self._materials, self._trim)
        for _ in range(dice.integer(3)):
            if (at := self.claim(side, 0.15)) is not None:
                plate, bottom = dice.choice(self._materials.fabrics.white), dice.choice((0.25, 0.3, 1.1))
                self.stand(side, at).box((0, bottom, 0.004), (dice.choice((0.08, 0.16)), 0.1, 0.012), plate)

    def _lights(self, middle: Pair, size: Pair, height: float) -> None:
        """Fittings of a ceiling: luminous fields, a lamp on a rod, spots, beams, or one round lamp."""
        dice, glow, kind = self._dice, self._materials.fabrics.glow, self._dice.uniform()
        if kind < 0.4:
            nx, nz = max(int(size[0] / 1.8), 1), max(int(size[1] / 1.8), 1)
            field = dice.choice(((0.6, 1.2), (0.6, 0.6), (0.15, 1.2)))
            for i in range(nx):
                for j in range(nz):
                    x = middle[0] + ((i + 0.5) / nx - 0.5) * size[0]
                    z = middle[1] + ((j + 0.5) / nz - 0.5) * size[1]
                    self._solids.box((x, height - 0.02, z), (field[0], 0.03, field[1]), glow)
        elif kind < 0.6:
            drop, metal = dice.uniform(0.4, 0.8), dice.choice(self._materials.fabrics.dark)
            self._solids.add(CYLINDER, (middle[0], height - drop, middle[1]), size=(0.02, drop, 0.02), material=metal)
            shade = dice.choice([glow, *self._materials.fabrics.lacquer])
            at = (middle[0], height - drop - 0.1, middle[1])
            self._solids.add(CYLINDER, at, size=(0.4, 0.22, 0.4), material=shade, taper=(dice.uniform(0.2, 0.7), 0.0))
        else:
            self._solids.add(CYLINDER, (middle[0], height - 0.08, middle[1]), size=(0.4, 0.08, 0.4), material=glow)
        if dice.chance(0.25):
            beam = dice.choice(self._materials.fabrics.wood + self._materials.trims)
            for number in range(max(int(size[0] / 1.2), 1)):
                x = middle[0] - size[0] / 2 + 0.6 + 1.2 * number
                self._solids.box((x, height - 0.2, middle[1]), (0.14, 0.2, size[1]), beam)


def window(stand: Stand, dice: Dice, materials: Interior, size: Pair) -> None:
    """A bright pane in a frame with a sill; curtains, blinds, or a radiator below. `size` = (width, room's height)."""
    width, sill = size[0], dice.choice((0.1, dice.uniform(0.7, 1.0), dice.uniform(0.7, 1.1)))
    tall = min(dice.uniform(1.1, 1.7), size[1] - 0.25 - sill)
    frame, fabrics = dice.choice(materials.trims), materials.fabrics
    stand.box((0, sill, 0.004), (width, tall, 0.02), Material(dice.choice(fabrics.views), fit=WHOLE))
    panes = max(round(width / 0.7), 1)
    for number in range(panes + 1):
        x = -width / 2 + number * width / panes
        stand.box((x, sill - 0.03, 0.01), (0.06, tall + 0.06, 0.06), frame)
    for height in (sill - 0.03, sill + tall - 0.03):
        stand.box((0, height, 0.01), (width, 0.06, 0.06), frame)
    stand.box((0, sill - 0.06, 0.08), (width + 0.1, 0.03, 0.2), frame)
    kind = dice.uniform()
    if kind < 0.3:
        cloth = dice.choice(fabrics.fabric)
        for side in (-1, 1):
            wide = width * dice.uniform(0.12, 0.35)
            folds = max(int(wide / 0.1), 2)
            for fold in range(folds):
                x = side * (width / 2 + 0.12 - (fold + 0.5) * wide / folds)
                stand.add(CYLINDER, (x, 0.08, 0.12), (wide / folds, sill + tall + 0.05, 0.1), cloth)
        stand.box((0, sill + tall + 0.13, 0.12), (width + 0.4, 0.03, 0.03), dice.choice(fabrics.metal))
    elif kind < 0.5:
        drop = tall * dice.uniform(0.25, 1.0)
        slats = Material(dice.choice(fabrics.slats).surface, fit=(1.0, max(drop / 0.5, 0.5), 1.0))
        stand.box((0, sill + tall - drop, 0.06), (width, drop, 0.02), slats)
    if sill > 0.6 and dice.chance(0.6):
        ribs = dice.choice(fabrics.white)
        for rib in range(max(int(width / 0.12), 3)):
            x = -width / 2 + (rib + 0.5) * 0.12
            stand.add(BOX, (x, 0.15, 0.08), (0.09, 0.5, 0.08), ribs, taper=(0.1, 0.1))


def door(stand: Stand, dice: Dice, materials: Interior, trim: Material) -> None:
    """A shut door in its frame."""
    leaf = dice.choice(materials.fabrics.wood + materials.fabrics.white + materials.fabrics.lacquer)
    stand.box((0, 0.01, 0.0), (0.9, 2.0, 0.05), leaf)
    for side in (-0.48, 0.48):
        stand.box((side, 0, 0.01), (0.07, 2.07, 0.08), trim)
    stand.box((0, 2.01, 0.01), (1.03, 0.07, 0.08), trim)
    stand.box((0.38, 1.0, 0.05), (0.12, 0.025, 0.03), dice.choice(materials.fabrics.metal))
    if dice.chance(0.3):
        stand.box((0, 1.2, 0.026), (0.4, 0.6, 0.01), Material(dice.choice(materials.fabrics.views), fit=WHOLE))
    elif dice.chance(0.5):
        for bottom, tall in ((0.2, 0.6), (1.1, 0.7)):
            stand.box((0, bottom, 0.026), (0.64, tall, 0.012), leaf)


def _wall(
    solids: SolidBuilder,
    axis: int,
    at: float,
    span: Pair,
    opening: Opening,
    height: float,
    materials: tuple[Material, Material],
) -> None:
    """One side's half of a wall, its skirting board, and the frame of its door."""
    wall, trim = materials

    def piece(begin: float, end: float, bottom: float, top: float, thick: float, material: Material) -> None:
        if end - begin > 1e-3 and top - bottom > 1e-3:
            middle, long = 0.5 * (begin + end), end - begin
            place = (at, bottom, middle) if axis == 0 else (middle, bottom, at)
            size = (thick, top - bottom, long) if axis == 0 else (long, top - bottom, thick)
            solids.box(place, size, material)

    if opening.width == 0:
        piece(*span, 0.0, height, WALL, wall)
        piece(*span, 0.0, 0.09, WALL + 0.03, trim)
        return
    left, right = opening.middle - opening.width / 2, opening.middle + opening.width / 2
    for begin, end in ((span[0], left), (right, span[1])):
        piece(begin, end, 0.0, height, WALL, wall)
        piece(begin, end, 0.0, 0.09, WALL + 0.03, trim)
    piece(left, right, opening.height, height, WALL, wall)
    for begin in (left - 0.06, right):
        piece(begin, begin + 0.06, 0.0, opening.height + 0.06, WALL + 0.05, trim)
    piece(left, right, opening.height, opening.height + 0.06, WALL + 0.05, trim)
