"""Furniture, built from a few solids each, standing at a place and facing a way; and what it is covered with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openloger.worlds.random import Dice
from openloger.worlds.scene import BOX, CYLINDER, ELLIPSOID, Material, Number, Pair, SolidBuilder, Triple


@dataclass(frozen=True)
class Stand:
    """A place on a floor: parts are given in its own axes (right, height, front) and end up in the world."""

    solids: SolidBuilder
    x: Number
    z: Number
    yaw: Number
    floor: Number = 0.0

    def add(
        self,
        kind: int,
        at: Triple,
        size: Triple,
        material: Material,
        *,
        yaw: Number = 0.0,
        tilt: Number = 0.0,
        roll: Number = 0.0,
        taper=(0.0, 0.0),
        tint=(1.0, 1.0, 1.0),
    ) -> None:
        x, z = self.place(at[0], at[2])
        self.solids.add(
            kind,
            (x, self.floor + at[1], z),
            size=size,
            material=material,
            turn=(self.yaw + yaw, tilt, roll),
            taper=taper,
            tint=tint,
        )

    def box(self, at: Triple, size: Triple, material: Material, yaw: Number = 0.0) -> None:
        self.add(BOX, at, size, material, yaw=yaw)

    def place(self, right: Number, front: Number) -> Pair:
        """World (x, z) of a point beside the stand."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + cos * right + sin * front, self.z - sin * right + cos * front

    def beside(self, right: Number, front: Number, yaw: Number = 0.0) -> Stand:
        """Another stand, turned by `yaw` from this one."""
        return Stand(self.solids, *self.place(right, front), self.yaw + yaw, self.floor)


@dataclass(frozen=True)
class Fabrics:
    """The materials that the insides of a world draw from."""

    wood: list[Material]
    fabric: list[Material]
    metal: list[Material]
    white: list[Material]
    lacquer: list[Material]  # one colour, smooth
    dark: list[Material]  # black plastic, rubber
    stone: list[Material]  # worktops
    card: list[Material]
    leaf: list[Material]
    covers: list[int]
    pages: list[int]
    spines: list[int]
    pictures: list[int]
    screens: list[int]
    views: list[int]  # out of a window
    keys: int
    slats: list[Material]
    glow: Material


def lying(stand: Stand, at: Triple, size: Pair, material: Material, yaw: Number) -> None:
    """A cylinder of the size (length, diameter) that lies along the direction `yaw`."""
    length, thick = size
    stand.add(
        CYLINDER,
        (at[0], at[1] + thick / 2 - length / 2, at[2]),
        (thick, length, thick),
        material,
        yaw=yaw,
        roll=math.pi / 2,
    )


def tints(dice: Dice) -> Triple:
    """A factor for each colour channel, much alike."""
    grey = dice.uniform(0.55, 1.05)
    return tuple(grey * dice.uniform(0.85, 1.12) for _ in range(3))


def legs(stand: Stand, width: Number, depth: Number, height: Number, thick: Number, material: Material) -> None:
    for sx in (-1, 1):
        for sz in (-1, 1):
            stand.box((sx * (width - thick) / 2, 0.0, sz * (depth - thick) / 2), (thick, height, thick), material)


def table(stand: Stand, dice: Dice, materials: Fabrics, size: Triple) -> None:
    """A bare table: square or round, on four legs, two panels or one foot."""
    material, top, kind = (
        dice.choice(materials.wood + materials.wood + materials.white),
        dice.uniform(0.02, 0.06),
        dice.uniform(),
    )
    under = size[1] - top
    if kind < 0.2:
        wide = 0.5 * (size[0] + size[2])
        stand.add(CYLINDER, (0, under, 0), (wide, top, wide), material)
        stand.add(CYLINDER, (0.0, 0.0, 0.0), (0.1, under, 0.1), dice.choice(materials.metal))
        stand.add(CYLINDER, (0.0, 0.0, 0.0), (0.55, 0.03, 0.55), dice.choice(materials.metal))
        return
    stand.box((0, under, 0), (size[0], top, size[2]), material)
    if kind < 0.75:
        thick, leg = dice.uniform(0.035, 0.1), dice.choice([material, material, *materials.metal, *materials.dark])
        legs(stand, size[0] - 0.04, size[2] - 0.04, under, thick, leg)
        stand.box((0, under - 0.08, 0), (size[0] - 0.12, 0.08, size[2] - 0.12), leg)
    else:
        for side in (-1, 1):
            stand.box((side * (size[0] / 2 - 0.05), 0, 0), (0.04, under, size[2] - 0.06), material)
        stand.box((0, under - 0.35, -size[2] * 0.35), (size[0] - 0.1, 0.3, 0.02), material)


