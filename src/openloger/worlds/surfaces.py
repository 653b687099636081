"""A world's surfaces: which pattern of the atlas, in which colours, how glossy; one row of a float32 table each."""

from __future__ import annotations

import colorsys
from typing import NamedTuple

import numpy as np

from openloger.shapes import Float32
from openloger.worlds import photos, textures
from openloger.worlds.random import Dice
from openloger.worlds.scene import Number

Colour = tuple[Number, Number, Number]


class SurfaceColumn:
    """Where a surface's numbers stand in its row."""

    LAYER = 0
    DETAIL_LAYER = 1
    DETAIL_RATIO = 2  # detail periods per pattern period
    DETAIL = 3  # strength of the detail's brightness
    MATRIX = 4  # 3×4: colour = matrix · (red, green, blue, 1) of the pattern
    GLOSS = 16
    GLOW = 17  # own light: 0 none, 1 a lamp or a screen
    COUNT = 18


class Paint(NamedTuple):
    """Colours of a mask pattern (sRGB 0..1) and how strongly its brightness channel shows."""

    first: Colour
    second: Colour
    dark: Colour
    contrast: Number = 0.5


def colour(
    dice: Dice,
    *,
    hue: tuple[Number, Number] = (0.0, 1.0),
    saturation: tuple[Number, Number],
    value: tuple[Number, Number],
) -> Colour:
    """A random colour within ranges of hue, saturation and value (all 0..1; hue wraps)."""
    return colorsys.hsv_to_rgb(dice.uniform(*hue) % 1.0, dice.uniform(*saturation), dice.uniform(*value))


def scaled(base: Colour, factor: Number) -> Colour:
    """The colour made darker or lighter, within 0..1."""
    return tuple(min(max(channel * factor, 0.0), 1.0) for channel in base)  # pyright: ignore[reportReturnType]


def blend(one: Colour, other: Colour, share: Number) -> Colour:
    """The colour `share` of the way from one to another."""
    return tuple(a + (b - a) * share for a, b in zip(one, other, strict=True))  # pyright: ignore[reportReturnType]


class SurfaceBook:
    """Collects a world's surfaces; `make` and `picture` give the number to put into a `Material`.

    With `source` other than PROCEDURAL, about half of the patterns that photographs can stand for are photographs, in
    their own colours or in the paint's; all else of the world stays as it is.
    """

    def __init__(self, dice: Dice, source: str = photos.PROCEDURAL) -> None:
        self._dice, self._photos = dice, source != photos.PROCEDURAL
        self._rows: list[list[float]] = []
        self._layers = textures.layer_numbers()

    def make(
        self, pattern: str, paint: Paint, *, detail: Number = 0.35, gloss: Number = 0.0, glow: Number = 0.0
    ) -> int:
        """A surface of one pattern's random variant, painted; its number."""
        first, second, dark = (np.array(c) for c in (paint.first, paint.second, paint.dark))
        bright = np.full(3, paint.contrast) * (0.5 * (first + second) * 0.8 + 0.1)
        matrix = np.stack([second - first, dark - first, bright, first - 0.5 * bright], axis=1)
        number = self._append(self._dice.choice(self._layers[pattern]), matrix, detail, gloss, glow)
        if self._photos:
            self._show_photo(number, pattern, paint)
        return number

    def _show_photo(self, number: int, pattern: str, paint: Paint) -> None:
        """Puts a photograph in the place of the pattern just made, or leaves it."""
        dice, choices = Dice(number, 1401, int(1e6 * sum(paint.first))), photos.pictures_of(pattern)
        if not choices or dice.chance(0.4):
            return
        chosen = dice.choice(choices)
        mean = photos.mean_colours()[chosen]
        share = dice.uniform() if dice.chance(0.7) else 0.0  # of the way to the paint's colour
        tint = (np.array(paint.first) / np.maximum(mean, 0.05)) ** share
        row = self._rows[number]
        row[SurfaceColumn.LAYER] = len(textures.layer_names()) + chosen
        row[SurfaceColumn.DETAIL] = 0.0
        row[SurfaceColumn.MATRIX : SurfaceColumn.GLOSS] = (np.diag(tint) @ np.eye(3, 4)).ravel().tolist()

    def exact(self, pattern: str, *, gloss: Number = 0.1, glow: Number = 0.0) -> int:
        """A surface that shows a print of the atlas in its own colours."""
        matrix = np.eye(3, 4) * self._dice.uniform(0.85, 1.0)
        return self._append(self._dice.choice(self._layers[pattern]), matrix, 0.0, gloss, glow)

    def picture(self, pattern: str = "picture", *, gloss: Number = 0.1, glow: Number = 0.0) -> int:
        """A surface that shows a print of the atlas, with its colours mixed anew."""
        dice = self._dice
        order = np.argsort([dice.uniform() for _ in range(3)])
        mixing = np.eye(3)[order] * dice.uniform(0.7, 1.0)
        mixing = mixing + dice.uniform(0.0, 0.2)
        matrix = np.concatenate([mixing / mixing.sum(axis=1, keepdims=True), np.zeros((3, 1))], axis=1)
        if dice.chance(0.15):  # the negative: white on dark
            matrix = np.concatenate([-matrix[:, :3], np.full((3, 1), 0.95)], axis=1)
        return self._append(dice.choice(self._layers[pattern]), matrix, 0.08, gloss, glow)

    def _append(self, layer: int, matrix: np.ndarray, detail: Number, gloss: Number, glow: Number) -> int:
        dice = self._dice
        detail_layer = dice.choice(self._layers[dice.choice(("plaster", "speckle", "speckle"))])
        ratio = dice.choice((2.7, 3.3, 4.3))
        self._rows.append([layer, detail_layer, ratio, detail, *matrix.ravel(), gloss, glow])
        return len(self._rows) - 1

    def table(self) -> Float32[np.ndarray, "surface column"]:
        return np.array(self._rows, dtype=np.float32)
