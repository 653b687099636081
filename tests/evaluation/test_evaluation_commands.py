"""`openloger evaluate …` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import known
import pytest
import tyro

from openloger.cli.evaluate import commands
from openloger.cli.groups import grouped
from openloger.errors import InputError


def typed(*words: str) -> int | None:
    group = grouped(commands(), about="Numbers against ground truth.")
    return tyro.extras.subcommand_cli_from_dict({"evaluate": group, "other": lambda: 7}, args=words)


def test_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    known.recording(tmp_path / "out")
    truth = known.write_truth(tmp_path / "wall")
    assert typed("evaluate", "recording", str(tmp_path / "out"), "--truth", str(truth), "--json") is None
    told = json.loads(capsys.readouterr().out)
    assert told["ate_rmse"] < 1e-7
    assert {"path_length", "depth_abs_rel"} <= set(told)


def test_a_suite_without_its_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        typed("evaluate", "kitti", "--data", str(tmp_path / "nowhere"), "--network", "pocket")


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
def test_what_is_missing_or_unknown_is_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        typed(*words)
    assert caught.value.code == 2


def test_commands_have_their_help(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        typed("evaluate", "--help")
    told = capsys.readouterr().out
    for name in commands():
        assert name in told
    assert typed("other") == 7
