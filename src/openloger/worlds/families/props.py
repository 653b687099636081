"""Things that stand and move outdoors: trees, cars, people, posts; a few solids each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openloger.worlds.families.furniture import Stand
from openloger.worlds.random import Dice
from openloger.worlds.scene import BOX, CYLINDER, ELLIPSOID, Material, Number
from openloger.worlds.surfaces import Colour, Paint, SurfaceBook, colour, scaled


@dataclass(frozen=True)
class Outfits:
    """The materials of outdoor things."""

    leaf: list[Material]
    bark: list[Material]
    paint: list[Material]
    glass: Material
    tyre: Material
    metal: list[Material]
    cloth: list[Material]
    skin: Material
    signs: list[int]
    lamp: Material


def outfits(dice: Dice, book: SurfaceBook) -> Outfits:
    """Random colours for all of them."""

    def material(
        pattern: str, base, period: float, *, gloss: float = 0.0, contrast: float = 0.6, glow: float = 0.0
    ) -> Material:
        paint = Paint(base, scaled(base, dice.uniform(0.55, 1.25)), scaled(base, 0.45), contrast)
        return Material(book.make(pattern, paint, gloss=gloss, glow=glow), period=period)

    def leaf() -> Material:
        green = colour(dice, hue=(0.17, 0.36), saturation=(0.3, 0.75), value=(0.25, 0.6))
        return material("leaves", green, dice.uniform(0.8, 1.8), contrast=0.9)

    grey = colour(dice, saturation=(0.0, 0.1), value=(0.08, 0.16))
    return Outfits(
        leaf=[leaf() for _ in range(4)],
        bark=[
            material("wood", colour(dice, hue=(0.05, 0.12), saturation=(0.1, 0.4), value=(0.2, 0.5)), 0.5)
            for _ in range(2)
        ],
        paint=[material("plain", _car_colour(dice), 1.5, gloss=0.6, contrast=0.08) for _ in range(8)],
        glass=material("plain", grey, 0.8, gloss=0.9, contrast=0.4),
        tyre=material("plain", (0.12, 0.12, 0.12), 0.3),
        metal=[
            material("plain", colour(dice, saturation=(0, 0.2), value=(0.2, 0.7)), 0.6, gloss=0.4) for _ in range(3)
        ],
        cloth=[
            material(
                dice.choice(("fabric", "plain", "plaster")), colour(dice, saturation=(0, 0.7), value=(0.1, 0.9)), 0.5
            )
            for _ in range(8)
        ],
        skin=material(
            "plain", colour(dice, hue=(0.03, 0.08), saturation=(0.3, 0.6), value=(0.35, 0.9)), 0.4, contrast=0.2
        ),
        signs=[book.picture(gloss=0.2) for _ in range(6)],
        lamp=material("plain", (0.95, 0.9, 0.8), 0.5, glow=0.3),
    )


def _car_colour(dice: Dice) -> Colour:
    """White, grey and black mostly, else blue, red or another."""
    if dice.chance(0.65):
        return colour(dice, saturation=(0.0, 0.06), value=dice.choice(((0.8, 0.97), (0.4, 0.7), (0.06, 0.2))))
    return colour(dice, saturation=(0.3, 0.9), value=(0.15, 0.8))


def tree(stand: Stand, dice: Dice, materials: Outfits, height: Number) -> None:
    """A trunk with branches under a crown of leafy balls, or a fir of stacked cones."""
    bark, leaf = dice.choice(materials.bark), dice.choice(materials.leaf)
    thick = 0.03 * height + dice.uniform(0.05, 0.2)
    if dice.chance(0.25):
        stand.add(CYLINDER, (0, 0, 0), (thick, height * 0.3, thick), bark)
        width = height * dice.uniform(0.35, 0.5)
        for level in range(4):
            at, size = height * (0.12 + 0.2 * level), width * (1.0 - 0.2 * level)
            stand.add(CYLINDER, (0, at, 0), (size, height * 0.34, size), leaf, taper=(0.97, 0.0))
        return
    fork = height * dice.uniform(0.25, 0.45)
    stand.add(CYLINDER, (0, 0, 0), (thick, fork * 1.2, thick), bark, taper=(0.3, 0.0))
    crown = height * dice.uniform(0.4, 0.65)
    for number in range(6 + dice.integer(6)):
        angle, out = 2.4 * number + dice.uniform(0, 0.8), dice.uniform(0.1, 0.42) * crown
        at = (math.cos(angle) * out, dice.uniform(fork, height - crown * 0.45), math.sin(angle) * out)
        size = crown * dice.uniform(0.28, 0.6)
        stand.add(
            ELLIPSOID, at, (size, size * dice.uniform(0.6, 0.9), size), leaf, yaw=angle, tilt=dice.uniform(-0.3, 0.3)
        )
        if number < 3:
            limb = (at[0] / 2, fork, at[2] / 2)
            stand.add(
                CYLINDER, limb, (thick * 0.4, height * 0.3, thick * 0.4), bark, yaw=-angle + math.pi / 2, tilt=0.4
            )


def bush(stand: Stand, dice: Dice, materials: Outfits, size: Number) -> None:
    leaf = dice.choice(materials.leaf)
    for _ in range(1 + dice.integer(3)):
        at = (dice.uniform(-0.4, 0.4) * size, -0.1 * size, dice.uniform(-0.4, 0.4) * size)
        part = size * dice.uniform(0.6, 1.0)
        stand.add(ELLIPSOID, at, (part, part * dice.uniform(0.7, 1.1), part), leaf, yaw=dice.uniform(0, 6))


def car(stand: Stand, dice: Dice, materials: Outfits) -> None:
    """A car or van along the stand's front axis."""
    paint, van = dice.choice(materials.paint), dice.chance(0.15)
    length, width = (dice.uniform(4.6, 5.4), 1.95) if van else (dice.uniform(3.8, 4.7), 1.78)
    waist, top = (1.05, 2.1) if van else (dice.uniform(0.8, 0.95), dice.uniform(1.4, 1.65))
    stand.add(BOX, (0, 0.22, 0), (width, waist - 0.22, length), paint, taper=(0.06, 0.03))
    cabin, shift = (
        (length * 0.93, -0.1) if van else (length * dice.uniform(0.5, 0.68), -length * dice.uniform(0.04, 0.12))
    )
    stand.add(BOX, (0, waist - 0.02, shift), (width * 0.93, top - waist, cabin), materials.glass, taper=(0.25, 0.42))
    stand.box((0, top - 0.08, shift), (width * 0.7, 0.07, cabin * 0.56), paint)
    for pillar in (-0.5, 0.0, 0.5):
        stand.add(
            BOX,
            (0, waist - 0.02, shift + pillar * cabin * 0.78),
            (width * 0.94, top - waist - 0.02, 0.07),
            paint,
            taper=(0.25, 0.0),
        )
    for end in (-1, 1):
        stand.box((0, 0.3, end * (length / 2 + 0.02)), (width * 0.9, 0.16, 0.1), materials.glass)
        for side in (-1, 1):
            stand.box(
                (side * width * 0.36, 0.58, end * (length / 2 - 0.02)),
                (0.3, 0.14, 0.08),
                materials.lamp if end > 0 else materials.metal[0],
            )
            stand.add(
                CYLINDER,
                (side * (width / 2 - 0.1), 0.2, end * length * 0.31),
                (0.62, 0.22, 0.62),
                materials.tyre,
                roll=math.pi / 2,
            )
            stand.add(
                CYLINDER,
                (side * (width / 2 - 0.1), 0.19, end * length * 0.31),
                (0.36, 0.24, 0.36),
                materials.metal[1],
                roll=math.pi / 2,
            )
    stand.box((0, 0.45, -length / 2 - 0.05), (0.5, 0.11, 0.03), Material(materials.signs[0], fit=(1.0, 1.0, 1.0)))


