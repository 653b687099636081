"""Numbers for people and for programs: tables in the terminal, and JSON with what the numbers were made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from openloger.evaluation.measure import Measured, json_ready
from openloger.evaluation.run import SuiteResult
from openloger.evaluation.suites import Published, published
from openloger.version import versions

# name, what it is, unit, digits
ROWS = (
    ("ate_rmse", "ATE, RMSE", "m", 4),
    ("ate_mean", "ATE, mean", "m", 4),
    ("ate_median", "ATE, median", "m", 4),
    ("ate_percent", "ATE, of the path", "%", 2),
    ("ate_rmse_of_straight_line", "ATE of a straight line", "m", 4),
    ("path_length", "path", "m", 3),
    ("scale", "scale applied", "×", 4),
    ("rotation_deg_rmse", "rotation, RMSE", "°", 3),
    ("rpe_translation_rmse", "frame to frame, RMSE", "m", 4),
    ("rpe_rotation_deg_rmse", "frame to frame, RMSE", "°", 3),
    ("kitti_translation_percent", "over 100 to 800 m", "%", 2),
    ("kitti_rotation_deg_per_100", "over 100 to 800 m", "°/100 m", 3),
    ("scale_drift_spread", "scale along the path, largest / smallest", "×", 3),
    ("loops", "frames that came back", "", 0),
    ("loop_gap", "gap across a loop, median", "m", 4),
    ("loop_gap_percent", "gap, of the loop", "%", 2),
    ("depth_abs_rel", "depth, AbsRel", "", 4),
    ("depth_rmse", "depth, RMSE", "m", 4),
    ("depth_delta1", "depth, within 1.25", "", 4),
    ("depth_delta2", "depth, within 1.25²", "", 4),
    ("depth_delta3", "depth, within 1.25³", "", 4),
    ("depth_abs_rel_none", "AbsRel without alignment", "", 4),
    ("depth_abs_rel_sequence", "AbsRel, one scale", "", 4),
    ("depth_abs_rel_frame", "AbsRel, a scale for each frame", "", 4),
    ("depth_abs_rel_of_constant", "AbsRel of one depth everywhere", "", 4),
    ("confidence_rank_correlation", "confidence against error, rank correlation", "", 3),
    ("confidence_sparsification", "confidence, sparsification error", "", 3),
    ("cloud_accuracy_mean", "cloud, accuracy", "m", 4),
    ("cloud_completeness_mean", "cloud, completeness", "m", 4),
    ("cloud_chamfer", "cloud, Chamfer", "m", 4),
    ("cloud_normal_consistency", "cloud, normal consistency", "", 3),
    ("overlap_rotation_deg", "windows disagree", "°", 3),
    ("overlap_translation_percent", "windows disagree, of the path", "%", 2),
)


@dataclass(frozen=True)
class TableRows:
    """A table as text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    ours: frozenset[int] = frozenset()  # numbers of the rows that stand out
    note: str = ""


def measured_table(measured: Measured) -> TableRows:
    """The measurements of one video; lengths are in the truth's unit, here called metres."""
    numbers = measured.numbers()
    said = f"path aligned by {measured.settings.alignment}"
    if measured.depth:
        said += f", depth by {measured.settings.depth_alignment}"
    rows = [
        (what, f"{value:.{digits}f}", unit)
        for name, what, unit, digits in ROWS
        if (value := numbers.get(name)) is not None
    ]
    for name, value in numbers.items():
        if name.startswith("cloud_f_score_") and value is not None:
            rows.append((f"cloud, F-score at {name.rpartition('_')[2]} m", f"{value:.3f}", ""))
    note = f"{measured.matched} of {measured.frames} frames have truth; {said}"
    return TableRows(("what", "value", "unit"), tuple(rows), note=note)


def suite_table(result: SuiteResult, network: str, run_settings: Mapping[str, Any]) -> TableRows:
    """Our numbers by sequence and how they were made, beside the published ones where there are any."""
    table = published(result.suite.table) if result.suite.table else None
    names = tuple(outcome.sequence for outcome in result.outcomes)
    marked = "" if result.complete else " of those measured"
    ours = tuple(_number(result.value(outcome)) for outcome in result.outcomes)
    rows = [(f"{network}, here", *ours, _number(result.average))]
    for method, row in table.rows.items() if table else ():
        rows.append((method, *(_number(row.values.get(name)) for name in names), _number(row.average)))
    return TableRows(
        (result.suite.metric, *names, f"average{marked}"),
        tuple(rows),
        frozenset({0}),
        _note(result, table, network, run_settings),
    )


def suite_json(result: SuiteResult, *, network: str, weights_hash: str | None, run_settings: Mapping[str, Any]) -> Any:
    """Everything for programs: settings, versions, hashes, every number of every sequence, and the published ones."""
    table = published(result.suite.table) if result.suite.table else None
    return json_ready(
        {
            "suite": result.name,
            "network": network,
            "weights_hash": weights_hash,
            "run_settings": dict(run_settings),
            "settings": asdict(result.suite.measure),
            "versions": versions(),
            "metric": result.suite.metric,
            "average": result.average,
            "complete": result.complete,
            "sequences": {
                outcome.sequence: {
                    "seconds": outcome.seconds,
                    "fault": outcome.fault,
                    "numbers": outcome.measured and outcome.measured.numbers(),
                }
                for outcome in result.outcomes
            },
            "published": None if table is None else asdict(table),
        }
    )


def rich_table(table: TableRows, title: str) -> Any:
    """For the terminal."""
    from rich.table import Table

    shown = Table(title=title, caption=table.note or None)
    for number, name in enumerate(table.header):
        shown.add_column(name, justify="left" if number == 0 else "right")
    for number, row in enumerate(table.rows):
        shown.add_row(*row, style="bold" if number in table.ours else None)
    return shown


def _note(result: SuiteResult, table: Published | None, network: str, run_settings: Mapping[str, Any]) -> str:
    made = [f"{name} {value}" for name, value in run_settings.items() if value is not None]
    notes = [", ".join([*made, f"path aligned by {result.suite.measure.alignment}"])]
    if table is not None:
        notes.append(f"published: {table.source} ({table.protocol})")
        twin = table.ours.get(network)
        if twin is not None:
            notes.append(f"{network} should repeat {twin}")
        if table.cheap is not None:
            notes.append(f"quickest to check: {table.cheap}")
    failed = [outcome.sequence for outcome in result.outcomes if outcome.fault is not None]
    if failed:
        notes.append(f"no numbers of {', '.join(failed)}")
    return "; ".join(notes)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
