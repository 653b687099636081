"""Fittings along walls: kitchen rows, cupboards, desks, benches, racks, machines, white boards."""

from __future__ import annotations

import math

from openloger.worlds.families import things
from openloger.worlds.families.furniture import Fabrics, Stand, lying, table, tints
from openloger.worlds.families.things import WHOLE
from openloger.worlds.random import Dice
from openloger.worlds.scene import BOX, CYLINDER, ELLIPSOID, Material, Number, Triple


def laid_table(stand: Stand, dice: Dice, materials: Fabrics, size: Triple) -> None:
    """A table with things on it."""
    table(stand, dice, materials, size)
    things.scatter(stand, dice, materials, (0.9 * size[0], size[1], 0.9 * size[2]), 2 + dice.integer(7))


def cabinets(stand: Stand, dice: Dice, materials: Fabrics, width: Number, upper: bool) -> None:
    """A row of kitchen cupboards with a worktop and what stands there, perhaps wall cupboards above."""
    front = dice.choice(materials.white + materials.lacquer + materials.lacquer + materials.wood)
    top, grip = dice.choice(materials.stone + materials.wood), dice.choice(materials.metal + materials.dark)
    tint = tints(dice) if dice.chance(0.3) else (1.0, 1.0, 1.0)
    count = max(int(width / 0.6), 1)
    each, stove, sink = width / count, dice.integer(count + 2), dice.integer(count + 1)
    stand.box((0, 0, -0.02), (width, 0.1, 0.5), dice.choice(materials.dark))
    for number in range(count):
        x = -width / 2 + (number + 0.5) * each
        _lower(stand, dice, (front, grip, dice.choice(materials.dark)), (x, each, float(number == stove)), tint)
        if upper and not dice.chance(0.15):
            stand.add(BOX, (x, 1.42, -0.12), (each - 0.006, 0.72, 0.34), front, tint=tint)
            stand.box((x + 0.3 * each, 1.46, 0.06), (0.015, 0.14, 0.02), grip)
    stand.box((0, 0.86, 0.01), (width, 0.04, 0.62), top)
    if sink < count:
        x = -width / 2 + (sink + 0.5) * each
        stand.box((x, 0.9, 0.02), (0.5, 0.004, 0.4), dice.choice(materials.metal))
        stand.add(CYLINDER, (x, 0.9, -0.2), (0.03, 0.26, 0.03), materials.metal[0])
        stand.box((x, 1.14, -0.11), (0.025, 0.025, 0.2), materials.metal[0])
    things.scatter(stand, dice, materials, (0.92 * width, 0.9, 0.42), 3 + int(width * dice.uniform(1.0, 4.0)))


def _lower(
    stand: Stand, dice: Dice, material: tuple[Material, Material, Material], place: Triple, tint: Triple
) -> None:
    """One cupboard below the worktop: a door, three drawers, or a stove; `place` = (x, width, whether a stove)."""
    (front, grip, dark), (x, wide, stove) = material, place
    if stove:
        stand.box((x, 0.1, 0.0), (wide - 0.006, 0.76, 0.56), grip)
        stand.box((x, 0.22, 0.28), (wide - 0.1, 0.42, 0.012), dark)
        stand.box((x, 0.7, 0.3), (wide - 0.1, 0.02, 0.03), grip)
        stand.box((x, 0.9, 0.02), (wide - 0.06, 0.006, 0.48), dark)
        return
    drawers = 3 if dice.chance(0.3) else 1
    for number in range(drawers):
        tall = 0.76 / drawers
        stand.add(BOX, (x, 0.1 + tall * number, 0), (wide - 0.006, tall - 0.006, 0.56), front, tint=tint)
        stand.box((x, 0.1 + tall * (number + 1) - 0.07, 0.29), (min(0.16, wide / 2), 0.014, 0.02), grip)


def wardrobe(stand: Stand, dice: Dice, materials: Fabrics, size: Triple) -> None:
    """A tall cupboard with doors and grips: also lockers, a fridge, a drinks machine."""
    front = dice.choice(materials.wood + materials.white + materials.lacquer + materials.metal)
    stand.box((0, 0, -0.01), (size[0], size[1], size[2] - 0.02), front)
    count = max(round(size[0] / 0.5), 1)
    split = dice.choice((1, 1, 2, 3))
    for column in range(count):
        for row in range(split):
            wide, tall = size[0] / count, (size[1] - 0.06) / split
            x, y = -size[0] / 2 + (column + 0.5) * wide, 0.05 + tall * row
            stand.box((x, y, size[2] / 2 - 0.02), (wide - 0.01, tall - 0.01, 0.03), front)
            stand.box((x + 0.38 * wide, y + 0.45 * tall, size[2] / 2 + 0.01), (0.014, 0.12, 0.02), materials.metal[0])
    things.scatter(stand, dice, materials, (0.8 * size[0], size[1], 0.7 * size[2]), dice.integer(3))


