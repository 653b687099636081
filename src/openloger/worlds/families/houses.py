"""Houses: blocks of flats and villas with fronts of windows, roofs, doors, balconies, garden walls and hedges."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openloger.worlds.families.furniture import Stand
from openloger.worlds.random import Dice
from openloger.worlds.scene import BOX, CYLINDER, Material, Pair
from openloger.worlds.surfaces import Paint, SurfaceBook, colour, scaled

STOREY = 2.9  # metres


@dataclass(frozen=True)
class Fronts:
    """The materials of a town's houses."""

    walls: list[tuple[int, Material]]  # a front with windows (fitted), and the same wall without
    roofs: list[Material]
    shops: list[int]
    doors: list[Material]
    trims: list[Material]
    hedge: list[Material]
    low_walls: list[Material]


def fronts(dice: Dice, book: SurfaceBook) -> Fronts:
    """Random materials for one town."""
    walls = []
    for _ in range(7):
        base = colour(dice, hue=(0.02, 0.16), saturation=(0.0, 0.3), value=(0.5, 0.97))
        if dice.chance(0.12):
            base = colour(dice, saturation=(0.1, 0.45), value=(0.4, 0.9))
        frame = colour(dice, saturation=(0.0, 0.2), value=(0.7, 1.0)) if dice.chance(0.7) else scaled(base, 0.4)
        glass = colour(dice, hue=(0.5, 0.65), saturation=(0.0, 0.3), value=(0.05, 0.25))
        window = book.make("facade", Paint(base, frame, glass, dice.uniform(0.08, 0.35)), detail=0.2, gloss=0.1)
        pattern = dice.choice(("plain", "plain", "plaster", "brick", "stones"))
        plain = Material(
            book.make(pattern, Paint(base, scaled(base, 0.85), scaled(base, 0.6))), period=dice.uniform(1.5, 3.0)
        )
        walls.append((window, plain))

    def material(pattern: str, base, period: float) -> Material:
        return Material(book.make(pattern, Paint(base, scaled(base, 0.75), scaled(base, 0.45))), period=period)

    roofs = [
        material(
            "shingles", colour(dice, hue=(0.0, 0.09), saturation=(0.1, 0.65), value=(0.25, 0.6)), dice.uniform(2.0, 3.0)
        )
        for _ in range(3)
    ]
    return Fronts(
        walls=walls,
        roofs=roofs,
        shops=[book.picture(gloss=0.2) for _ in range(4)],
        doors=[material("wood", colour(dice, saturation=(0.1, 0.7), value=(0.15, 0.6)), 1.0) for _ in range(4)],
        trims=[material("plain", colour(dice, saturation=(0.0, 0.2), value=(0.5, 0.95)), 1.5) for _ in range(3)],
        hedge=[
            material("leaves", colour(dice, hue=(0.2, 0.36), saturation=(0.3, 0.7), value=(0.2, 0.5)), 1.2)
            for _ in range(2)
        ],
        low_walls=[
            material(
                dice.choice(("brick", "stones", "planks")),
                colour(dice, hue=(0.0, 0.12), saturation=(0.0, 0.4), value=(0.3, 0.8)),
                1.5,
            )
            for _ in range(3)
        ],
    )


def _windows(dice: Dice, size: Pair, storeys: int, pitch: float, surface: int) -> Material:
    across, deep = max(round(size[0] / pitch), 1), max(round(size[1] / pitch), 1)
    return Material(surface, fit=(float(across), float(storeys), float(deep)))


def _roof(stand: Stand, dice: Dice, materials: Fronts, size: Pair, height: float) -> None:
    """Gabled, hipped or flat."""
    material, kind = dice.choice(materials.roofs), dice.integer(4)
    width, depth = size[0] + 0.3, size[1] + 0.8
    rise = dice.uniform(0.25, 0.5) * depth
    if kind == 0:
        stand.box((0, height, 0), (size[0] + 0.1, 0.5, size[1] + 0.1), dice.choice(materials.trims))
        stand.box((dice.uniform(-0.3, 0.3) * width, height + 0.5, -1.0), (2.5, 1.2, 2.0), dice.choice(materials.trims))
    else:
        taper = (0.0, 0.98) if kind < 3 else (min(0.9 * depth / width, 0.98), 0.98)
        stand.box((0, height, 0), (width, 0.18, depth), dice.choice(materials.trims))
        stand.add(BOX, (0, height + 0.18, 0), (width, rise, depth), material, taper=taper)
        for _ in range(dice.integer(3)):
            at = dice.uniform(-0.35, 0.35) * width
            stand.box(
                (at, height + 0.2, depth * dice.uniform(0.1, 0.25)),
                (0.6, rise + 0.6, 0.6),
                dice.choice(materials.low_walls),
            )


