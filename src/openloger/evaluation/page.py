"""One HTML page that explains the numbers: tables, the path over the truth, error along it, depth side by side.

It holds everything it shows: no scripts, no links to be loaded.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openloger.evaluation.gather import Glimpse
from openloger.evaluation.measure import Measured
from openloger.evaluation.plots import Line, bar_plot, depth_colours, image_tag, line_plot
from openloger.evaluation.report import ROWS, TableRows
from openloger.evaluation.trajectory import centre_distances, distance_along

GLIMPSES = 3
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1120px;padding:0 1rem}
body{color:#1f2328;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #d8dee4}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #eaeef2}
td:first-child,th:first-child{text-align:left}th{font-weight:600}tr.ours td{font-weight:600;color:#c2410c}
.plots,.depths{display:flex;flex-wrap:wrap;gap:1rem}svg text{font:11px system-ui,sans-serif;fill:#57606a}
.grid{stroke:#eaeef2;stroke-width:1}figure{margin:0}figcaption{font-size:.8rem;color:#57606a}
img{width:340px;max-width:100%;image-rendering:pixelated}
.fault{color:#b91c1c}pre{background:#f6f8fa;padding:.8rem;overflow:auto;font-size:.8rem}
"""


@dataclass(frozen=True, eq=False)
class Section:
    """One sequence on the page."""

    name: str
    measured: Measured | None
    fault: str | None = None


def page(title: str, sections: Sequence[Section], *, tables: Sequence[tuple[str, TableRows]], made_with: str) -> str:
    """The whole page as text. `tables` come first, each under its heading; `made_with` is shown at the end."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    for heading, rows in tables:
        body.append(f"<h2>{html.escape(heading)}</h2>{html_table(rows)}")
    body += [_section(section) for section in sections]
    body.append(f"<h2>Made with</h2><pre>{html.escape(made_with)}</pre>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def html_table(rows: TableRows) -> str:
    """The header, then the rows; rows that are ours stand out."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows.header)
    lines = []
    for number, row in enumerate(rows.rows):
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        lines.append(f'<tr class="ours">{cells}</tr>' if number in rows.ours else f"<tr>{cells}</tr>")
    note = f"<p>{html.escape(rows.note)}</p>" if rows.note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{note}"


def _section(section: Section) -> str:
    title = f"<h2>{html.escape(section.name)}</h2>"
    if section.measured is None:
        return f'{title}<p class="fault">{html.escape(section.fault or "not measured")}</p>'
    measured = section.measured
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
    shown = _spread_out(measured.gathered.glimpses)
    scale = measured.depth[measured.settings.depth_alignment].scale if measured.depth else 1.0
    depths = "".join(_glimpse(glimpse, scale) for glimpse in shown)
    numbers = html_table(TableRows(("", "", ""), _number_rows(measured)))
    return f'{title}<div class="plots">{"".join(plots)}</div><div class="depths">{depths}</div>{numbers}'


def path_plot(measured: Measured) -> str:
    """The true path and the aligned one from above: in the plane in which the true one spreads most."""
    truth = measured.gathered.truth[:, :3, 3]
    centre = truth.mean(axis=0)
    _, _, axes = np.linalg.svd(truth - centre, full_matrices=False)
    paths = (("truth", truth), ("estimate", measured.aligned.world_from_cam[:, :3, 3]))
    lines = [Line(name, (path - centre) @ axes[0], (path - centre) @ axes[1]) for name, path in paths]
    return line_plot(lines, x_label="m", y_label="m", equal=True)


def error_plot(measured: Measured) -> str:
    """How far each camera is from the truth, along the true path."""
    truth = measured.gathered.truth
    error = centre_distances(measured.aligned.world_from_cam, truth)
    lines = [Line("error", distance_along(truth), error)]
    return line_plot(lines, x_label="along the path, m", y_label="distance from the truth, m", from_zero=True)


def _glimpse(glimpse: Glimpse, scale: float) -> str:
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


def _spread_out(glimpses: Sequence[Glimpse]) -> list[Glimpse]:
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