def chair(stand: Stand, dice: Dice, materials: Fabrics) -> None:
    """Four legs, a seat, and a back of rails, bars or one piece; or an office chair, or a stool."""
    kind = dice.uniform()
    if kind < 0.3:
        return office_chair(stand, dice, materials)
    material, seat = (
        dice.choice(materials.wood + materials.metal),
        dice.choice(materials.fabric + materials.wood + materials.lacquer),
    )
    if kind < 0.4:
        stand.add(CYLINDER, (0, 0.46, 0), (0.34, 0.05, 0.34), seat)
        return legs(stand, 0.3, 0.3, 0.46, 0.035, material)
    stand.box((0, 0.43, 0), (0.44, 0.045, 0.44), seat)
    legs(stand, 0.44, 0.44, 0.43, dice.uniform(0.025, 0.05), material)
    if kind < 0.6:
        return stand.add(BOX, (0, 0.52, -0.2), (0.42, 0.42, 0.03), seat, tilt=0.12)
    for side in (-0.2, 0.2):
        stand.box((side, 0.48, -0.2), (0.04, 0.47, 0.04), material)
    if kind < 0.8:
        stand.box((0, 0.88, -0.2), (0.38, 0.07, 0.025), material)
        for bar in range(4):
            stand.box((0.09 * bar - 0.135, 0.48, -0.2), (0.022, 0.4, 0.02), material)
        return None
    for rail in range(3 + dice.integer(2)):
        stand.box((0, 0.56 + 0.1 * rail, -0.2), (0.38, 0.055, 0.025), material)
    return None


def office_chair(stand: Stand, dice: Dice, materials: Fabrics) -> None:
    """A seat on a post with a foot of five arms on wheels."""
    material, foot = dice.choice(materials.fabric + materials.dark), dice.choice(materials.dark + materials.metal)
    for number in range(5):
        angle = 1.2566 * number + 0.3
        arm = (0.14 * math.cos(angle), 0.06, -0.14 * math.sin(angle))
        stand.box(arm, (0.28, 0.03, 0.035), foot, angle)
        wheel = (0.28 * math.cos(angle), 0.0, -0.28 * math.sin(angle))
        stand.add(ELLIPSOID, wheel, (0.05, 0.06, 0.06), dice.choice(materials.dark))
    stand.add(CYLINDER, (0, 0.08, 0), (0.05, 0.36, 0.05), foot)
    stand.box((0, 0.44, 0), (0.48, 0.07, 0.46), material)
    stand.add(BOX, (0, 0.56, -0.24), (0.44, dice.uniform(0.35, 0.6), 0.05), material, tilt=0.15)
    if dice.chance(0.6):
        for side in (-0.26, 0.26):
            stand.box((side, 0.64, 0.0), (0.05, 0.03, 0.26), foot)
            stand.box((side, 0.46, -0.02), (0.03, 0.19, 0.05), foot)


def sofa(stand: Stand, dice: Dice, materials: Fabrics, width: Number) -> None:
    material = dice.choice(materials.fabric)
    seats = max(round(width / 0.75), 1)
    stand.box((0, 0.08, 0), (width, 0.22, 0.8), material)
    stand.add(BOX, (0, 0.08, -0.34), (width, 0.74, 0.2), material, taper=(0.03, 0.3))
    for side in (-1, 1):
        stand.box((side * (width / 2 - 0.09), 0.08, 0.02), (0.18, 0.5, 0.8), material)
    for number in range(seats):
        wide = (width - 0.38) / seats
        at = -width / 2 + 0.19 + (number + 0.5) * wide
        stand.box((at, 0.3, 0.06), (wide - 0.015, 0.14, 0.66), material)
    for number in range(dice.integer(4)):
        at, cover = dice.uniform(-0.35, 0.35) * width, dice.choice(materials.fabric)
        slant = dice.uniform(-0.3, 0.3)
        where = (at, 0.42, -0.14 + 0.02 * number)
        stand.add(BOX, where, (0.4, 0.38, 0.13), cover, yaw=slant, tilt=0.3, taper=(0.1, 0.5), tint=tints(dice))


def shelf(stand: Stand, dice: Dice, materials: Fabrics, width: Number, height: Number) -> None:
    """A bookcase: sides, boards, and on each rows of books, boxes and single things."""
    material, depth = dice.choice(materials.wood + materials.white), dice.uniform(0.26, 0.36)
    if dice.chance(0.8):
        stand.box((0, 0, -depth / 2 + 0.01), (width, height, 0.02), material)
    for side in (-1, 1):
        stand.box((side * (width / 2 - 0.015), 0, 0), (0.03, height, depth), material)
    levels = max(int(height / dice.uniform(0.3, 0.42)), 1)
    room, full = height / levels - 0.04, dice.uniform(0.4, 0.95)
    for level in range(levels + 1):
        board = level * (height - 0.03) / levels
        stand.box((0, board, 0), (width - 0.06, 0.025, depth), material)
        if level < levels:
            _row_of_things(stand, dice, materials, (width, board + 0.025, depth), (room, full))


