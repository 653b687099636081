"""Suites: tables that add up, a broken sequence among good ones, results as table, JSON and page, and the commands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import known
import numpy as np
import pytest

from openloger.cli import EXIT_BAD_INPUT
from openloger.cli.evaluate import (
    OutputArguments,
    ProtocolArguments,
    WorldArguments,
    evaluate_suite,
    evaluate_worlds,
)
from openloger.datasets import DATASETS, Sequence, open_dataset
from openloger.errors import BadFrameError, InputError
from openloger.evaluation.measure import MeasureSettings
from openloger.evaluation.page import Section, page
from openloger.evaluation.report import TableRows, rich_table, suite_json, suite_table
from openloger.evaluation.suites import (
    SUITES,
    Outcome,
    Suite,
    SuiteResult,
    evaluate_sequence,
    find_suite,
    published,
    run_suite,
)
from openloger.network import NetworkSpec
from openloger.pages import Line, bar_plot, depth_colours, line_plot
from openloger.values import PlacedWindow

SETTINGS = {"window": 12, "overlap": 3, "placement": "none", "reset_every": None}


# tables


@pytest.mark.parametrize("name", [suite.table for suite in SUITES.values() if suite.table])
def test_published_tables_add_up(name: str) -> None:
    table = published(name)
    assert re.search(r"arXiv \d{4}\.\d{5}", table.source)
    assert set(table.ours.values()) <= set(table.rows)
    assert table.cheap is None or table.cheap in table.sequences
    for row in table.rows.values():
        if len(row.values) == len(table.sequences) and row.values:
            assert row.average == pytest.approx(np.mean(list(row.values.values())), abs=0.006)


def test_the_protocol_of_the_paper() -> None:
    kitti, vbr = find_suite("kitti"), find_suite("vbr")
    assert (kitti.window, kitti.overlap, kitti.reset_every, kitti.measure.alignment) == (32, 3, 5, "sim3")
    assert (vbr.window, vbr.overlap, vbr.reset_every) == (64, 3, 5)
    assert kitti.metric == published("kitti").metric == "ate_rmse"
    assert kitti.sequences == published("kitti").sequences
    assert published("kitti").rows["LoGeR"].values["04"] == 1.82
    assert published("kitti").rows["LoGeR*"].values["04"] == 1.95
    assert published("vbr").rows["LoGeR*"].average == 31.75


def test_every_suite_has_its_dataset() -> None:
    assert {suite.dataset for suite in SUITES.values()} <= {*DATASETS, None}
    with pytest.raises(InputError, match=r"'kity'.*kitti, vbr"):
        find_suite("kity")


# running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three walls, of which the second has lost a line of its cameras and the third has a damaged picture."""
    for name in ("a", "b", "c"):
        known.write_truth(tmp_path / name, pictures=True)
    lines = (tmp_path / "b" / "world_from_cam.txt").read_text().splitlines()
    (tmp_path / "b" / "world_from_cam.txt").write_text("\n".join([*lines[:5], "1 2 3", *lines[6:]]))
    (tmp_path / "c" / "rgb" / "000011.png").write_bytes(b"damaged")
    return tmp_path


def reconstruct(sequence: Sequence) -> Iterator[PlacedWindow]:
    """As a stream would: it reads every picture before it gives the windows."""
    assert len(list(sequence.frames())) == known.FRAMES
    yield from known.placed()


def run(folder: Path) -> SuiteResult:
    return run_suite("folder", open_dataset("folder", folder), suite=Suite("folder"), reconstruct=reconstruct)


def test_a_broken_sequence_does_not_stop_the_others(folder: Path) -> None:
    result = run(folder)
    good, short, damaged = result.outcomes
    assert [outcome.sequence for outcome in result.outcomes] == ["a", "b", "c"]
    assert result.value(good) < 1e-7  # type: ignore[operator]
    assert "line 6: 3 numbers" in (short.fault or "")
    assert "000011" in (damaged.fault or "")
    assert not result.complete
    assert result.average == result.value(good)


def test_faults_of_the_reconstruction_are_reported_and_bugs_are_not_hidden(folder: Path) -> None:
    def bad(sequence: Sequence) -> Iterator[PlacedWindow]:
        raise BadFrameError("frame 3 is damaged", index=3)
        yield

    def bug(sequence: Sequence) -> Iterator[PlacedWindow]:
        raise KeyError("bug")
        yield

    opened, settings = open_dataset("folder", folder), MeasureSettings()
    assert evaluate_sequence("a", opened, reconstruct=bad, settings=settings).fault == "frame 3 is damaged"
    with pytest.raises(KeyError):
        evaluate_sequence("a", opened, reconstruct=bug, settings=settings)