def person(stand: Stand, dice: Dice, materials: Outfits, stride: Number) -> None:
    """A walker; `stride` is the phase of the step in radians."""
    scale = dice.uniform(0.9, 1.08)
    top, legs = dice.choice(materials.cloth), dice.choice(materials.cloth)
    swing = 0.5 * math.sin(stride)
    for side in (-1, 1):
        reach = 0.2 * side * swing
        stand.add(CYLINDER, (side * 0.09, 0.0, reach), (0.16, 0.85 * scale, 0.16), legs, tilt=-0.45 * side * swing)
        stand.add(CYLINDER, (side * 0.26, 0.78 * scale, -reach), (0.1, 0.62 * scale, 0.1), top, tilt=0.5 * side * swing)
    stand.add(ELLIPSOID, (0, 0.72 * scale, 0), (0.46, 0.78 * scale, 0.3), top)
    stand.add(ELLIPSOID, (0, 1.46 * scale, 0.02), (0.2, 0.27, 0.23), materials.skin)
    stand.add(ELLIPSOID, (0, 1.55 * scale, -0.02), (0.22, 0.2, 0.24), dice.choice(materials.bark))


def lamp_post(stand: Stand, dice: Dice, materials: Outfits) -> None:
    metal, height = dice.choice(materials.metal), dice.uniform(4.5, 7.5)
    stand.add(CYLINDER, (0, 0, 0), (0.16, height, 0.16), metal, taper=(0.4, 0.0))
    stand.box((0, height - 0.05, 0.6), (0.08, 0.06, 1.3), metal)
    stand.box((0, height - 0.14, 1.2), (0.22, 0.1, 0.5), materials.lamp)


def sign(stand: Stand, dice: Dice, materials: Outfits) -> None:
    """A traffic sign: a round, square or long plate on a post."""
    metal, height, face = (
        dice.choice(materials.metal),
        dice.uniform(2.0, 2.8),
        Material(dice.choice(materials.signs), fit=(1.0, 1.0, 1.0)),
    )
    stand.add(CYLINDER, (0, 0, 0), (0.07, height + 0.5, 0.07), metal)
    kind = dice.integer(3)
    if kind == 0:
        stand.add(CYLINDER, (0, height - 0.2, 0.05), (0.65, 0.03, 0.65), face, tilt=math.pi / 2)
    elif kind == 1:
        stand.box((0, height - 0.1, 0.05), (0.6, 0.6, 0.03), face)
    else:
        stand.box((0.3, height, 0.05), (dice.uniform(0.8, 1.6), 0.35, 0.03), face)


def bin_or_box(stand: Stand, dice: Dice, materials: Outfits) -> None:
    """Dustbins, a cabinet, a hydrant."""
    kind = dice.integer(3)
    if kind == 0:
        for number in range(1 + dice.integer(3)):
            stand.add(BOX, (0.7 * number, 0, 0), (0.58, 1.05, 0.6), dice.choice(materials.paint), taper=(-0.0, 0.15))
    elif kind == 1:
        stand.box((0, 0, 0), (dice.uniform(0.6, 1.4), dice.uniform(0.9, 1.5), 0.4), dice.choice(materials.metal))
    else:
        stand.add(CYLINDER, (0, 0, 0), (0.25, 0.7, 0.25), dice.choice(materials.paint))
        stand.add(ELLIPSOID, (0, 0.6, 0), (0.25, 0.25, 0.25), dice.choice(materials.paint))
