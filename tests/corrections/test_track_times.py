"""The times of poses and GPS fixes are seconds whatever unit their files count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from openloger.corrections.gps_files import read_fixes
from openloger.corrections.pose_files import read_poses
from openloger.errors import InputError

SINCE_1970_S = 1714557600.25 + np.arange(8) / 10


def write_tum(path: Path, times: list[str]) -> Path:
    path.write_text("".join(f"{time} {row} 0 0 0 0 0 1\n" for row, time in enumerate(times)))
    return path


def write_json(path: Path, times: list[str]) -> Path:
    entries = [{"timestamp": json.loads(time), "transform": np.eye(4).tolist()} for time in times]
    path.with_suffix(".json").write_text(json.dumps(entries))
    return path.with_suffix(".json")


def write_csv(path: Path, times: list[str]) -> Path:
    path = path.with_suffix(".csv")
    path.write_text("time,lat,lon\n" + "".join(f"{time},48.{row},11\n" for row, time in enumerate(times)))
    return path


READERS = [(write_tum, read_poses), (write_json, read_poses), (write_csv, read_fixes)]


@pytest.mark.parametrize(("write", "read"), READERS)
@pytest.mark.parametrize("per_s", [1e3, 1e6, 1e9])
def test_other_units_since_1970_become_seconds(tmp_path: Path, write, read, per_s: float) -> None:
    found = read(write(tmp_path / "a.txt", [f"{time * per_s:.0f}" for time in SINCE_1970_S]))
    np.testing.assert_allclose(found.time_s, SINCE_1970_S, atol=1.01e-3, rtol=0)
    assert found.is_dated


@pytest.mark.parametrize(("write", "read"), READERS)
def test_milliseconds_from_zero_become_seconds(tmp_path: Path, write, read) -> None:
    found = read(write(tmp_path / "a.txt", ["0", "33", "67", "100", "133", "167", "200", "233"]))
    np.testing.assert_allclose(found.time_s, np.arange(8) / 30, atol=1.01e-3, rtol=0)
    assert not found.is_dated


@pytest.mark.parametrize(("write", "read"), READERS)
@pytest.mark.parametrize("time", ["NaN", "Infinity"])
def test_times_that_are_not_finite_are_refused(tmp_path: Path, write, read, time: str) -> None:
    file = write(tmp_path / "a.txt", ["0.1", "0.2", time])
    with pytest.raises(InputError, match="time 2 is not a finite number"):
        read(file)
