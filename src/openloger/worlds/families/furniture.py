"""Furniture and small things, built from a few solids each, standing at a place and facing a way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openloger.worlds.random import Dice
from openloger.worlds.scene import BOX, CYLINDER, ELLIPSOID, Look, Number, SolidBuilder, Triple


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
        look: Look,
        *,
        yaw: Number = 0.0,
        tilt: Number = 0.0,
        roll: Number = 0.0,
        taper=(0.0, 0.0),
        tint=(1.0, 1.0, 1.0),
    ) -> None:
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        x, z = self.x + cos * at[0] + sin * at[2], self.z - sin * at[0] + cos * at[2]
        self.solids.add(
            kind,
            (x, self.floor + at[1], z),
            size=size,
            look=look,
            turn=(self.yaw + yaw, tilt, roll),
            taper=taper,
            tint=tint,
        )

    def box(self, at: Triple, size: Triple, look: Look, yaw: Number = 0.0) -> None:
        self.add(BOX, at, size, look, yaw=yaw)


@dataclass(frozen=True)
class Fabrics:
    """The looks that a house's furniture draws from."""

    wood: list[Look]
    fabric: list[Look]
    metal: list[Look]
    white: list[Look]
    leaf: list[Look]
    books: list[int]
    pictures: list[int]
    screens: list[int]
    glow: Look


def legs(stand: Stand, width: Number, depth: Number, height: Number, thick: Number, look: Look) -> None:
    for sx in (-1, 1):
        for sz in (-1, 1):
            stand.box((sx * (width - thick) / 2, 0.0, sz * (depth - thick) / 2), (thick, height, thick), look)


def table(stand: Stand, dice: Dice, looks: Fabrics, size: Triple) -> None:
    """A table with things on it."""
    look = dice.choice(looks.wood + looks.white)
    top = dice.uniform(0.03, 0.06)
    stand.box((0, size[1] - top, 0), (size[0], top, size[2]), look)
    if dice.chance(0.8):
        legs(stand, size[0] - 0.06, size[2] - 0.06, size[1] - top, dice.uniform(0.04, 0.1), look)
    else:
        stand.add(CYLINDER, (0.0, 0.0, 0.0), (0.12, size[1] - top, 0.12), dice.choice(looks.metal))
        stand.add(CYLINDER, (0.0, 0.0, 0.0), (0.5, 0.03, 0.5), dice.choice(looks.metal))
    clutter(stand, dice, looks, (size[0], size[1], size[2]))


def clutter(stand: Stand, dice: Dice, looks: Fabrics, top: Triple) -> None:
    """Books, papers, mugs and boxes on a surface of the given size at height top[1]."""
    for _ in range(2 + dice.integer(5)):
        u, v = dice.uniform(-0.4, 0.4) * top[0], dice.uniform(-0.38, 0.38) * top[2]
        yaw, kind = dice.uniform(-0.6, 0.6), dice.integer(6)
        if kind <= 1:
            page = Look(dice.choice(looks.pictures), fit=(1.0, 1.0, 1.0))
            stand.box(
                (u, top[1], v),
                (dice.uniform(0.14, 0.24), dice.uniform(0.004, 0.03), dice.uniform(0.2, 0.32)),
                page,
                yaw,
            )
        elif kind == 2:
            mug = dice.choice(looks.white)
            stand.add(CYLINDER, (u, top[1], v), (0.085, 0.1, 0.085), mug, tint=tints(dice))
        elif kind == 3:
            side = dice.uniform(0.08, 0.2)
            cover = Look(dice.choice(looks.books), fit=(1.0, 1.0, 1.0))
            stand.box((u, top[1], v), (side, dice.uniform(0.06, 0.25), dice.uniform(0.05, side)), cover, yaw)
        elif kind == 4:
            ball = dice.uniform(0.07, 0.16)
            stand.add(ELLIPSOID, (u, top[1], v), (ball, ball * 0.9, ball), dice.choice(looks.fabric), tint=tints(dice))
        else:
            bottle = dice.uniform(0.06, 0.09)
            stand.add(
                CYLINDER,
                (u, top[1], v),
                (bottle, dice.uniform(0.16, 0.3), bottle),
                dice.choice(looks.metal),
                taper=(0.5, 0.0),
                tint=tints(dice),
            )