def desk(stand: Stand, dice: Dice, materials: Fabrics, width: Number) -> None:
    """A desk with screens, a keyboard and what else lies about."""
    table(stand, dice, materials, (width, 0.74, 0.72))
    if dice.chance(0.85):
        screens = 1 + int(dice.chance(0.4))
        for number in range(screens):
            at = (number - (screens - 1) / 2) * 0.62 + dice.uniform(-0.1, 0.1)
            things.monitor(stand, dice, materials, (at, 0.74, -0.18))
        things.keyboard(stand, dice, materials, (dice.uniform(-0.1, 0.1), 0.74, 0.16))
    things.scatter(stand, dice, materials, (width * 0.95, 0.74, 0.6), 2 + dice.integer(6))
    if dice.chance(0.5):
        stand.box((0.36 * width, 0, -0.05), (0.4, 0.55, 0.5), dice.choice(materials.white + materials.metal))
    if dice.chance(0.4):
        stand.box((-0.38 * width, 0, -0.1), (0.2, 0.42, 0.45), dice.choice(materials.dark + materials.metal))


def bench(stand: Stand, dice: Dice, materials: Fabrics, size: Triple) -> None:
    """A laboratory bench: a slab on cupboards or legs, a shelf along its back, instruments."""
    frame = dice.choice(materials.metal + materials.white)
    stand.box(
        (0, size[1] - 0.04, 0),
        (size[0], 0.04, size[2]),
        dice.choice(materials.stone + materials.white + materials.wood),
    )
    for number in range(max(int(size[0] / 0.8), 1) + 1):
        x = -size[0] / 2 + 0.05 + number * (size[0] - 0.1) / max(int(size[0] / 0.8), 1)
        stand.box((x, 0, 0), (0.05, size[1] - 0.04, size[2] - 0.06), frame)
    if dice.chance(0.6):
        for side in (-1, 1):
            stand.box((side * (size[0] / 2 - 0.05), size[1], -size[2] / 2 + 0.08), (0.04, 0.75, 0.04), frame)
        for level in (0.35, 0.72):
            stand.box((0, size[1] + level, -size[2] / 2 + 0.12), (size[0], 0.025, 0.26), frame)
            things.scatter(
                stand.beside(0, -size[2] / 2 + 0.12),
                dice,
                materials,
                (size[0], size[1] + level + 0.025, 0.16),
                dice.integer(6),
            )
    things.scatter(stand, dice, materials, (size[0], size[1], size[2] * 0.8), 3 + dice.integer(8))
    for _ in range(dice.integer(3)):
        where = (dice.uniform(-0.4, 0.4) * size[0], 0.0, 0.0)
        dice.choice(things.ON_THE_FLOOR)(stand, dice, materials, where)


def rack(stand: Stand, dice: Dice, materials: Fabrics, size: Triple) -> None:
    """Open metal shelves with boxes and crates."""
    frame = dice.choice(materials.metal + materials.lacquer + materials.dark)
    for sx in (-1, 1):
        for sz in (-1, 1):
            stand.box((sx * (size[0] / 2 - 0.02), 0, sz * (size[2] / 2 - 0.02)), (0.04, size[1], 0.04), frame)
    levels, crowd = max(int(size[1] / dice.uniform(0.45, 0.7)), 2), dice.uniform(1.0, 4.0)
    for level in range(levels):
        height = 0.1 + level * (size[1] - 0.15) / (levels - 1)
        stand.box((0, height - 0.03, 0), (size[0], 0.03, size[2]), frame)
        x = -size[0] / 2 + 0.08
        while x < size[0] / 2 - 0.2 and crowd > 0.5:
            wide = min(dice.uniform(0.15, 0.6), size[0] / 2 - 0.05 - x)
            material = dice.choice((*materials.card, *materials.card, *materials.lacquer, *materials.dark))
            if dice.chance(0.25 * crowd):
                tall, deep = dice.uniform(0.1, 0.34), size[2] * dice.uniform(0.5, 0.9)
                stand.box((x + wide / 2, height, 0), (wide, tall, deep), material, dice.uniform(-0.08, 0.08))
            x += wide + 0.03


