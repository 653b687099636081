"""Ablations as a table, and as curves against the length of the video."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import Any

from openloger.benchmarking.ablations.plan import GUESS, Row
from openloger.errors import InputError
from openloger.evaluation.report import TableRows
from openloger.outputs import replace_file
from openloger.version import install_command

PANELS = (
    ("ate_percent", 1.0, "ATE, % of the path", "linear"),
    ("depth_abs_rel", 1.0, "depth AbsRel, one scale", "linear"),
    ("seconds", 1.0, "seconds", "log"),
    ("peak_bytes", 1e-6, "peak memory, MB", "linear"),
)
MARKERS = "osD^vP*Xp"
COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9")  # grey is the guess


def ablation_table(rows: Sequence[Row], *, note: str) -> TableRows:
    """Means over the worlds; `both`, the network as it is, stands out. `meter %`: how much windows disagree."""
    most = max((row.worlds for row in rows), default=0)
    header = ("variant", "frames", "ATE %", "× both", "AbsRel", "meter %", "seconds", "MB")
    lines = tuple(_line(row, most) for row in rows)
    marked = frozenset(number for number, row in enumerate(rows) if row.variant == "both")
    return TableRows(header, lines, marked, note)


def _line(row: Row, most: int) -> tuple[str, ...]:
    value = row.values
    peak = value["peak_bytes"]
    return (
        row.variant if row.worlds == most else f"{row.variant} ({row.worlds} of {most} worlds)",
        f"{row.frames:,}",
        _number(value["ate_percent"], 2),
        _number(row.ate_over_both, 2),
        _number(value["depth_abs_rel"], 3),
        _number(value["overlap_translation_percent"], 2),
        _number(value["seconds"], 2),
        _number(None if peak is None else peak / 1e6, 0),
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def need_matplotlib() -> None:
    """Raises InputError where it is not installed: better before the runs than after them."""
    if find_spec("matplotlib") is None:
        raise InputError(f"the curves need matplotlib: {install_command('evaluate')}")


def draw_ablations(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Errors, seconds and peak memory of every variant against length, as a PNG; a guess is dashed."""
    need_matplotlib()
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), sharex=True, layout="constrained")
    lengths = sorted({row.frames for row in rows})
    for axis, (name, unit, label, scale) in zip(axes.flat, PANELS, strict=True):
        _curves(axis, rows, name, unit)
        axis.set(xscale="log", yscale=scale, ylabel=label, xlabel="frames")
        axis.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.25)
        if scale == "linear":
            axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
        else:
            _name_decades(axis.yaxis)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=9)
    figure.suptitle("\n".join(wrap(title, 120)), fontsize=10)
    with replace_file(path, made_by="evaluate ablations") as draft:
        figure.savefig(draft, dpi=110)
    plt.close(figure)


def _curves(axis: Any, rows: Sequence[Row], name: str, unit: float) -> None:
    variants = list(dict.fromkeys(row.variant for row in rows if row.variant != GUESS))
    for number, variant in enumerate([*variants, GUESS]):
        known = [(row.frames, row.values[name]) for row in rows if row.variant == variant]
        points = [(frames, unit * value) for frames, value in known if value is not None]
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
        guess = {"color": "0.5", "linestyle": "--"}
        if points:
            axis.plot(*zip(*points, strict=True), label=variant, **(guess if variant == GUESS else style))


def _name_decades(axis: Any) -> None:
    """Plain numbers at 1, 2 and 5 of every power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
