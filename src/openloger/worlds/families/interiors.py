"""Materials and light of interiors: walls, floors, ceilings, furniture, lamps.

Colours follow what rooms are like: most walls are white, grey or pale and hardly textured, most floors grey or brown,
and a few things have strong colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from openloger.worlds.families.furniture import Fabrics
from openloger.worlds.random import Dice
from openloger.worlds.scene import Material, Pair, Triple, Zone
from openloger.worlds.surfaces import Colour, Paint, SurfaceBook, colour, scaled


@dataclass(frozen=True)
class Interior:
    """The materials of a house or a hall."""

    walls: list[Material]
    floors: list[Material]
    ceilings: list[Material]
    trims: list[Material]
    fabrics: Fabrics
    exposure: float  # of the camera in here


def interior(dice: Dice, book: SurfaceBook) -> Interior:
    """Random materials; a world keeps to one manner, so that some are plain all over and some are richly patterned."""
    rich = dice.uniform()
    return Interior(
        walls=[_wall(dice, book, rich) for _ in range(6)],
        floors=[_floor(dice, book, rich) for _ in range(4)],
        ceilings=[_ceiling(dice, book) for _ in range(2)],
        trims=[_plain(dice, book, room_colour(dice), gloss=0.2) for _ in range(3)],
        fabrics=_fabrics(dice, book),
        exposure=math.exp(dice.uniform(-0.55, 0.5)),
    )


def room_colour(dice: Dice) -> Colour:
    """A colour as walls have them: mostly white, then grey, pale, and now and then strong or dark."""
    draw = dice.uniform()
    if draw < 0.45:
        return colour(dice, hue=(0.05, 0.17), saturation=(0.0, 0.1), value=(0.8, 0.97))
    if draw < 0.65:
        return colour(dice, saturation=(0.0, 0.07), value=(0.35, 0.8))
    if draw < 0.87:
        return colour(dice, saturation=(0.08, 0.35), value=(0.5, 0.92))
    if draw < 0.95:
        return colour(dice, saturation=(0.45, 0.9), value=(0.35, 0.85))
    return colour(dice, saturation=(0.0, 0.4), value=(0.08, 0.3))


def _plain(dice: Dice, book: SurfaceBook, base: Colour, *, gloss: float = 0.0) -> Material:
    paint = Paint(base, scaled(base, dice.uniform(0.85, 1.0)), scaled(base, 0.6), dice.uniform(0.03, 0.15))
    return Material(
        book.make("plain", paint, detail=dice.uniform(0.0, 0.06), gloss=gloss), period=dice.uniform(0.8, 2.5)
    )


def _wall(dice: Dice, book: SurfaceBook, rich: float) -> Material:
    base = room_colour(dice)
    if dice.chance(0.65 - 0.5 * rich):
        return _plain(dice, book, base)
    pattern = dice.choice(
        ("plaster", "plaster", "concrete", "brick", "tiles", "wallpaper", "fabric", "stones", "planks")
    )
    strength = dice.uniform(0.1, 0.25 + 0.4 * rich)
    other = scaled(base, 1.0 + dice.uniform(-0.6, 0.3) * strength * 1.5)
    paint = Paint(base, other, scaled(base, 1.0 - dice.uniform(0.2, 0.7) * (0.3 + 0.7 * rich)), strength)
    return Material(book.make(pattern, paint, detail=0.3 * strength), period=dice.uniform(0.8, 2.6))


def _floor(dice: Dice, book: SurfaceBook, rich: float) -> Material:
    pattern = dice.choice(
        ("planks", "planks", "wood", "tiles", "tiles", "carpet", "carpet", "concrete", "concrete", "speckle", "plain")
    )
    if pattern in ("planks", "wood"):
        base = colour(dice, hue=(0.05, 0.11), saturation=(0.15, 0.6), value=(0.3, 0.85))
    elif dice.chance(0.7):
        base = colour(dice, hue=(0.05, 0.6), saturation=(0.0, 0.12), value=(0.25, 0.8))
    else:
        base = colour(dice, saturation=(0.1, 0.5), value=(0.2, 0.75))
    strength = dice.uniform(0.1, 0.3 + 0.35 * rich)
    gloss = 0.0 if pattern == "carpet" else dice.choice((0.0, 0.1, 0.35, 0.7))
    second, dark = (scaled(base, 1.0 - dice.uniform(0.2, most) * strength) for most in (1.2, 1.8))
    paint = Paint(base, second, dark, strength)
    surface = book.make(pattern, paint, detail=0.4 * strength, gloss=gloss)
    return Material(surface, period=dice.uniform(1.2, 3.0))


def _ceiling(dice: Dice, book: SurfaceBook) -> Material:
    base = colour(dice, saturation=(0.0, 0.06), value=(0.7, 0.97))
    paint = Paint(base, scaled(base, 0.95), scaled(base, dice.uniform(0.5, 0.85)), dice.uniform(0.03, 0.2))
    pattern = dice.choice(("plain", "panels", "panels", "plaster", "concrete"))
    return Material(book.make(pattern, paint, detail=0.05), period=2.4)


def _fabrics(dice: Dice, book: SurfaceBook) -> Fabrics:
    def many(count: int, patterns: tuple[str, ...], period: Pair, gloss: float, paint) -> list[Material]:
        return [
            Material(
                book.make(dice.choice(patterns), paint(), detail=dice.uniform(0.0, 0.25), gloss=gloss),
                period=dice.uniform(*period),
            )
            for _ in range(count)
        ]

    def shades(hue: Pair, saturation: Pair, value: Pair, contrast: Pair):
        def paint() -> Paint:
            base = colour(dice, hue=hue, saturation=saturation, value=value)
            other, strength = scaled(base, dice.uniform(0.55, 1.2)), dice.uniform(*contrast)
            return Paint(base, other, scaled(base, 0.5), strength)

        return paint

    def even(saturation: Pair, value: Pair):
        def paint() -> Paint:
            base = colour(dice, saturation=saturation, value=value)
            return Paint(base, scaled(base, 0.92), scaled(base, 0.6), dice.uniform(0.03, 0.15))

        return paint

    white = colour(dice, hue=(0.08, 0.14), saturation=(0.0, 0.12), value=(0.92, 1.0))
    timber = shades((0.04, 0.11), (0.2, 0.65), (0.2, 0.85), (0.15, 0.5))
    patterned = shades((0.0, 1.0), (0.05, 0.7), (0.15, 0.85), (0.1, 0.5))
    return Fabrics(
        wood=many(5, ("wood", "wood", "planks", "plain"), (0.4, 1.4), 0.2, timber),
        fabric=many(4, ("fabric", "wallpaper", "carpet"), (0.25, 0.8), 0.0, patterned)
        + many(6, ("plain", "plain", "plaster"), (0.4, 1.0), 0.0, even((0.0, 0.7), (0.1, 0.85))),
        metal=many(3, ("plain", "plain", "speckle"), (0.3, 0.8), 0.7, even((0.0, 0.08), (0.35, 0.8))),
        white=many(4, ("plain", "plain", "plaster"), (0.5, 1.0), 0.25, even((0.0, 0.08), (0.78, 0.98))),
        lacquer=many(8, ("plain",), (0.5, 1.0), 0.4, even((0.2, 0.95), (0.2, 0.9))),
        dark=many(3, ("plain", "plain", "plaster"), (0.3, 0.8), 0.3, even((0.0, 0.2), (0.05, 0.22))),
        stone=many(4, ("speckle", "marble", "plain", "concrete"), (0.6, 1.6), 0.7, even((0.0, 0.2), (0.1, 0.85))),
        card=many(2, ("plain", "plaster"), (0.5, 1.2), 0.0, shades((0.07, 0.1), (0.3, 0.5), (0.5, 0.75), (0.1, 0.3))),
        leaf=many(3, ("leaves", "plain"), (0.25, 0.5), 0.15, shades((0.2, 0.38), (0.3, 0.8), (0.2, 0.6), (0.3, 0.8))),
        covers=[book.picture("cover") for _ in range(10)],
        pages=[book.exact("page") for _ in range(4)],
        spines=[book.picture("spines") for _ in range(4)],
        pictures=[book.picture(dice.choice(("picture", "photo", "photo"))) for _ in range(10)],
        screens=[book.picture("screen", glow=dice.uniform(0.2, 0.8), gloss=0.5) for _ in range(3)],
        views=[book.exact("view", glow=dice.uniform(0.5, 1.6), gloss=0.3) for _ in range(2)],
        keys=book.make("keys", Paint((0.12, 0.12, 0.13), (0.8, 0.8, 0.8), (0.03, 0.03, 0.03), 0.2), detail=0.0),
        slats=many(3, ("slats",), (0.4, 0.8), 0.1, even((0.0, 0.15), (0.6, 0.95))),
        glow=Material(book.make("plain", Paint(white, white, white, 0.02), detail=0.0, glow=1.0)),
    )


def room_light(dice: Dice, low: Triple, high: Triple, *, day: float) -> Zone:
    """The light of a room between two corners (metres, y down): one lamp overhead, or a window at a side, or a ceiling
    full of light that throws no shadows. `day` is the strength of what comes from everywhere."""
    kind = dice.uniform()
    middle = [0.5 * (a + b) for a, b in zip(low, high, strict=True)]
    warm, turn = dice.uniform(-0.12, 0.3), dice.uniform(0.0, 2.0 * math.pi)
    tone = (1.0, 1.0 - 0.25 * warm, 1.0 - 0.85 * warm)
    side = dice.uniform(0.05, 0.35)
    base, shadow, strength = 0.35 + 0.35 * day, dice.uniform(0.5, 1.0), dice.uniform(0.6, 1.3)
    lamp = (middle[0] + dice.uniform(-0.8, 0.8), low[1] + 0.25, middle[2] + dice.uniform(-0.8, 0.8))
    if kind < 0.4:  # light from all over
        base, shadow, strength = dice.uniform(0.6, 1.1), 0.0, dice.uniform(0.1, 0.4)
    elif kind < 0.65:  # a window
        reach = 0.45
        lamp = (
            middle[0] + reach * (high[0] - low[0]) * math.sin(turn),
            low[1] + 1.0,
            middle[2] + reach * (high[2] - low[2]) * math.cos(turn),
        )
        side, shadow, strength = dice.uniform(0.2, 0.45), dice.uniform(0.3, 0.8), dice.uniform(0.8, 2.0)
    elif kind < 0.75:  # dim
        base *= 0.4
    return Zone(
        lamp=lamp,
        lamp_rgb=tuple(strength * channel for channel in tone),
        falloff=1.0 / dice.uniform(4.0, 16.0),
        ambient_up=tuple(base * channel for channel in tone),
        ambient_down=tuple(base * dice.uniform(0.45, 0.8) * channel for channel in tone),
        low=low,
        high=high,
        contact=dice.uniform(0.1, 0.45),
        shadow=shadow,
        side=(side * math.sin(turn), 0.0, side * math.cos(turn)),
        mirror=dice.choice((0.0, 0.0, 0.2, 0.3, 0.5)),
    )