def apartments(stand: Stand, dice: Dice, materials: Fronts, size: Pair) -> None:
    """Three to five storeys to the pavement, perhaps with a shop below and balconies above."""
    storeys, (window, plain) = 2 + dice.integer(3), dice.choice(materials.walls)
    base = dice.uniform(3.0, 3.6)
    height = base + STOREY * storeys
    stand.box(
        (0, base, 0), (size[0], height - base, size[1]), _windows(dice, size, storeys, dice.uniform(2.2, 3.4), window)
    )
    if dice.chance(0.5):
        stand.box((0, 0, 0), (size[0], base, size[1]), plain)
        for number in range(max(int(size[0] / 4.5), 1)):
            at = -size[0] / 2 + 2.4 + 4.5 * number
            stand.box(
                (at, 0.3, size[1] / 2), (3.2, 2.3, 0.12), Material(dice.choice(materials.shops), fit=(1.0, 1.0, 1.0))
            )
        stand.box(
            (0, base - 0.35, size[1] / 2),
            (size[0], 0.5, 0.3),
            Material(dice.choice(materials.shops), fit=(size[0] / 4, 1.0, 1.0)),
        )
    else:
        stand.box((0, 0, 0), (size[0], base, size[1]), _windows(dice, size, 1, 3.0, dice.choice(materials.walls)[0]))
    stand.box((dice.uniform(-0.4, 0.4) * size[0], 0, size[1] / 2), (1.2, 2.3, 0.2), dice.choice(materials.doors))
    stand.box((0, base - 0.05, 0), (size[0] + 0.15, 0.15, size[1] + 0.15), dice.choice(materials.trims))
    if dice.chance(0.4):
        trim, column = dice.choice(materials.trims), dice.uniform(-0.3, 0.3) * size[0]
        for storey in range(storeys):
            stand.box((column, base + STOREY * storey, size[1] / 2 + 0.5), (2.4, 0.15, 1.0), trim)
            stand.box((column, base + STOREY * storey + 0.15, size[1] / 2 + 0.95), (2.4, 0.85, 0.06), trim)
    _roof(stand, dice, materials, size, height)


def villa(stand: Stand, dice: Dice, materials: Fronts, size: Pair) -> None:
    """One or two storeys under a roof, with a door and perhaps a garage."""
    storeys, (window, plain) = 1 + dice.integer(2), dice.choice(materials.walls)
    height = STOREY * storeys + 0.4
    narrow = (size[0] * dice.uniform(0.6, 0.85), size[1])
    shift = (size[0] - narrow[0]) / 2 * dice.sign()
    house = Stand(stand.solids, *_beside(stand, shift), stand.yaw, stand.floor)
    house.box((0, 0, 0), (narrow[0] + 0.06, 0.5, narrow[1] + 0.06), dice.choice(materials.low_walls))
    house.box(
        (0, 0.4, 0),
        (narrow[0], height - 0.4, narrow[1]),
        _windows(dice, narrow, storeys, dice.uniform(2.4, 3.6), window),
    )
    at = dice.uniform(-0.4, 0.4) * narrow[0]
    house.box((at, 0, narrow[1] / 2), (1.1, 2.2, 0.2), dice.choice(materials.doors))
    house.box((at, 0, narrow[1] / 2 + 0.5), (1.6, 0.25, 1.0), dice.choice(materials.trims))
    _roof(house, dice, materials, narrow, height)
    if dice.chance(0.5):
        width = size[0] - narrow[0]
        side = Stand(
            stand.solids,
            *_beside(stand, shift - (narrow[0] / 2 + width / 2) * math.copysign(1, shift)),
            stand.yaw,
            stand.floor,
        )
        side.box((0, 0, -1.0), (width, 2.6, size[1] * 0.7), plain)
        side.box((0, 0, size[1] * 0.35 - 1.0), (width * 0.8, 2.2, 0.12), dice.choice(materials.doors))


def _beside(stand: Stand, along: float) -> Pair:
    return stand.x + math.cos(stand.yaw) * along, stand.z - math.sin(stand.yaw) * along


def garden_edge(stand: Stand, dice: Dice, materials: Fronts, width: float) -> None:
    """A hedge, wall or fence along the pavement with a gap for the door."""
    kind, gap = dice.integer(4), dice.uniform(1.2, 3.0)
    if kind == 3:
        return
    height = dice.uniform(0.5, 1.6)
    material = dice.choice(materials.hedge if kind == 0 else materials.low_walls)
    thick = 0.6 if kind == 0 else 0.2
    split = dice.uniform(-0.3, 0.3) * width
    for begin, end in ((-width / 2, split - gap / 2), (split + gap / 2, width / 2)):
        if end - begin < 0.3:
            continue
        stand.box((0.5 * (begin + end), 0, -thick / 2), (end - begin, height, thick), material)
        if kind == 2:
            stand.add(
                CYLINDER, (end if end == split - gap / 2 else begin, 0, -thick / 2), (0.4, height + 0.3, 0.4), material
            )