def tints(dice: Dice) -> Triple:
    return dice.uniform(0.55, 1.1), dice.uniform(0.55, 1.1), dice.uniform(0.55, 1.1)


def chair(stand: Stand, dice: Dice, looks: Fabrics) -> None:
    look, seat = dice.choice(looks.wood), dice.choice(looks.fabric + looks.wood)
    stand.box((0, 0.43, 0), (0.44, 0.05, 0.44), seat)
    legs(stand, 0.44, 0.44, 0.43, 0.045, look)
    for side in (-0.2, 0.2):
        stand.box((side, 0.48, -0.2), (0.04, 0.45, 0.04), look)
    for rail in range(2 + dice.integer(2)):
        stand.box((0, 0.6 + 0.12 * rail, -0.2), (0.38, 0.06, 0.025), look)


def sofa(stand: Stand, dice: Dice, looks: Fabrics, width: Number) -> None:
    look = dice.choice(looks.fabric)
    stand.box((0, 0.08, 0), (width, 0.34, 0.8), look)
    stand.box((0, 0.08, -0.34), (width, 0.74, 0.18), look)
    for side in (-1, 1):
        stand.box((side * (width / 2 - 0.09), 0.08, 0.02), (0.18, 0.5, 0.78), look)
    for number in range(1 + dice.integer(3)):
        at = dice.uniform(-0.35, 0.35) * width
        stand.add(
            BOX,
            (at, 0.43, -0.18 + 0.02 * number),
            (0.4, 0.36, 0.12),
            dice.choice(looks.fabric),
            yaw=dice.uniform(-0.3, 0.3),
            tilt=0.3,
            tint=tints(dice),
        )


def shelf(stand: Stand, dice: Dice, looks: Fabrics, width: Number, height: Number) -> None:
    """A bookcase: sides, boards, and rows of books and things."""
    look, depth = dice.choice(looks.wood + looks.white), 0.3
    stand.box((0, 0, -depth / 2 + 0.01), (width, height, 0.02), look)
    for side in (-1, 1):
        stand.box((side * (width / 2 - 0.015), 0, 0), (0.03, height, depth), look)
    levels = max(int(height / 0.36), 1)
    for level in range(levels + 1):
        stand.box((0, level * (height - 0.03) / levels, 0), (width - 0.06, 0.03, depth), look)
        if level == levels:
            break
        x, room = -width / 2 + 0.04, height / levels - 0.05
        while x < width / 2 - 0.12:
            run = min(dice.uniform(0.08, 0.35), width / 2 - 0.04 - x)
            if dice.chance(0.75):
                tall = room * dice.uniform(0.6, 0.95)
                cover = Look(dice.choice(looks.books), fit=(run / 0.3, 1.0, 1.0))
                stand.box((x + run / 2, level * (height - 0.03) / levels + 0.03, 0.02), (run, tall, 0.2), cover)
            x += run + dice.uniform(0.0, 0.06)


def cabinets(stand: Stand, dice: Dice, looks: Fabrics, width: Number, upper: bool) -> None:
    """A row of kitchen cupboards with a worktop, perhaps wall cupboards above."""
    front, top = dice.choice(looks.white + looks.fabric + looks.wood), dice.choice(looks.metal + looks.wood)
    tint = tints(dice) if dice.chance(0.5) else (1.0, 1.0, 1.0)
    count = max(int(width / 0.6), 1)
    each = width / count
    stand.box((0, 0, -0.02), (width, 0.1, 0.5), dice.choice(looks.metal))
    for number in range(count):
        x = -width / 2 + (number + 0.5) * each
        stand.add(BOX, (x, 0.1, 0), (each - 0.008, 0.76, 0.56), front, tint=tint)
        stand.box((x, 0.78, 0.29), (0.16, 0.015, 0.02), dice.choice(looks.metal))
        if upper and not dice.chance(0.2):
            stand.add(BOX, (x, 1.45, -0.12), (each - 0.008, 0.7, 0.34), front, tint=tint)
            stand.box((x, 1.5, 0.06), (0.16, 0.015, 0.02), dice.choice(looks.metal))
    stand.box((0, 0.86, 0.01), (width, 0.04, 0.6), top)
    clutter(stand, dice, looks, (width, 0.9, 0.5))
    clutter(stand, dice, looks, (width, 0.9, 0.5))


