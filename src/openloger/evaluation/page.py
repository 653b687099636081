"""One HTML page that explains the numbers: tables, the path over the truth, error along it, depth side by side.

It holds everything it shows: no scripts, no links to be loaded.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openloger.evaluation.gather import ExampleFrame
from openloger.evaluation.measure import Measured
from openloger.evaluation.report import ROWS, TableRows
from openloger.evaluation.trajectory import centre_distances, distance_along
from openloger.pages import Line, bar_plot, code, depth_colours, document, image_tag, line_plot, row, section, table

GLIMPSES = 3


@dataclass(frozen=True, eq=False)
class Section:
    """One sequence on the page."""

    name: str
    measured: Measured | None
    fault: str | None = None


def page(title: str, sections: Sequence[Section], *, tables: Sequence[tuple[str, TableRows]], made_with: str) -> str:
    """The whole page as text. `tables` come first, each under its heading; `made_with` is shown at the end."""
    parts = [section(heading, [html_table(rows)]) for heading, rows in tables]
    parts += [_section(one) for one in sections]
    return document(title, [*parts, section("Made with", [code(made_with)])])


def html_table(rows: TableRows) -> str:
    """The header, then the rows; rows that are ours stand out."""
    return table(rows.header, rows.rows, ours=rows.ours, note=rows.note)


def _section(shown: Section) -> str:
    if shown.measured is None:
        fault = html.escape(shown.fault or "not measured")
        return section(shown.name, [f'<p class="fault">{fault}</p>'])
    measured = shown.measured
    plots = [path_plot(measured), error_plot(measured)]
    if measured.scale_drift is not None:
        drift = measured.scale_drift
        plots.append(
            line_plot(
                [Line("scale", np.array(drift.at), np.array(drift.scale))],
                x_label="along the path, m",
                y_label="scale here / scale of the whole",
            )
        )
    if measured.calibration is not None:
        names = [f"{value:.2f}" for value in measured.calibration.confidence]
        error = measured.calibration.error
        plots.append(bar_plot(error, names, x_label="confidence", y_label="relative depth error, mean"))
    scale = measured.depth[measured.settings.depth_alignment].scale if measured.depth else 1.0
    depths = [_glimpse(glimpse, scale) for glimpse in _spread_out(measured.gathered.glimpses)]
    numbers = html_table(TableRows(("", "", ""), _number_rows(measured)))
    return section(shown.name, [row(plots), row(depths, "depths"), numbers])


def path_plot(measured: Measured) -> str:
    """The true path and the aligned one from above: in the plane in which the true one spreads most."""
    truth = measured.gathered.truth[:, :3, 3]
    centre = truth.mean(axis=0)
    _, _, axes = np.linalg.svd(truth - centre, full_matrices=False)
    paths = (("truth", truth), ("estimate", measured.aligned.world_from_cam[:, :3, 3]))
    lines = [Line(name, (path - centre) @ axes[0], (path - centre) @ axes[1]) for name, path in paths]
    return line_plot(lines, x_label="m", y_label="m", equal=True)


def error_plot(measured: Measured) -> str:
    """Each camera's distance from the truth, along the true path."""
    truth = measured.gathered.truth
    error = centre_distances(measured.aligned.world_from_cam, truth)
    lines = [Line("error", distance_along(truth), error)]
    return line_plot(lines, x_label="along the path, m", y_label="distance from the truth, m", from_zero=True)


def _glimpse(glimpse: ExampleFrame, scale: float) -> str:
    known = glimpse.truth[glimpse.truth > 0]
    if len(known) == 0:
        return ""
    near, far = (float(value) for value in np.quantile(known, (0.02, 0.98)))
    estimated, truth = (
        depth_colours(depth, near=near, far=far) for depth in (glimpse.estimated * scale, glimpse.truth)
    )
    name = f"frame {glimpse.index}"
    return (
        image_tag(glimpse.rgb, name)
        + image_tag(estimated, f"{name}, estimated depth, scaled")
        + image_tag(truth, f"{name}, true depth, {near:.2f} to {far:.2f} m")
    )


def _spread_out(glimpses: Sequence[ExampleFrame]) -> list[ExampleFrame]:
    if len(glimpses) <= GLIMPSES:
        return list(glimpses)
    return [glimpses[round(number)] for number in np.linspace(0, len(glimpses) - 1, GLIMPSES)]


def _number_rows(measured: Measured) -> tuple[tuple[str, ...], ...]:
    numbers: dict[str, Any] = measured.numbers()
    return tuple(
        (what, f"{numbers[name]:.{digits}f}", unit)
        for name, what, unit, digits in ROWS
        if numbers.get(name) is not None
    )