def test_a_table_shows_ours_beside_the_published(folder: Path) -> None:
    good = run(folder).outcomes[0]
    result = kitti_of(good, {"04": 271, "05": None})
    table = suite_table(result, "loger-star", SETTINGS)
    assert table.header == ("ate_rmse", "04", "05", "average of those measured")
    assert table.rows[0][0] == "loger-star, here"
    assert table.rows[0][2] == "–"
    assert ("LoGeR*", "1.95", "26.34", "1.95") in table.rows  # the average over what has our number
    for said in ("window 12", "overlap 3", "sim3", "2603.03269", "should repeat LoGeR*", "no numbers of 05"):
        assert said in table.note
    assert rich_table(table, "kitti").row_count == len(table.rows)
    told = json.loads(json.dumps(suite_json(result, network="loger", weights_hash="abc", run_settings=SETTINGS)))
    assert told["sequences"]["04"]["numbers"]["ate_rmse"] < 1e-7
    assert told["sequences"]["05"]["fault"] == "gone"
    assert told["complete"] is False
    assert told["published"]["rows"]["LoGeR"]["values"]["04"] == 1.82
    assert told["weights_hash"] == "abc"


def kitti_of(good: Outcome, frames: dict[str, int | None]) -> SuiteResult:
    """KITTI's suite with numbers of sequences of these lengths; None: it failed."""
    assert good.measured is not None
    outcomes = [
        replace(good, sequence=name, measured=replace(good.measured, frames=count))
        if count
        else replace(good, sequence=name, measured=None, fault="gone")
        for name, count in frames.items()
    ]
    return SuiteResult("kitti", find_suite("kitti"), tuple(outcomes))


def column(result: SuiteResult, number: int) -> dict[str, str]:
    return {row[0]: row[number] for row in suite_table(result, "loger", SETTINGS).rows}


def test_averages_are_over_the_same_sequences(folder: Path) -> None:
    good = run(folder).outcomes[0]
    both = kitti_of(good, {"03": 801, "04": 271})
    assert column(both, -1)["LoGeR*"] == "3.67"  # (5.38 + 1.95) / 2
    assert column(both, -1)["FastVGGT"] == "15.52"
    assert column(kitti_of(good, {"02": 4661, "04": 271}), -1)["FastVGGT"] == "–"  # 02 is not published
    table = published("kitti")
    every = kitti_of(good, dict(table.frames))
    assert column(every, -1)["LoGeR"] == f"{table.rows['LoGeR'].average:.2f}"
    told = suite_json(both, network="loger", weights_hash=None, run_settings=SETTINGS)
    assert told["published_averages_of_the_same"]["LoGeR*"] == pytest.approx(3.665)


def test_a_toy_is_not_held_against_whole_sequences(folder: Path) -> None:
    good = run(folder).outcomes[0]
    result = kitti_of(good, {"04": 12, "05": 2761})
    table = suite_table(result, "loger", SETTINGS)
    assert table.header[1:3] == ("04 (12 of 271 frames)", "05")
    assert column(result, 1)["LoGeR*"] == "–"
    assert column(result, 2)["LoGeR*"] == "26.34"
    assert column(result, 3)["LoGeR*"] == "–"
    assert "none beside those that are cut" in table.note


def test_what_a_guess_gets_and_depth_stand_in_the_table(folder: Path) -> None:
    good = run(folder).outcomes[0]
    assert good.measured is not None
    numbers = good.measured.numbers()
    rows = column(kitti_of(good, {"04": 271}), 1)
    assert rows["a straight line"] == f"{numbers['ate_rmse_of_straight_line']:.3f}"
    assert rows["depth AbsRel, loger, here"] == f"{numbers['depth_abs_rel']:.3f}"
    without = replace(good, measured=replace(good.measured, depth={}))
    assert "depth AbsRel, loger, here" not in column(kitti_of(without, {"04": 271}), 1)


def test_published_averages_of_unknown_sequences_are_marked(folder: Path) -> None:
    good = replace(run(folder).outcomes[0], sequence="campus_train0")
    table = suite_table(SuiteResult("vbr", find_suite("vbr"), (good,)), "loger", SETTINGS)
    assert ("LoGeR*", "–", "31.75 (theirs)") in table.rows


# the page


