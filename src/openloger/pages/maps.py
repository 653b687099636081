"""Paths on a plan: both axes at one scale, coloured from begin to end, over a picture of what was seen."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openloger.pages.plots import BOTTOM, LEFT, RIGHT, TOP, PlotArea, axes, svg
from openloger.shapes import Float64, UInt8

WIDTH = 540
LEAST_HEIGHT, MOST_HEIGHT = 190, 560
MOST_VERTICES = 1200
STRETCHES = 48  # of one colour each


@dataclass(frozen=True, eq=False)
class Route:
    """A path on the plan, with a colour for each of its points."""

    xy: Float64[np.ndarray, "point 2"]
    rgb: UInt8[np.ndarray, "point 3"]


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A picture that lies under the path: an address, and where its left, bottom, right and top edges are."""

    uri: str
    edges: tuple[float, float, float, float]


def map_plot(
    route: Route,
    *,
    edges: tuple[float, float, float, float],
    x_label: str,
    y_label: str,
    backdrop: Backdrop | None = None,
    ticks: Sequence[Float64[np.ndarray, "end 2"]] = (),
    beside: Float64[np.ndarray, "point 2"] | None = None,
    before: Float64[np.ndarray, "place 2"] | None = None,
    links: Sequence[Float64[np.ndarray, "2 2"]] = (),
) -> str:
    """An SVG of the plan within `edges` (left, bottom, right, top). `ticks` are short lines such as where cameras
    look; `beside` is a path to compare with, dashed; `before` one that was corrected to this, dotted; `links` are
    straight lines between places that are one, dotted too.
    """
    frame = _frame(edges)
    parts = [f'<clipPath id="{_clip(frame)}">{_sheet(frame)}</clipPath>', axes(frame, x_label, y_label)]
    within = []
    if backdrop is not None:
        within.append(_picture(frame, backdrop))
    if beside is not None and (known := beside[np.isfinite(beside).all(1)]).size:
        within.append(f'<polyline points="{_points(frame, known)}" class="s0 dashed"/>')
    dotted = [*([] if before is None or len(before) == 0 else [before]), *links]
    within += [f'<polyline points="{_points(frame, line)}" class="s0 dotted"/>' for line in dotted]
    within.append(f'<polyline points="{_points(frame, route.xy)}" class="halo"/>')
    within += [f'<polyline points="{_points(frame, tick)}" class="s0" style="stroke-width:1"/>' for tick in ticks]
    within += _coloured(frame, route)
    within += _ends(frame, route)
    parts.append(f'<g clip-path="url(#{_clip(frame)})">{"".join(within)}</g>')
    return svg(frame, parts)


def fitted(edges: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The axes of a plan of these edges: more on two sides, where it would be too wide or too high for the page."""
    frame = _frame(edges)
    return frame.x_low, frame.y_low, frame.x_high, frame.y_high


def _frame(edges: tuple[float, float, float, float]) -> PlotArea:
    left, bottom, right, top = edges
    drawn_width = WIDTH - LEFT - RIGHT
    height = round(drawn_width * (top - bottom) / (right - left)) + TOP + BOTTOM
    height = min(max(height, LEAST_HEIGHT), MOST_HEIGHT)
    return PlotArea(left, right, bottom, top, height, WIDTH).with_equal_axes()


def _clip(frame: PlotArea) -> str:
    return f"map-{frame.height}-{frame.x_low:.6g}-{frame.y_low:.6g}".replace(".", "_").replace("+", "p")


def _sheet(frame: PlotArea) -> str:
    size = f'width="{frame.right - LEFT}" height="{frame.bottom - frame.top}"'
    return f'<rect x="{LEFT}" y="{frame.top}" {size}/>'


def _picture(frame: PlotArea, backdrop: Backdrop) -> str:
    left, bottom, right, top = backdrop.edges
    x, y = frame.x(left), frame.y(top)
    width, height = frame.x(right) - x, frame.y(bottom) - y
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'href="{html.escape(backdrop.uri, quote=True)}"/>'
    )


def _points(frame: PlotArea, xy: np.ndarray) -> str:
    shown = xy[np.unique(np.linspace(0, len(xy) - 1, min(len(xy), MOST_VERTICES)).round().astype(int))]
    return " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in shown.tolist())


def _coloured(frame: PlotArea, route: Route) -> list[str]:
    """Stretches that meet; each has the colour of its middle."""
    bounds = np.unique(np.linspace(0, len(route.xy) - 1, STRETCHES + 1).round().astype(int))
    parts = []
    for start, stop in itertools.pairwise(bounds):
        red, green, blue = route.rgb[(start + stop) // 2].tolist()
        points = _points(frame, route.xy[start : stop + 1])
        parts.append(f'<polyline points="{points}" style="stroke:rgb({red},{green},{blue});stroke-width:2.6"/>')
    return parts


def _ends(frame: PlotArea, route: Route) -> list[str]:
    """A disc where the path begins, a square where it ends."""
    if len(route.xy) == 0:
        return []
    (x0, y0), (x1, y1) = ((frame.x(x), frame.y(y)) for x, y in route.xy[[0, -1]].tolist())
    fill = ["rgb({},{},{})".format(*route.rgb[at].tolist()) for at in (0, -1)]
    return [
        f'<rect x="{x1 - 5:.1f}" y="{y1 - 5:.1f}" width="10" height="10" fill="{fill[1]}" class="end">'
        "<title>end</title></rect>",
        f'<circle cx="{x0:.1f}" cy="{y0:.1f}" r="5.5" fill="{fill[0]}" class="end"><title>begin</title></circle>',
    ]
