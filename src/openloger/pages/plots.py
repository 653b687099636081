"""Small plots as SVG: nothing to install, nothing to load; colours are the page's, by day and by night."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openloger.shapes import Float64

WIDTH, HEIGHT = 520, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 44
LEGEND = 22  # pixels above the plot, where there are several lines
MOST_POINTS = 2000  # of a line; more cannot be seen
MOST_DOTS = 80  # a line of fewer points shows each of them
COLOURS = 4  # of the style sheet: grey for what is compared with, then ours


@dataclass(frozen=True, eq=False)
class Line:
    """One curve; where y is not finite it is broken."""

    name: str
    x: Float64[np.ndarray, " point"]
    y: Float64[np.ndarray, " point"]


def line_plot(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    equal: bool = False,
    from_zero: bool = False,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> str:
    """An SVG of some curves; with `equal` both axes have one scale, as a map's must. `size` is (height, width)."""
    y = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    x = np.concatenate([line.x for line in lines])
    top = TOP + (LEGEND if len(lines) > 1 else 0)
    frame = PlotArea.around(x, np.append(y, 0.0) if from_zero else y, equal=equal, size=size, top=top)
    parts = [axes(frame, x_label, y_label)]
    for number, line in enumerate(lines):
        colour = (number + (len(lines) == 1)) % COLOURS
        parts += [_curve(frame, run, colour) for run in _unbroken(line)]
        if len(lines) > 1:
            at = LEFT + 130 * number
            parts.append(f'<line x1="{at}" y1="14" x2="{at + 20}" y2="14" class="s{colour}" stroke-width="2.5"/>')
            parts.append(f'<text x="{at + 27}" y="18">{html.escape(line.name)}</text>')
    return svg(frame, parts)


def bar_plot(heights: Sequence[float], names: Sequence[str], *, x_label: str, y_label: str) -> str:
    """An SVG of bars from 0."""
    frame = PlotArea.around(np.array([0.0, float(len(heights))]), np.array([0.0, *heights]))
    parts = [axes(frame, x_label, y_label, x_numbers=False)]
    for number, height in enumerate(heights):
        left, right = frame.x(number + 0.1), frame.x(number + 0.9)
        top, bottom = frame.y(height), frame.y(0.0)
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" class="f1"/>'
        )
        middle, below, name = (left + right) / 2, frame.bottom + 16, html.escape(names[number])
        parts.append(f'<text x="{middle:.1f}" y="{below}" text-anchor="middle">{name}</text>')
    return svg(frame, parts)


@dataclass(frozen=True)
class PlotArea:
    """From values to places on the paper."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    height: int = HEIGHT
    width: int = WIDTH
    top: int = TOP

    @staticmethod
    def around(
        x: np.ndarray, y: np.ndarray, *, equal: bool = False, size: tuple[int, int] = (HEIGHT, WIDTH), top: int = TOP
    ) -> PlotArea:
        """Holds the values with a little room about them; of none, from 0 to 1."""
        x, y = (values if len(values) else np.array([0.0, 1.0]) for values in (x, y))
        (x_low, x_high), (y_low, y_high) = (_padded(float(v.min()), float(v.max())) for v in (x, y))
        frame = PlotArea(x_low, x_high, y_low, y_high, *size, top)
        return frame.with_equal_axes() if equal else frame

    def with_equal_axes(self) -> PlotArea:
        """With more room about one of the axes, so that both have one scale."""
        width, height = self.right - LEFT, self.bottom - self.top
        unit = max((self.x_high - self.x_low) / width, (self.y_high - self.y_low) / height)
        x_more = (unit * width - (self.x_high - self.x_low)) / 2
        y_more = (unit * height - (self.y_high - self.y_low)) / 2
        wide = (self.x_low - x_more, self.x_high + x_more, self.y_low - y_more, self.y_high + y_more)
        return PlotArea(*wide, self.height, self.width, self.top)

    @property
    def right(self) -> int:
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - LEFT)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.y_low) / (self.y_high - self.y_low) * (self.bottom - self.top)


def axes(frame: PlotArea, x_label: str, y_label: str, *, x_numbers: bool = True) -> str:
    """The grid, its numbers and what they are."""
    parts = []
    for value in ticks(frame.x_low, frame.x_high, most=7) if x_numbers else []:
        at = frame.x(value)
        parts.append(f'<line x1="{at:.1f}" y1="{frame.top}" x2="{at:.1f}" y2="{frame.bottom}" class="grid"/>')
        parts.append(f'<text x="{at:.1f}" y="{frame.bottom + 16}" text-anchor="middle">{value:g}</text>')
    for value in ticks(frame.y_low, frame.y_high, most=max(2, (frame.bottom - frame.top) // 38)):
        at = frame.y(value)
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{frame.right}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle_x, middle_y = (LEFT + frame.right) / 2, (frame.top + frame.bottom) / 2
    parts.append(f'<text x="{middle_x}" y="{frame.height - 7}" text-anchor="middle">{html.escape(x_label)}</text>')
    parts.append(
        f'<text x="13" y="{middle_y}" text-anchor="middle" transform="rotate(-90 13 {middle_y})">'
        f"{html.escape(y_label)}</text>"
    )
    return "".join(parts)


def ticks(low: float, high: float, *, most: int) -> list[float]:
    """Round numbers, no more than `most`."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def svg(frame: PlotArea, parts: Sequence[str]) -> str:
    """The drawing as a whole."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {frame.width} {frame.height}" width="{frame.width}" '
        f'height="{frame.height}" role="img">{"".join(parts)}</svg>'
    )


def _curve(frame: PlotArea, line: Line, colour: int) -> str:
    every = max(1, -(-len(line.x) // MOST_POINTS))
    shown = [*range(0, len(line.x), every)]
    shown += [len(line.x) - 1] if shown[-1] != len(line.x) - 1 else []
    places = [(frame.x(line.x[i]), frame.y(line.y[i])) for i in shown]
    drawn = f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" class="s{colour}"/>'
    if len(line.x) > MOST_DOTS:
        return drawn
    return drawn + "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" class="f{colour}"/>' for x, y in places)


def _unbroken(line: Line) -> list[Line]:
    """The stretches of a line that can be drawn."""
    known = np.flatnonzero(np.isfinite(line.y))
    runs = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    return [Line(line.name, line.x[run], line.y[run]) for run in runs if len(run)]


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.03 * (high - low) or 0.5 * abs(high) or 0.5
    return low - pad if low != 0 else low, high + pad