def machine(stand: Stand, dice: Dice, materials: Fabrics) -> None:
    """An apparatus on a foot of three or four legs with a column and arms: a robot, a tripod, a stand with a screen."""
    material, joint = (
        dice.choice(materials.dark + materials.metal + materials.lacquer),
        dice.choice(materials.lacquer + materials.dark),
    )
    count, reach, height = 3 + dice.integer(2), dice.uniform(0.25, 0.5), dice.uniform(0.5, 1.4)
    thick = dice.uniform(0.05, 0.12)
    for number in range(count):
        angle = 6.2832 * number / count + 0.4
        middle = (0.5 * reach * math.cos(angle), 0.08, -0.5 * reach * math.sin(angle))
        stand.add(BOX, middle, (reach, thick, thick), material, yaw=angle)
        end = (reach * math.cos(angle), 0.0, -reach * math.sin(angle))
        stand.add(CYLINDER, end, (0.08, 0.1, 0.08), dice.choice(materials.dark))
        stand.add(CYLINDER, (end[0], 0.1, end[2]), (0.03, 0.12, 0.03), materials.metal[0])
    stand.add(CYLINDER, (0, 0.1, 0), (1.6 * thick, height, 1.6 * thick), material)
    if dice.chance(0.6):
        tilt = dice.uniform(-0.8, 0.8)
        stand.add(ELLIPSOID, (0, height, 0), (2.2 * thick, 2.2 * thick, 2.2 * thick), joint)
        stand.add(CYLINDER, (0.0, height + 0.1, 0.1), (1.2 * thick, 0.5, 1.2 * thick), material, tilt=tilt)
        stand.box((0.0, height + 0.5, 0.1 + 0.3 * math.sin(tilt)), (0.16, 0.12, 0.2), joint, 0.3)
    else:
        stand.box((0, height, 0.05), (0.5, 0.34, 0.04), dice.choice(materials.dark))
        stand.box((0, height + 0.02, 0.075), (0.46, 0.3, 0.01), Material(dice.choice(materials.screens), fit=WHOLE))
    things.cable(stand, dice, materials, (reach, 0.0, 0.0))


def board_on_wheels(stand: Stand, dice: Dice, materials: Fabrics) -> None:
    """A white board or a screen of cloth on two feet."""
    wide, metal = dice.uniform(1.2, 1.9), dice.choice(materials.metal)
    face = dice.choice(materials.white) if dice.chance(0.6) else dice.choice(materials.fabric + materials.lacquer)
    stand.box((0, 0.75, 0), (wide, 1.1, 0.03), face)
    stand.box((0, 0.7, 0.03), (wide, 0.05, 0.06), metal)
    for side in (-1, 1):
        x = side * (wide / 2 - 0.03)
        stand.box((x, 0.06, 0), (0.04, 1.8, 0.04), metal)
        lying(stand, (x, 0.06, 0), (0.55, 0.05), metal, math.pi / 2)
        for end in (-0.26, 0.26):
            stand.add(ELLIPSOID, (x, 0.0, end), (0.05, 0.08, 0.08), dice.choice(materials.dark))
    for _ in range(dice.integer(5)):
        sheet = Material(dice.choice(materials.pages), fit=WHOLE)
        where = (dice.uniform(-0.4, 0.4) * wide, dice.uniform(0.85, 1.45), 0.018)
        stand.add(BOX, where, (0.21, 0.297, 0.004), sheet, roll=dice.uniform(-0.1, 0.1))


def partition(stand: Stand, dice: Dice, materials: Fabrics, size: Triple) -> None:
    """A low screen between desks, with notes."""
    stand.box((0, 0.02, 0), size, dice.choice(materials.fabric + materials.lacquer))
    stand.box((0, size[1], 0), (size[0], 0.03, size[2] + 0.02), dice.choice(materials.metal + materials.dark))
    for _ in range(dice.integer(5)):
        sheet = Material(dice.choice(materials.pages + materials.pictures), fit=WHOLE)
        at = (dice.uniform(-0.4, 0.4) * size[0], dice.uniform(0.7, max(size[1] - 0.35, 0.71)), size[2] / 2)
        stand.add(BOX, at, (dice.uniform(0.15, 0.3), 0.28, 0.008), sheet, roll=dice.uniform(-0.08, 0.08))
