"""`openloger evaluate …` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import known
import pytest

from openloger.cli import EXIT_BAD_INPUT, main
from openloger.cli.evaluate import commands


def typed(*words: str) -> int | str | None:
    """The exit code."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code


def test_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    known.recording(tmp_path / "out")
    truth = known.write_truth(tmp_path / "wall")
    assert typed("evaluate", "recording", str(tmp_path / "out"), "--truth", str(truth), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ate_rmse"] < 1e-7
    assert {"path_length", "depth_abs_rel"} <= set(told)


def test_a_suite_without_its_data(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert typed("evaluate", "kitti", "--data", nowhere, "--network", "pocket") == EXIT_BAD_INPUT
    assert capsys.readouterr().err.strip() == (
        f"openloger: {nowhere} is not a folder; give the one that holds KITTI odometry"
    )


def test_truth_of_another_video_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    known.recording(tmp_path / "out")
    short = known.write_cameras(tmp_path / "short.txt", known.true_cameras()[:20])
    assert typed("evaluate", "recording", str(tmp_path / "out"), "--truth", str(short)) == EXIT_BAD_INPUT
    told = capsys.readouterr().err
    assert "lengths do not match" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate",),
        ("evaluate", "kity", "--data", "x"),
        ("evaluate", "kitti", "--data", "x"),
        ("evaluate", "recording", "x"),
        ("evaluate", "recording", "x", "--truth", "y", "--alignment", "affine"),
    ],
)
def test_what_is_missing_or_unknown_is_usage(words: tuple[str, ...]) -> None:
    assert typed(*words) == EXIT_BAD_INPUT


def test_commands_have_their_help(capsys: pytest.CaptureFixture) -> None:
    assert typed("evaluate", "--help") == 0
    told = capsys.readouterr().out
    for name in commands():
        assert name in told
