"""Small things that lie and stand on tables, shelves and floors: paper, books, mugs, bottles, screens, cables, bags."""

from __future__ import annotations

import math
from collections.abc import Callable

from openloger.worlds.families.furniture import Fabrics, Stand, lying, tints
from openloger.worlds.random import Dice
from openloger.worlds.scene import BOX, CYLINDER, ELLIPSOID, Material, Number, Triple

Thing = Callable[[Stand, Dice, Fabrics, Triple], None]  # set down at (right, height, front)
WHOLE = (1.0, 1.0, 1.0)  # a print is seen once on each face


def scatter(stand: Stand, dice: Dice, materials: Fabrics, top: Triple, count: int) -> None:
    """Things on a surface of the size (width, its height, depth)."""
    for _ in range(count):
        at = (dice.uniform(-0.43, 0.43) * top[0], top[1], dice.uniform(-0.4, 0.4) * top[2])
        dice.choice(_COMMON)(stand, dice, materials, at)


def papers(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """Sheets and magazines on top of each other, askew."""
    height = at[1]
    for number in range(1 + dice.integer(4)):
        material = Material(dice.choice(materials.pages if dice.chance(0.7) else materials.covers), fit=WHOLE)
        thick = dice.uniform(0.002, 0.012)
        place = (at[0] + 0.05 * number * dice.uniform(-1, 1), height, at[2] + 0.05 * number * dice.uniform(-1, 1))
        stand.box(place, (0.21, thick, 0.297), material, dice.uniform(-1.2, 1.2))
        height += thick


def stack(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """Books lying on each other."""
    height, yaw = at[1], dice.uniform(-1.5, 1.5)
    for _ in range(1 + dice.integer(5)):
        thick = dice.uniform(0.012, 0.05)
        material = Material(dice.choice(materials.covers), fit=WHOLE)
        size = (dice.uniform(0.13, 0.22), thick, dice.uniform(0.18, 0.29))
        stand.box((at[0], height, at[2]), size, material, yaw + dice.uniform(-0.2, 0.2))
        height += thick


def leaning(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """Books or cards that stand, some of them aslant."""
    x = at[0]
    for _ in range(1 + dice.integer(4)):
        thick, tall = dice.uniform(0.015, 0.05), dice.uniform(0.16, 0.3)
        material = Material(dice.choice(materials.covers), fit=WHOLE)
        slant = dice.choice((0.0, 0.0, dice.uniform(-0.35, 0.35)))
        stand.add(BOX, (x, at[1], at[2]), (thick, tall, dice.uniform(0.12, 0.22)), material, roll=slant)
        x += thick + 0.004 + 0.12 * abs(slant)


def frame(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """A picture in a frame, leaning back, or a folded card."""
    wide, tall, tilt = dice.uniform(0.1, 0.24), dice.uniform(0.12, 0.3), dice.uniform(0.1, 0.35)
    yaw = dice.uniform(-0.7, 0.7)
    stand.add(BOX, at, (wide, tall, 0.015), dice.choice(materials.wood + materials.dark), yaw=yaw, tilt=tilt)
    front = (at[0] + 0.006 * math.sin(yaw), at[1] + 0.06 * tall, at[2] + 0.009 * math.cos(yaw))
    face = Material(dice.choice(materials.pictures + materials.pages), fit=WHOLE)
    stand.add(BOX, front, (wide * 0.88, tall * 0.88, 0.012), face, yaw=yaw, tilt=tilt)


def mug(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    material, wide, tall = (
        dice.choice(materials.white + materials.lacquer),
        dice.uniform(0.07, 0.1),
        dice.uniform(0.08, 0.12),
    )
    tint, angle = tints(dice), dice.uniform(0.0, 6.28)
    stand.add(CYLINDER, at, (wide, tall, wide), material, tint=tint)
    stand.add(CYLINDER, (at[0], at[1] + tall, at[2]), (wide * 0.86, 0.002, wide * 0.86), dice.choice(materials.dark))
    reach = 0.55 * wide
    handle = (at[0] + math.cos(angle) * reach, at[1] + 0.2 * tall, at[2] - math.sin(angle) * reach)
    stand.add(BOX, handle, (0.035, 0.6 * tall, 0.012), material, yaw=angle, tint=tint)


def bottle(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    material, wide, tall = (
        dice.choice(materials.metal + materials.lacquer),
        dice.uniform(0.05, 0.09),
        dice.uniform(0.1, 0.24),
    )
    tint = tints(dice)
    stand.add(CYLINDER, at, (wide, tall, wide), material, tint=tint)
    label = Material(dice.choice(materials.covers), fit=(3.0, 1.0, 3.0))
    stand.add(CYLINDER, (at[0], at[1] + 0.25 * tall, at[2]), (wide + 0.003, 0.4 * tall, wide + 0.003), label)
    neck = (at[0], at[1] + tall, at[2])
    stand.add(CYLINDER, neck, (wide * 0.9, 0.35 * tall, wide * 0.9), material, taper=(0.6, 0.0), tint=tint)


def carton(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    material = (
        Material(dice.choice(materials.covers), fit=WHOLE)
        if dice.chance(0.6)
        else dice.choice(materials.lacquer + materials.white)
    )
    size = (dice.uniform(0.06, 0.28), dice.uniform(0.04, 0.26), dice.uniform(0.06, 0.22))
    stand.box(at, size, material, dice.uniform(-1.5, 1.5))
    if dice.chance(0.3):
        upper = (size[0] * 0.8, dice.uniform(0.03, 0.12), size[2] * 0.8)
        stand.box(
            (at[0], at[1] + size[1], at[2]), upper, dice.choice(materials.lacquer + materials.dark), dice.uniform(-1, 1)
        )


def bowl(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """A bowl of fruit, or a ball."""
    wide = dice.uniform(0.12, 0.26)
    if dice.chance(0.4):
        stand.add(
            ELLIPSOID, at, (wide * 0.6, wide * 0.58, wide * 0.6), dice.choice(materials.lacquer), tint=tints(dice)
        )
        return
    material = dice.choice(materials.white + materials.wood)
    stand.add(CYLINDER, at, (wide, wide * 0.35, wide), material, taper=(0.35, 0.0), tilt=math.pi)
    for number in range(dice.integer(4)):
        ball, angle = dice.uniform(0.06, 0.085), 2.1 * number
        place = (at[0] + 0.25 * wide * math.cos(angle), at[1] + 0.2 * wide, at[2] + 0.25 * wide * math.sin(angle))
        stand.add(ELLIPSOID, place, (ball, ball, ball), dice.choice(materials.lacquer), tint=tints(dice))


def laptop(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    material, yaw = dice.choice(materials.metal + materials.dark), dice.uniform(-0.8, 0.8)
    sin, cos, tilt = math.sin(yaw), math.cos(yaw), dice.uniform(0.1, 0.6)
    stand.box(at, (0.33, 0.016, 0.23), material, yaw)
    stand.box((at[0], at[1] + 0.016, at[2]), (0.29, 0.002, 0.12), Material(materials.keys, fit=WHOLE), yaw)
    back = 0.115 + 0.11 * math.sin(tilt)
    lid = (at[0] - sin * back, at[1] + 0.11 * (math.cos(tilt) - 1.0) + 0.01, at[2] - cos * back)
    stand.add(BOX, lid, (0.33, 0.22, 0.01), material, yaw=yaw, tilt=tilt)
    face = (lid[0] + sin * 0.005, lid[1] + 0.012, lid[2] + cos * 0.005)
    stand.add(BOX, face, (0.31, 0.195, 0.009), Material(dice.choice(materials.screens), fit=WHOLE), yaw=yaw, tilt=tilt)


def monitor(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """A screen on a foot, turned a little."""
    material, yaw, wide = (
        dice.choice(materials.dark + materials.metal),
        dice.uniform(-0.4, 0.4),
        dice.uniform(0.45, 0.75),
    )
    tall = 0.6 * wide
    stand.box(at, (0.22, 0.012, 0.18), material, yaw)
    stand.box((at[0], at[1], at[2]), (0.05, 0.2, 0.03), material, yaw)
    shift = (at[0] + 0.025 * math.sin(yaw), at[1] + 0.12, at[2] + 0.025 * math.cos(yaw))
    stand.box(shift, (wide, tall, 0.035), material, yaw)
    front = (at[0] + 0.04 * math.sin(yaw), at[1] + 0.135, at[2] + 0.04 * math.cos(yaw))
    shown = Material(dice.choice(materials.screens), fit=WHOLE) if dice.chance(0.7) else dice.choice(materials.dark)
    stand.box(front, (wide - 0.03, tall - 0.03, 0.01), shown, yaw)


def keyboard(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    yaw = dice.uniform(-0.3, 0.3)
    stand.box(at, (0.43, 0.02, 0.14), Material(materials.keys, fit=WHOLE), yaw)
    mouse = (at[0] + 0.3 * math.cos(yaw), at[1], at[2] - 0.3 * math.sin(yaw))
    stand.add(ELLIPSOID, mouse, (0.06, 0.035, 0.1), dice.choice(materials.dark + materials.white), yaw=yaw)


def pens(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """Pens, tools, cutlery."""
    for _ in range(1 + dice.integer(3)):
        place = (at[0] + dice.uniform(-0.08, 0.08), at[1], at[2] + dice.uniform(-0.08, 0.08))
        material = dice.choice(materials.lacquer + materials.dark + materials.metal)
        lying(stand, place, (dice.uniform(0.12, 0.22), dice.uniform(0.008, 0.02)), material, dice.uniform(0, 3.1))


def cable(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """A wire that lies in bends."""
    x, z, yaw, material = at[0], at[2], dice.uniform(0.0, 6.28), dice.choice(materials.dark + materials.white)
    thick, step = dice.uniform(0.006, 0.014), dice.uniform(0.08, 0.2)
    for _ in range(3 + dice.integer(4)):
        along = (math.cos(yaw) * step, -math.sin(yaw) * step)
        lying(stand, (x + along[0] / 2, at[1], z + along[1] / 2), (step * 1.05, thick), material, yaw)
        x, z, yaw = x + along[0], z + along[1], yaw + dice.uniform(-0.9, 0.9)


def potted(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    wide = dice.uniform(0.08, 0.16)
    pot = dice.choice(materials.white + materials.lacquer)
    stand.add(CYLINDER, at, (wide, wide, wide), pot, taper=(0.2, 0.0), tilt=math.pi, tint=tints(dice))
    for _ in range(3 + dice.integer(4)):
        size = dice.uniform(0.06, 0.16)
        place = (at[0] + dice.uniform(-0.07, 0.07), at[1] + wide * dice.uniform(0.9, 1.8), at[2])
        leaf = dice.choice(materials.leaf)
        slant = dice.uniform(-0.8, 0.8)
        stand.add(ELLIPSOID, place, (size * 0.5, size * 1.5, size * 0.2), leaf, yaw=dice.uniform(0, 6), tilt=slant)


def desk_lamp(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    material = dice.choice(materials.metal + materials.dark + materials.lacquer)
    stand.add(CYLINDER, at, (0.15, 0.02, 0.15), material)
    stand.add(CYLINDER, (at[0], at[1] + 0.02, at[2]), (0.02, 0.38, 0.02), material, roll=0.25)
    shade = dice.choice((materials.glow, material))
    stand.add(CYLINDER, (at[0] + 0.08, at[1] + 0.36, at[2]), (0.17, 0.13, 0.17), shade, taper=(0.6, 0.0), roll=-0.5)


def device(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """A box with buttons, a dial or an aerial: an instrument, a kettle's base, a router."""
    body, yaw = dice.choice(materials.dark + materials.metal + materials.white), dice.uniform(-0.5, 0.5)
    size = (dice.uniform(0.14, 0.4), dice.uniform(0.05, 0.28), dice.uniform(0.12, 0.3))
    stand.box(at, size, body, yaw)
    front = 0.5 * size[2] + 0.003
    face = (at[0] + math.sin(yaw) * front, at[1] + 0.2 * size[1], at[2] + math.cos(yaw) * front)
    panel = Material(dice.choice((materials.keys, dice.choice(materials.screens))), fit=WHOLE)
    stand.box(face, (size[0] * 0.7, size[1] * 0.6, 0.006), panel, yaw)
    if dice.chance(0.5):
        mast = (at[0] + 0.3 * size[0], at[1] + size[1], at[2])
        stand.add(CYLINDER, mast, (0.015, dice.uniform(0.08, 0.25), 0.015), body, roll=dice.uniform(-0.3, 0.3))


def bag(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    """A rucksack or a handbag."""
    material, size, yaw = (
        dice.choice(materials.fabric + materials.dark),
        dice.uniform(0.28, 0.46),
        dice.uniform(0, 6.28),
    )
    tint = tints(dice)
    stand.add(BOX, at, (size * 0.75, size * 0.9, size * 0.42), material, yaw=yaw, taper=(0.15, 0.35), tint=tint)
    top = (at[0], at[1] + size * 0.55, at[2])
    stand.add(ELLIPSOID, top, (size * 0.72, size * 0.6, size * 0.4), material, yaw=yaw, tint=tint)
    pocket = (at[0] + math.sin(yaw) * size * 0.2, at[1] + 0.04, at[2] + math.cos(yaw) * size * 0.2)
    stand.add(
        ELLIPSOID, pocket, (size * 0.6, size * 0.45, size * 0.3), dice.choice(materials.fabric), yaw=yaw, tint=tint
    )


def bin_(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    wide: Number = dice.uniform(0.22, 0.4)
    material = dice.choice(materials.metal + materials.lacquer + materials.white + materials.dark)
    tall = wide * dice.uniform(1.1, 1.8)
    stand.add(CYLINDER, at, (wide, tall, wide), material, taper=(0.2, 0.0), tilt=math.pi, tint=tints(dice))
    stand.add(CYLINDER, (at[0], at[1] + tall, at[2]), (wide * 0.9, 0.003, wide * 0.9), dice.choice(materials.dark))


def shoes(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    material, yaw = dice.choice(materials.fabric + materials.dark), dice.uniform(0, 6.28)
    for side in (-0.07, 0.07):
        place = (at[0] + side * math.cos(yaw), at[1], at[2] - side * math.sin(yaw))
        stand.add(ELLIPSOID, place, (0.1, 0.11, 0.29), material, yaw=yaw + dice.uniform(-0.3, 0.3))


def box_pile(stand: Stand, dice: Dice, materials: Fabrics, at: Triple) -> None:
    height = at[1]
    for _ in range(1 + dice.integer(3)):
        size = (dice.uniform(0.25, 0.55), dice.uniform(0.15, 0.4), dice.uniform(0.2, 0.45))
        material = dice.choice(
            (*materials.card, dice.choice(materials.lacquer), Material(dice.choice(materials.covers), fit=WHOLE))
        )
        place = (at[0] + dice.uniform(-0.05, 0.05), height, at[2] + dice.uniform(-0.05, 0.05))
        stand.box(place, size, material, dice.uniform(-0.4, 0.4))
        height += size[1]


_COMMON: tuple[Thing, ...] = (
    *(papers, papers, papers, stack, stack, leaning, frame, mug, mug, bottle, bottle),
    *(carton, carton, carton, bowl, laptop, pens, pens, cable, potted, device, device, keyboard, desk_lamp),
)
ON_THE_FLOOR: tuple[Thing, ...] = (bag, bag, bin_, bin_, shoes, box_pile, box_pile, cable, cable, stack, carton)