class Tags(HTMLParser):
    """Whether what was opened is closed, and all that is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        self.loaded += [v for k, v in attrs if k in {"src", "href"} and v and not v.startswith("data:")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_all_that_it_shows(folder: Path) -> None:
    result = run(folder)
    sections = [Section(one.sequence, one.measured, one.fault) for one in result.outcomes]
    table = suite_table(result, "pocket", SETTINGS)
    text = page("walls <&>", sections, tables=[("Results", table)], made_with='{"network": "<pocket>"}')
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.loaded == []
    assert "walls &lt;&amp;&gt;" in text
    assert "&lt;pocket&gt;" in text
    assert text.count('class="fault"') == 2
    assert text.count("<polyline") >= 3  # the truth and the estimate, the error, the scale
    assert text.count("<img") == 9
    assert '<tr class="ours"><td>pocket, here</td>' in text


def test_a_plot_puts_points_where_they_belong() -> None:
    line = Line("path", np.array([0.0, 10.0]), np.array([0.0, 5.0]))
    points = re.search(
        r'polyline points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"', line_plot([line], x_label="x", y_label="y")
    )
    assert points is not None
    x0, y0, x1, y1 = map(float, points.groups())
    assert x0 < x1
    assert y0 > y1  # up is up
    equal = re.search(
        r'polyline points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"',
        line_plot([line], x_label="x", y_label="y", equal=True),
    )
    assert equal is not None
    x0, y0, x1, y1 = map(float, equal.groups())
    assert (x1 - x0) == pytest.approx(2 * (y0 - y1), abs=0.3)


def test_plots_of_degenerate_data() -> None:
    still = Line("still", np.zeros(3), np.zeros(3))
    assert "nan" not in line_plot([still, still], x_label="<x>", y_label="y", equal=True)
    assert "&lt;x&gt;" in line_plot([still], x_label="<x>", y_label="y")
    assert bar_plot([0.0, 0.0], ["a", "b"], x_label="x", y_label="y").count("<rect") == 2
    long = Line("long", np.linspace(0, 1, 50_000), np.linspace(0, 1, 50_000))
    assert len(line_plot([long], x_label="x", y_label="y")) < 60_000


def test_depth_in_colours() -> None:
    colours = depth_colours(np.array([[1.0, 2.0, 4.0], [0.0, np.nan, 9.0]]), near=1.0, far=4.0)
    assert colours[0, 0].tolist() == [253, 231, 37]
    assert colours[0, 2].tolist() == colours[1, 2].tolist() == [68, 1, 84]
    assert colours[1, :2].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert rich_table(TableRows(("a", "b"), (("1", "2"),)), "t").row_count == 1


# the command


def test_the_command_runs_a_network_and_says_what_broke(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    code = evaluate_suite(
        "folder",
        data=folder,
        network=NetworkSpec("pocket", weights="random", device="cpu", dtype="float32"),
        protocol=ProtocolArguments(sequences=("a", "b"), stop=10, window=6, overlap=2),
        output=OutputArguments(out=tmp_path / "results", json=True),
    )
    assert code == EXIT_BAD_INPUT
    told = json.loads(capsys.readouterr().out)
    assert told["run_settings"]["window"] == 6
    assert told["run_settings"]["stop"] == 10
    assert told["sequences"]["a"]["numbers"]["matched"] == 10
    assert told["sequences"]["b"]["numbers"] is None
    assert json.loads((tmp_path / "results" / "results.json").read_text()) == told
    assert "<svg" in (tmp_path / "results" / "report.html").read_text()


def test_the_command_takes_the_sequences_of_the_suite_that_are_there(tmp_path: Path) -> None:
    known.write_truth(tmp_path / "a", pictures=True)
    with pytest.raises(InputError, match="KITTI odometry"):
        evaluate_suite("kitti", data=tmp_path, network=NetworkSpec("pocket", weights="random"))
    chosen = ProtocolArguments(sequences=("z",))
    with pytest.raises(InputError, match="'z'"):
        evaluate_suite("folder", data=tmp_path, network=NetworkSpec("pocket"), protocol=chosen)


def test_worlds_are_a_suite(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code = evaluate_worlds(
        network=NetworkSpec("pocket", weights="random", device="cpu", dtype="float32"),
        worlds=WorldArguments(families=("rooms",), seeds=(3,), frames=12, size=(16, 24)),
        output=OutputArguments(json=True),
    )
    assert code == 0
    numbers = json.loads(capsys.readouterr().out)["sequences"]["rooms:3"]["numbers"]
    assert numbers["matched"] == 12
    assert numbers["depth_frames"] == 2  # every tenth
    code = evaluate_worlds(
        network=NetworkSpec("pocket", weights="random", device="cpu"),
        protocol=ProtocolArguments(sequences=("sea:1", "rooms")),
        output=OutputArguments(json=True),
    )
    assert code == EXIT_BAD_INPUT
    faults = [one["fault"] for one in json.loads(capsys.readouterr().out)["sequences"].values()]
    assert "unknown family" in faults[0]
    assert "write FAMILY:SEED" in faults[1]