def bed(stand: Stand, dice: Dice, looks: Fabrics) -> None:
    width, look = dice.choice((0.95, 1.4, 1.6)), dice.choice(looks.wood)
    stand.box((0, 0.0, 0), (width, 0.3, 2.0), look)
    stand.box((0, 0.3, 0.02), (width - 0.04, 0.2, 1.92), dice.choice(looks.white))
    stand.box((0, 0.32, 0.3), (width + 0.02, 0.22, 1.3), dice.choice(looks.fabric))
    stand.box((0, 0, -1.0), (width, 0.95, 0.06), look)
    for side in (-0.25, 0.25):
        stand.add(ELLIPSOID, (side * width, 0.48, -0.72), (0.6, 0.16, 0.4), dice.choice(looks.white))


def plant(stand: Stand, dice: Dice, looks: Fabrics) -> None:
    pot, height = dice.uniform(0.25, 0.4), dice.uniform(0.4, 1.1)
    stand.add(
        CYLINDER,
        (0.0, 0.0, 0.0),
        (pot, pot, pot),
        dice.choice(looks.white),
        taper=(0.25, 0.0),
        tilt=math.pi,
        tint=tints(dice),
    )
    stand.add(CYLINDER, (0, pot * 0.8, 0), (0.04, height, 0.04), dice.choice(looks.wood))
    for _ in range(4 + dice.integer(4)):
        size = dice.uniform(0.18, 0.4)
        at = (dice.uniform(-0.2, 0.2), pot + height * dice.uniform(0.5, 1.0) - size / 2, dice.uniform(-0.2, 0.2))
        stand.add(
            ELLIPSOID,
            at,
            (size, size * dice.uniform(0.5, 1.0), size),
            dice.choice(looks.leaf),
            yaw=dice.uniform(0, 6),
            tilt=dice.uniform(-0.5, 0.5),
        )


def crates(stand: Stand, dice: Dice, looks: Fabrics) -> None:
    height = 0.0
    for _ in range(1 + dice.integer(3)):
        side, tall = dice.uniform(0.3, 0.6), dice.uniform(0.2, 0.45)
        look = Look(dice.choice(looks.books), fit=(1.0, 1.0, 1.0)) if dice.chance(0.5) else dice.choice(looks.wood)
        stand.box(
            (dice.uniform(-0.05, 0.05), height, dice.uniform(-0.05, 0.05)),
            (side, tall, side * dice.uniform(0.7, 1.0)),
            look,
            dice.uniform(-0.3, 0.3),
        )
        height += tall


def lamp(stand: Stand, dice: Dice, looks: Fabrics) -> None:
    stand.add(CYLINDER, (0.0, 0.0, 0.0), (0.3, 0.03, 0.3), dice.choice(looks.metal))
    stand.add(CYLINDER, (0, 0.03, 0), (0.03, 1.4, 0.03), dice.choice(looks.metal))
    stand.add(CYLINDER, (0, 1.35, 0), (0.4, 0.3, 0.4), looks.glow, taper=(0.4, 0.0))


def desk(stand: Stand, dice: Dice, looks: Fabrics, width: Number) -> None:
    """A desk with a screen and a keyboard."""
    table(stand, dice, looks, (width, 0.74, 0.7))
    at = dice.uniform(-0.2, 0.2) * width
    stand.box((at, 0.74, -0.12), (0.2, 0.015, 0.16), dice.choice(looks.metal))
    stand.box((at, 0.75, -0.15), (0.04, 0.14, 0.03), dice.choice(looks.metal))
    stand.box((at, 0.86, -0.14), (0.56, 0.34, 0.03), Look(dice.choice(looks.screens), fit=(1.0, 1.0, 1.0)))
    stand.box((at, 0.74, 0.14), (0.42, 0.02, 0.14), Look(dice.choice(looks.books), fit=(6.0, 1.0, 2.0)))
