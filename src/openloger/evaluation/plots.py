"""Small plots as SVG, and depth maps as PNG inside the page: nothing to install, nothing to load."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openloger.shapes import Float, Float64, UInt8

WIDTH, HEIGHT = 520, 360
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 14, 44
MOST_POINTS = 2000  # of a line; more cannot be seen
COLOURS = ("#8a8f98", "#c2410c", "#1d4ed8", "#15803d")
# Of a colour map from near (yellow) to far (dark violet), in even steps
DEPTH_COLOURS = ((253, 231, 37), (122, 209, 81), (34, 168, 132), (42, 120, 142), (65, 68, 135), (68, 1, 84))


@dataclass(frozen=True, eq=False)
class Line:
    """One curve."""

    name: str
    x: Float64[np.ndarray, " point"]
    y: Float64[np.ndarray, " point"]


def line_plot(
    lines: Sequence[Line], *, x_label: str, y_label: str, equal: bool = False, from_zero: bool = False
) -> str:
    """An SVG of some curves; with `equal` both axes have one scale, as a map's must."""
    x = np.concatenate([line.x for line in lines])
    y = np.concatenate([line.y for line in lines])
    frame = _Frame.around(x, np.append(y, 0.0) if from_zero else y, equal=equal)
    parts = [_axes(frame, x_label, y_label)]
    for number, line in enumerate(lines):
        colour = COLOURS[(number + (len(lines) == 1)) % len(COLOURS)]
        every = max(1, -(-len(line.x) // MOST_POINTS))
        shown = [*range(0, len(line.x), every)]
        shown += [len(line.x) - 1] if len(line.x) and shown[-1] != len(line.x) - 1 else []
        points = " ".join(f"{frame.x(line.x[i]):.1f},{frame.y(line.y[i]):.1f}" for i in shown)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if len(lines) > 1:
            at = TOP + 16 + 17 * number
            parts.append(f'<line x1="{WIDTH - 150}" y1="{at - 4}" x2="{WIDTH - 130}" y2="{at - 4}" stroke="{colour}"/>')
            parts.append(f'<text x="{WIDTH - 124}" y="{at}">{html.escape(line.name)}</text>')
    return _svg(parts)


def bar_plot(heights: Sequence[float], names: Sequence[str], *, x_label: str, y_label: str) -> str:
    """An SVG of bars from 0."""
    frame = _Frame.around(np.array([0.0, float(len(heights))]), np.array([0.0, *heights]), equal=False)
    parts = [_axes(frame, x_label, y_label, x_numbers=False)]
    for number, height in enumerate(heights):
        left, right = frame.x(number + 0.1), frame.x(number + 0.9)
        top, bottom = frame.y(height), frame.y(0.0)
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
            f'fill="{COLOURS[1]}"/>'
        )
        middle, below, name = (left + right) / 2, HEIGHT - BOTTOM + 15, html.escape(names[number])
        parts.append(f'<text x="{middle:.1f}" y="{below}" text-anchor="middle">{name}</text>')
    return _svg(parts)


def depth_colours(
    depth: Float[np.ndarray, "height width"], *, near: float, far: float
) -> UInt8[np.ndarray, "height width 3"]:
    """Inverse depth in colours, yellow near and violet far; black where there is none."""
    known = np.isfinite(depth) & (depth > 0)
    inverse = 1 / np.where(known, depth, 1)
    share = ((1 / near - inverse) / max(1 / near - 1 / far, 1e-12)).clip(0, 1) * (len(DEPTH_COLOURS) - 1)
    low = np.floor(share).astype(int).clip(0, len(DEPTH_COLOURS) - 2)
    table = np.array(DEPTH_COLOURS, dtype=np.float64)
    mixed = table[low] + (share - low)[..., None] * (table[low + 1] - table[low])
    return np.where(known[..., None], mixed.round(), 0).astype(np.uint8)


def image_tag(rgb: UInt8[np.ndarray, "height width 3"], title: str) -> str:
    """A picture within the page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    said = html.escape(title, quote=True)
    return f'<figure><img alt="{said}" src="data:image/png;base64,{data}"><figcaption>{said}</figcaption></figure>'


@dataclass(frozen=True)
class _Frame:
    """From values to places on the paper."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @staticmethod
    def around(x: np.ndarray, y: np.ndarray, *, equal: bool) -> _Frame:
        (x_low, x_high), (y_low, y_high) = (_padded(float(v.min()), float(v.max())) for v in (x, y))
        if equal:
            width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
            unit = max((x_high - x_low) / width, (y_high - y_low) / height)
            x_more = (unit * width - (x_high - x_low)) / 2
            y_more = (unit * height - (y_high - y_low)) / 2
            x_low, x_high, y_low, y_high = x_low - x_more, x_high + x_more, y_low - y_more, y_high + y_more
        return _Frame(x_low, x_high, y_low, y_high)

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.03 * (high - low) or 0.5 * abs(high) or 0.5
    return low - pad if low != 0 else low, high + pad


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, four to nine of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axes(frame: _Frame, x_label: str, y_label: str, *, x_numbers: bool = True) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value in _ticks(frame.x_low, frame.x_high) if x_numbers else []:
        at = frame.x(value)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>')
    for value in _ticks(frame.y_low, frame.y_high):
        at = frame.y(value)
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle_x, middle_y = (LEFT + right) / 2, (TOP + bottom) / 2
    parts.append(f'<text x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x_label)}</text>')
    parts.append(
        f'<text x="14" y="{middle_y}" text-anchor="middle" transform="rotate(-90 14 {middle_y})">'
        f"{html.escape(y_label)}</text>"
    )
    return "".join(parts)


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img">{"".join(parts)}</svg>'
    )
