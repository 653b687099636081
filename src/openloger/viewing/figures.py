"""A recording in matplotlib figures, for notebooks and papers: returned, with no display and no state of pyplot's."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from openloger.errors import InputError
from openloger.recording import Recording
from openloger.version import install_command
from openloger.viewing.scene.display import GLOW, SPECTRUM, UNKNOWN, mean_up
from openloger.viewing.scene.plans import planes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_trajectory(recording: Recording) -> Figure:
    """The path from above and from the side, coloured from begin to end, in the recording's unit.

    Raises InputError where there is no frame yet, or matplotlib is not installed.
    """
    if len(recording) == 0:
        raise InputError(f"{recording.path} has no frames yet: nothing to plot")
    world_from_cam = recording.world_from_cam
    centres, up = world_from_cam[:, :3, 3], mean_up(world_from_cam)
    times_s = recording.timestamps_s - recording.timestamps_s[0]
    figure = _figure_class()(figsize=(10, 4), layout="constrained")
    from_above, from_the_side = figure.subplots(1, 2)
    above, side = planes(centres, up)
    _path(from_above, above.xy(centres), times_s, title="from above")
    drawn = _path(from_the_side, side.xy(centres), times_s, title="from the side")
    figure.colorbar(drawn, ax=figure.axes, label="seconds", shrink=0.8)
    return figure


def plot_depth(recording: Recording, number: int) -> Figure:
    """A frame, its depth (even in 1 / depth, between its 2nd and 98th percentile) and its confidence.

    Raises InputError where there is no such frame, or matplotlib is not installed.
    """
    if not 0 <= number < len(recording):
        raise InputError(f"{recording.path} has no frame {number}: its {len(recording)} frames are numbered from 0")
    frame = recording.frame(number)
    figure = _figure_class()(figsize=(12, 3.4), layout="constrained")
    picture, depth, confidence = figure.subplots(1, 3)
    picture.imshow(frame.rgb)
    picture.set_title(f"frame {number}, {frame.timestamp_s - recording.timestamps_s[0]:.2f} s", loc="left", fontsize=10)
    _depth(depth, frame.depth)
    shown = confidence.imshow(frame.confidence, cmap=_colours(SPECTRUM), vmin=0, vmax=1)
    figure.colorbar(shown, ax=confidence, shrink=0.85)
    confidence.set_title("confidence", loc="left", fontsize=10)
    for axis in (picture, depth, confidence):
        axis.set_axis_off()
    return figure


@cache
def _figure_class() -> type[Figure]:
    """A figure that notebooks show whether or not pyplot was ever imported.

    Raises InputError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"plots need the package matplotlib: {install_command('view')}") from error

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            data = io.BytesIO()
            self.savefig(data, format="png", dpi=110)
            return data.getvalue()

    return NotebookFigure


def _path(axis: Axes, xy: np.ndarray, times_s: np.ndarray, *, title: str) -> Any:
    from matplotlib.collections import LineCollection

    drawn = LineCollection(
        list(np.stack([xy[:-1], xy[1:]], 1)), cmap=_colours(SPECTRUM), array=times_s[:-1], linewidths=2
    )
    drawn.set_clim(0.0, max(float(times_s[-1]), 1e-9))
    axis.add_collection(drawn)
    axis.set_title(title, loc="left", fontsize=10)
    axis.plot(*xy[0], "o", color=_unit(SPECTRUM[0]), label="begin")
    axis.plot(*xy[-1], "s", color=_unit(SPECTRUM[-1]), label="end")
    axis.set_aspect("equal", adjustable="datalim")
    axis.autoscale_view()
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
    return drawn


def _depth(axis: Axes, depth: np.ndarray) -> None:
    known = np.isfinite(depth) & (depth > 0)
    nearness = np.where(known, 1 / np.where(known, depth, 1), np.nan)
    low, high = np.nanpercentile(nearness, [2, 98]).tolist() if known.any() else (0.0, 1.0)
    shown = axis.imshow(nearness, cmap=_colours(GLOW), vmin=low, vmax=high)
    axis.set_title("depth", loc="left", fontsize=10)
    bar = axis.figure.colorbar(shown, ax=axis, shrink=0.85)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{1 / value:.3g}" if value > 0 else "")


def _colours(table: tuple[tuple[int, int, int], ...]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("openloger", [_unit(colour) for colour in table])
    return colours.with_extremes(bad=_unit(UNKNOWN))


def _unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = (channel / 255 for channel in colour)
    return red, green, blue
