"""Numbers for people and for programs: tables in the terminal, and JSON with what the numbers were made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from openloger.evaluation.measure import Measured, json_ready
from openloger.evaluation.suites import Outcome, PublishedTable, SuiteResult, published
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
    alignment = f"path aligned by {measured.settings.alignment}"
    if measured.depth:
        alignment += f", depth by {measured.settings.depth_alignment}"
    rows = [
        (what, f"{value:.{digits}f}", unit)
        for name, what, unit, digits in ROWS
        if (value := numbers.get(name)) is not None
    ]
    for name, value in numbers.items():
        if name.startswith("cloud_f_score_") and value is not None:
            rows.append((f"cloud, F-score at {name.rpartition('_')[2]} m", f"{value:.3f}", ""))
    note = f"{measured.matched} of {measured.frames} frames have truth; {alignment}"
    return TableRows(("what", "value", "unit"), tuple(rows), note=note)


def suite_table(result: SuiteResult, network: str, run_settings: Mapping[str, Any]) -> TableRows:
    """Our numbers by sequence and how they were made, beside the published ones of whole sequences where there are any.

    Every average is over the sequences that have our number, so a column compares like with like.
    """
    table = published(result.suite.table) if result.suite.table else None
    names = tuple(_sequence_label(outcome, table) for outcome in result.outcomes)
    marked = "" if result.complete else " of those measured"
    rows = [_own_row(f"{network}, here", result, result.suite.metric)]
    if result.suite.metric == "ate_rmse":
        rows.append(_own_row("a straight line", result, "ate_rmse_of_straight_line"))
    for method in table.rows if table else ():
        rows.append(_published_row(method, result, table))
    if any(result.number(outcome, "depth_abs_rel") is not None for outcome in result.outcomes):
        rows.append(_own_row(f"depth AbsRel, {network}, here", result, "depth_abs_rel"))
    return TableRows(
        (result.suite.metric, *names, f"average{marked}"),
        tuple(rows),
        frozenset({0}),
        _note(result, table, network, run_settings),
    )


def published_average(method: str, result: SuiteResult, table: PublishedTable) -> float | None:
    """Of a published method over the sequences that have our number; None where one of them is cut or not published."""
    row = table.rows[method]
    measured = [outcome for outcome in result.outcomes if outcome.measured is not None]
    values = [row.values.get(outcome.sequence) for outcome in measured if not _is_cut(outcome, table)]
    if not values or len(values) < len(measured) or None in values:
        return None
    if {outcome.sequence for outcome in measured} == set(table.sequences):
        return row.average
    return sum(value for value in values if value is not None) / len(values)


def _own_row(what: str, result: SuiteResult, name: str) -> tuple[str, ...]:
    values = [result.number(outcome, name) for outcome in result.outcomes]
    return (what, *map(_number, values), _number(result.average_of(name)))


def _published_row(method: str, result: SuiteResult, table: PublishedTable | None) -> tuple[str, ...]:
    assert table is not None, "there is no published method without a table"
    row = table.rows[method]
    values = (None if _is_cut(one, table) else row.values.get(one.sequence) for one in result.outcomes)
    average = _number(published_average(method, result, table))
    if not table.sequences and row.average is not None:
        average = f"{_number(row.average)} (theirs)"
    return (method, *map(_number, values), average)


def _is_cut(outcome: Outcome, table: PublishedTable) -> bool:
    """Whether fewer frames were run than the published numbers are of."""
    whole = table.frames.get(outcome.sequence)
    return outcome.measured is not None and whole is not None and outcome.measured.frames < whole


def _sequence_label(outcome: Outcome, table: PublishedTable | None) -> str:
    if table is None or outcome.measured is None or not _is_cut(outcome, table):
        return outcome.sequence
    return f"{outcome.sequence} ({outcome.measured.frames} of {table.frames[outcome.sequence]} frames)"


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
            "average_of_straight_line": result.average_of("ate_rmse_of_straight_line"),
            "average_depth_abs_rel": result.average_of("depth_abs_rel"),
            "published_averages_of_the_same": table
            and {method: published_average(method, result, table) for method in table.rows},
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


def _note(result: SuiteResult, table: PublishedTable | None, network: str, run_settings: Mapping[str, Any]) -> str:
    made = [f"{name} {value}" for name, value in run_settings.items() if value is not None]
    notes = [", ".join([*made, f"path aligned by {result.suite.measure.alignment}"])]
    if table is not None:
        notes.append(f"published: {table.source} ({table.protocol})")
        if any(_is_cut(outcome, table) for outcome in result.outcomes):
            notes.append("published numbers are of whole sequences, so there are none beside those that are cut")
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
