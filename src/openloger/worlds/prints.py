"""Layers of the texture atlas that hold colours: posters, pages, covers, rows of books, screens, views, all made up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openloger.worlds.patterns import Canvas, soft_step
from openloger.worlds.random import uniform


def _colour(canvas: Canvas, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.array([canvas.dice.uniform(low, high) for _ in range(3)])


def _finish(canvas: Canvas, image: np.ndarray, gloss: float = 0.3) -> np.ndarray:
    return canvas.stack(image[..., 0], image[..., 1], image[..., 2], gloss)


def _over(image: np.ndarray, where: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.where(where[..., None], colour, image)


def _block(canvas: Canvas, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return (canvas.u > x0) & (canvas.u < x1) & (canvas.v > y0) & (canvas.v < y1)


def picture(canvas: Canvas) -> np.ndarray:
    """A poster or page: blocks of colour, a photograph of noise, headlines and lines of text-like marks."""
    dice, size = canvas.dice, canvas.size
    paper = (
        np.array([dice.uniform(0.1, 1.0) for _ in range(3)]) if dice.chance(0.5) else np.full(3, dice.uniform(0.8, 1.0))
    )
    ink = np.array([dice.uniform(0.0, 0.5) for _ in range(3)])
    image = np.broadcast_to(paper, (size, size, 3)).copy()
    for _ in range(dice.integer(4) + 1):
        x0, y0 = dice.uniform(0, 0.7), dice.uniform(0, 0.7)
        x1, y1 = x0 + dice.uniform(0.15, 0.6), y0 + dice.uniform(0.1, 0.5)
        block = (canvas.u > x0) & (canvas.u < x1) & (canvas.v > y0) & (canvas.v < y1)
        colours = np.array([[dice.uniform() for _ in range(3)] for _ in range(2)])
        mix = soft_step(canvas.octaves(dice.integer(100), dice.choice((2, 4, 8)), 5), 0.5, 0.4)[..., None]
        image = np.where(block[..., None], colours[0] + (colours[1] - colours[0]) * mix, image)
    for _ in range(dice.integer(3) + 1):
        lines, x0, y0 = dice.choice((4, 6, 10, 16)), dice.uniform(0.04, 0.4), dice.uniform(0.05, 0.7)
        image = _over(image, _text(canvas, x0, y0, dice.uniform(0.3, 0.6), dice.uniform(0.1, 0.5), lines), ink)
    rim = np.minimum(np.minimum(canvas.u, 1 - canvas.u), np.minimum(canvas.v, 1 - canvas.v)) < 0.025
    return _finish(canvas, _over(image, rim & dice.chance(0.5), ink))


def _text(canvas: Canvas, x0: float, y0: float, width: float, height: float, lines: int) -> np.ndarray:
    """Rows of dark marks of uneven length, like print read from too far away."""
    x, y = (canvas.u - x0) / width, (canvas.v - y0) / height
    row = np.floor(y * lines).astype(int)
    letter = np.floor(x * lines * 6 * width / max(height, 0.1)).astype(int)
    mark = uniform(canvas.seed, 77, row, letter, np.floor(y * lines * 5).astype(int)) > 0.35
    word = uniform(canvas.seed, 78, row, letter // 3) > 0.15
    ends = uniform(canvas.seed, 79, row) * 0.3 + 0.7
    return (x > 0) & (x < ends) & (y > 0) & (y < 1) & ((y * lines) % 1 < 0.62) & mark & word


def page(canvas: Canvas) -> np.ndarray:
    """A sheet of print: white, a headline, one or two columns of text, perhaps a figure."""
    dice = canvas.dice
    paper, ink = np.full(3, dice.uniform(0.88, 1.0)), np.full(3, dice.uniform(0.05, 0.35))
    image = np.broadcast_to(paper, (canvas.size, canvas.size, 3)).copy()
    image = _over(image, _text(canvas, 0.08, 0.06, dice.uniform(0.4, 0.8), 0.09, dice.choice((1, 2))), ink)
    columns = dice.choice((1, 1, 2))
    for column in range(columns):
        wide, lines = 0.86 / columns - 0.04, dice.choice((14, 20, 26))
        image = _over(image, _text(canvas, 0.08 + column * 0.44, 0.2, wide, 0.72, lines), ink)
    if dice.chance(0.5):
        x0, y0 = dice.choice((0.08, 0.4)), dice.uniform(0.2, 0.6)
        shade = canvas.octaves(3, 3, 5)[..., None] * _colour(canvas, 0.2, 1.0)
        image = np.where(_block(canvas, x0, y0, x0 + 0.45, y0 + 0.3)[..., None], shade, image)
    return _finish(canvas, image, 0.1)


def cover(canvas: Canvas) -> np.ndarray:
    """A book's or a box's front: one colour, bands, a title, a picture."""
    dice = canvas.dice
    ground = _colour(canvas, 0.05, 0.95) if dice.chance(0.7) else np.full(3, dice.uniform(0.1, 0.95))
    ink = np.full(3, 0.95) if ground.mean() < 0.5 else _colour(canvas, 0.0, 0.4)
    image = np.broadcast_to(ground, (canvas.size, canvas.size, 3)).copy()
    band = dice.uniform(0.0, 0.8)
    image = _over(image, _block(canvas, 0.0, band, 1.0, band + dice.uniform(0.05, 0.3)), _colour(canvas))
    if dice.chance(0.6):
        image = np.where(_block(canvas, 0.12, 0.35, 0.88, 0.8)[..., None], _scene(canvas), image)
    image = _over(image, _text(canvas, 0.1, dice.uniform(0.05, 0.2), 0.8, 0.12, 1), ink)
    image = _over(image, _text(canvas, 0.2, dice.uniform(0.8, 0.88), 0.5, 0.08, 2), ink)
    return _finish(canvas, image, 0.4)


def spines(canvas: Canvas) -> np.ndarray:
    """Books side by side: spines of uneven width, height and colour, with titles; dark between them."""
    count = canvas.dice.choice((8, 11, 15))
    bent = canvas.u + 0.3 / count * np.sin(2 * np.pi * canvas.u * canvas.dice.choice((2, 3)))
    book = np.floor(bent * count).astype(int) % count
    part = bent * count % 1.0
    hue = np.stack([uniform(canvas.seed, 20 + channel, book) for channel in range(3)], axis=-1)
    grey = uniform(canvas.seed, 24, book)[..., None]
    image = 0.08 + 0.87 * (grey + (0.2 + 0.6 * uniform(canvas.seed, 25, book)[..., None]) * (hue - grey))
    image = image * (0.75 + 0.25 * np.sin(np.pi * part))[..., None]
    label = np.abs(canvas.v - 0.3 - 0.4 * uniform(canvas.seed, 26, book)) < 0.16
    mark = (uniform(canvas.seed, 27, book, np.floor(canvas.v * 40).astype(int)) > 0.4) & (np.abs(part - 0.5) < 0.25)
    image = _over(image, label & mark, np.full(3, canvas.dice.choice((0.9, 0.1))))
    top = 0.35 * uniform(canvas.seed, 28, book) ** 2
    return _finish(canvas, _over(image, (canvas.v < top) | (part < 0.05), np.full(3, 0.06)), 0.2)


def screen(canvas: Canvas) -> np.ndarray:
    """A display: a desktop with windows of text, or one picture."""
    dice = canvas.dice
    image = _scene(canvas)
    for _ in range(dice.integer(4)):
        x0, y0 = dice.uniform(0.0, 0.5), dice.uniform(0.0, 0.4)
        x1, y1 = x0 + dice.uniform(0.3, 0.6), y0 + dice.uniform(0.3, 0.6)
        light = dice.chance(0.6)
        image = _over(image, _block(canvas, x0, y0, x1, y1), np.full(3, 0.93 if light else 0.12))
        image = _over(image, _block(canvas, x0, y0, x1, y0 + 0.04), _colour(canvas, 0.1, 0.8))
        text = _text(canvas, x0 + 0.02, y0 + 0.06, x1 - x0 - 0.05, y1 - y0 - 0.1, dice.choice((8, 14)))
        image = _over(image, text, np.full(3, 0.2 if light else 0.8))
    return _finish(canvas, _over(image, canvas.v > 0.96, np.full(3, 0.15)), 0.5)


def view(canvas: Canvas) -> np.ndarray:
    """The view through a window: a bright sky over trees and house fronts, out of focus."""
    dice = canvas.dice
    line = dice.uniform(0.35, 0.8) + 0.2 * (canvas.octaves(1, 3, 4)[:1] - 0.5)
    sky = np.array([0.85, 0.93, 1.0]) * dice.uniform(0.85, 1.0) + 0.1 * canvas.octaves(2, 2, 3)[..., None]
    green = np.array([0.45, 0.55, 0.35]) + 0.35 * (canvas.octaves(3, 12, 4)[..., None] - 0.4)
    image = np.where((canvas.v > line)[..., None], green, sky)
    for _ in range(dice.integer(3)):
        x0, y0 = dice.uniform(0.0, 0.7), dice.uniform(0.2, 0.6)
        panes = (canvas.u * 24 % 1 > 0.45) & (canvas.v * 18 % 1 > 0.4)
        front = np.where(panes[..., None], 0.45, _colour(canvas, 0.55, 0.95))
        image = np.where(_block(canvas, x0, y0, x0 + dice.uniform(0.2, 0.4), 1.0)[..., None], front, image)
    return _finish(canvas, image, 0.6)


def photo(canvas: Canvas) -> np.ndarray:
    """A picture for a wall: a made-up landscape or shapes, within a white rim."""
    rim = np.minimum(np.minimum(canvas.u, 1 - canvas.u), np.minimum(canvas.v, 1 - canvas.v)) < canvas.dice.choice(
        (0.0, 0.06, 0.14)
    )
    return _finish(canvas, _over(_scene(canvas), rim, np.full(3, 0.93)), 0.3)


def _scene(canvas: Canvas) -> np.ndarray:
    """Layers of hills under a sky, or soft discs and strokes on a ground; (size, size, 3)."""
    dice = canvas.dice
    image = _colour(canvas, 0.3, 1.0) + (canvas.v[..., None] - 0.5) * _colour(canvas, -0.6, 0.6)
    image = image + 0.25 * (canvas.octaves(40, 4, 5)[..., None] - 0.5)
    if dice.chance(0.5):
        for layer in range(3):
            line = 0.35 + 0.2 * layer + 0.25 * (canvas.octaves(41 + layer, 3, 5)[layer] - 0.5)
            tone = _colour(canvas, 0.0, 0.8) * (0.7 + 0.6 * canvas.octaves(45 + layer, 16, 3)[..., None])
            image = np.where((canvas.v > line)[..., None], tone, image)
    else:
        for number in range(3 + dice.integer(5)):
            x, y, radius = dice.uniform(), dice.uniform(), dice.uniform(0.05, 0.3)
            away = np.hypot(canvas.u - x, (canvas.v - y) * dice.uniform(0.5, 2.0))
            weight = (1.0 - soft_step(away, radius, dice.uniform(0.01, 0.2)))[..., None]
            tone = _colour(canvas) * (0.8 + 0.4 * canvas.octaves(50 + number, 12, 3)[..., None])
            image = image + (tone - image) * weight
    return np.clip(image, 0.0, 1.0)


Bake = Callable[[Canvas], np.ndarray]
PRINTS: dict[str, tuple[Bake, int]] = {
    "picture": (picture, 10),
    "page": (page, 5),
    "cover": (cover, 10),
    "spines": (spines, 5),
    "screen": (screen, 4),
    "view": (view, 4),
    "photo": (photo, 8),
}