def _row_of_things(stand: Stand, dice: Dice, materials: Fabrics, board: Triple, fill: Pair) -> None:
    """Along a board of the size (width, its height, depth), `fill` = (height of the room above it, how full it is)."""
    x, (room, full) = -board[0] / 2 + 0.04, fill
    while x < board[0] / 2 - 0.1:
        run = min(dice.uniform(0.08, 0.5), board[0] / 2 - 0.04 - x)
        kind, tall, middle = dice.uniform(), room * dice.uniform(0.45, 0.92), x + run / 2
        if kind < 0.55 * full:
            spines = Material(dice.choice(materials.spines), fit=(run / 0.35, 1.0, 1.0))
            stand.box((middle, board[1], dice.uniform(-0.02, 0.03)), (run, tall, 0.2), spines)
        elif kind < 0.75 * full:
            box = dice.choice(
                (*materials.card, *materials.lacquer, Material(dice.choice(materials.covers), fit=(1.0, 1.0, 1.0)))
            )
            stand.box((middle, board[1], 0), (min(run, 0.3), tall * 0.8, 0.2), box, dice.uniform(-0.1, 0.1))
        elif kind < 0.9 * full:
            wide = min(run, 0.14)
            material = dice.choice(materials.white + materials.lacquer)
            stand.add(CYLINDER, (middle, board[1], 0), (wide, tall * 0.7, wide), material, tint=tints(dice))
        x += run + dice.uniform(0.0, 0.05)


def bed(stand: Stand, dice: Dice, materials: Fabrics) -> None:
    width, material = dice.choice((0.95, 1.4, 1.6)), dice.choice(materials.wood)
    stand.box((0, 0.0, 0), (width, 0.3, 2.0), material)
    stand.box((0, 0.3, 0.02), (width - 0.04, 0.2, 1.92), dice.choice(materials.white))
    stand.add(BOX, (0, 0.32, 0.3), (width + 0.04, 0.24, 1.3), dice.choice(materials.fabric), taper=(0.08, 0.06))
    stand.box((0, 0, -1.0), (width, 0.95, 0.06), material)
    for side in (-0.25, 0.25):
        stand.add(ELLIPSOID, (side * width, 0.48, -0.72), (0.6, 0.16, 0.4), dice.choice(materials.white))
    for _ in range(dice.integer(4)):
        where = (dice.uniform(-0.3, 0.3) * width, 0.52, dice.uniform(-0.1, 0.8))
        fold = dice.uniform(0.2, 0.5)
        stand.add(ELLIPSOID, where, (fold, 0.12, fold * 0.8), dice.choice(materials.fabric), yaw=dice.uniform(0, 3))


def plant(stand: Stand, dice: Dice, materials: Fabrics) -> None:
    pot, height = dice.uniform(0.22, 0.4), dice.uniform(0.4, 1.1)
    stand.add(
        CYLINDER,
        (0.0, 0.0, 0.0),
        (pot, pot, pot),
        dice.choice(materials.white + materials.lacquer),
        taper=(0.25, 0.0),
        tilt=math.pi,
        tint=tints(dice),
    )
    stand.add(CYLINDER, (0, pot * 0.8, 0), (0.035, height, 0.035), dice.choice(materials.wood))
    slim = dice.uniform(0.25, 1.0)
    for _ in range(5 + dice.integer(7)):
        size = dice.uniform(0.18, 0.4)
        at = (dice.uniform(-0.2, 0.2), pot + height * dice.uniform(0.4, 1.0) - size / 2, dice.uniform(-0.2, 0.2))
        stand.add(
            ELLIPSOID,
            at,
            (size * slim, size * dice.uniform(0.5, 1.2), size * 0.6 * slim),
            dice.choice(materials.leaf),
            yaw=dice.uniform(0, 6),
            tilt=dice.uniform(-0.9, 0.9),
        )


def lamp(stand: Stand, dice: Dice, materials: Fabrics) -> None:
    stand.add(CYLINDER, (0.0, 0.0, 0.0), (0.3, 0.03, 0.3), dice.choice(materials.metal))
    stand.add(CYLINDER, (0, 0.03, 0), (0.03, 1.4, 0.03), dice.choice(materials.metal))
    stand.add(CYLINDER, (0, 1.35, 0), (0.4, 0.3, 0.4), materials.glow, taper=(0.4, 0.0))


def rug(stand: Stand, dice: Dice, materials: Fabrics, size: Pair) -> None:
    stand.box((0, 0, 0), (size[0], 0.012, size[1]), dice.choice(materials.fabric))
    if dice.chance(0.5):
        stand.box((0, 0.012, 0), (size[0] * 0.8, 0.002, size[1] * 0.8), dice.choice(materials.fabric))
