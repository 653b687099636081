"""The times of datasets: other units, lists out of order, names that are numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import official_layouts as layouts
from datasets.parts import assert_same, read_all

from openloger.datasets import open_dataset
from openloger.datasets.files import natural
from openloger.errors import InputError
from openloger.frames.times import in_seconds

TUM = "rgbd_dataset_freiburg2_desk"


@pytest.mark.parametrize(
    ("unit", "said"), [(1.0, None), (1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")]
)
@pytest.mark.parametrize("step_s", [0.0005, 0.005, 0.0333, 0.5, 1.0, 60.0])
def test_times_since_1970_are_seconds_whatever_they_count(
    tmp_path: Path, unit: float, said: str | None, step_s: float, openloger_log: pytest.LogCaptureFixture
) -> None:
    times_s = 1305031102.175 + step_s * np.arange(20)
    np.testing.assert_allclose(in_seconds(times_s * unit, tmp_path / "rgb.txt"), times_s, atol=1e-6, rtol=0)
    assert (f"its times are {said}" in openloger_log.text) == (said is not None)


@pytest.mark.parametrize(("unit", "said"), [(1e6, "microseconds"), (1e9, "nanoseconds")])
def test_times_since_a_phone_was_switched_on(tmp_path: Path, unit: float, said: str) -> None:
    times_s = 234_567.25 + np.arange(30) / 30
    np.testing.assert_allclose(in_seconds(times_s * unit, tmp_path / "rgb.txt"), times_s, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (np.arange(5) * 33_333.0, "33333 s.*seconds"),
        (np.arange(5) * 33_333_333.0, "write seconds"),
        (np.arange(9) * 40.0, "whole numbers 40 apart"),  # 25 frames a second, or a timer
        (np.arange(9) * 33.0, "whole numbers 33 apart"),
        (np.array([0.0, 33, 67]), "whole numbers"),  # too few to show a rate
        (np.array([0.0, 31, 70, 98, 140, 171, 195, 240]), "divide by 1000"),  # an unsteady camera
        (np.arange(9) * 3600.0, "3600 s.*seconds"),
        (3e12 + np.arange(5) * 7e9, "unit"),
        (np.array([1.0, np.nan]), "time 1.*finite"),
    ],
)
def test_times_whose_unit_is_not_certain_are_refused(tmp_path: Path, times: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=rf"rgb\.txt: .*{said}"):
        in_seconds(times, tmp_path / "rgb.txt")


@pytest.mark.parametrize("rate", [24, 24e3 / 1001, 30e3 / 1001, 30, 60, 90, 120])
@pytest.mark.parametrize(("per_s", "unit"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")])
@pytest.mark.parametrize("rounded", [np.rint, np.floor, lambda times: np.round(times, 3)])
@pytest.mark.parametrize("begin_s", [0.0, 4321.0])
def test_times_of_a_usual_rate_show_their_unit(
    tmp_path: Path, rate: float, per_s: float, unit: str, rounded, begin_s: float, openloger_log
) -> None:
    """From 0 or the start of a device; frames may be missing."""
    times_s = begin_s + np.array([0, 1, 2, 3, 5, 6, 9, 10, 11, 12, 13]) / rate
    found = in_seconds(rounded(times_s * per_s), tmp_path / "rgb.txt")
    np.testing.assert_allclose(found, times_s, atol=1.01e-3, rtol=0)
    assert f"its times are {unit}" in openloger_log.text


@pytest.mark.parametrize(
    "times",
    [
        np.zeros(0),
        np.zeros(1),
        np.arange(9) / 30,
        np.arange(9) * 30.0,  # a timer
        -np.arange(4.0),
        np.array([0.0, 12.25, 31.5, 44.75, 60.5, 72.25, 90.75]),  # slow, with fractions
        1.7e9 + np.array([0, 33, 67, 100, 133, 167, 200]),  # since 1970
        np.arange(9) * 5.0,
    ],
)
def test_seconds_stay_as_they_are(tmp_path: Path, times: np.ndarray) -> None:
    assert in_seconds(times, tmp_path / "rgb.txt") is times


def test_a_slow_track_keeps_seconds_and_warns(tmp_path: Path, openloger_log: pytest.LogCaptureFixture) -> None:
    times = np.array([0.0, 31, 70, 98, 140])
    assert in_seconds(times, tmp_path / "a.csv", may_be_slow=True) is times
    assert "whole numbers 35 apart" in openloger_log.text


@pytest.mark.parametrize("files", [("rgb.txt",), ("rgb.txt", "depth.txt", "groundtruth.txt")])
def test_tum_in_microseconds(tmp_path: Path, files: tuple[str, ...]) -> None:
    layouts.tum(tmp_path)
    before = [open_dataset("tum", tmp_path)[TUM][frame] for frame in range(5)]
    for name in files:
        lines = (tmp_path / TUM / name).read_text().splitlines()
        rows = [line if line[0] == "#" else in_microseconds(line) for line in lines]
        (tmp_path / TUM / name).write_text("\n".join(rows))
    sequence = open_dataset("tum", tmp_path)[TUM]
    for frame in before:
        after = sequence[frame.index]
        assert after.timestamp_s == pytest.approx(frame.timestamp_s, abs=1e-6)
        np.testing.assert_array_equal(after.world_from_cam, frame.world_from_cam)
        np.testing.assert_array_equal(after.depth, frame.depth)


def in_microseconds(line: str) -> str:
    first, _, rest = line.partition(" ")
    return f"{float(first) * 1e6:.0f} {rest}"


def test_an_unsorted_list_is_sorted(tmp_path: Path) -> None:
    truth = layouts.tum(tmp_path)
    path = tmp_path / TUM / "rgb.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[6], lines[4], lines[7], lines[3], lines[5]]))
    assert_same(read_all("tum", truth), read_all("tum", layouts.tum(tmp_path / "sorted")))
    times = [frame.timestamp_s for frame in open_dataset("tum", tmp_path)[TUM]]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("dataset", "make", "path"),
    [("kitti", layouts.kitti, "dataset/sequences/04/times.txt"), ("folder", layouts.plain, "walk/timestamps.txt")],
)
def test_times_that_run_backwards_are_refused(tmp_path: Path, dataset: str, make, path: str) -> None:
    """They belong to the pictures by their place, so nobody can say which of the two is wrong."""
    truth = make(tmp_path)
    lines = (tmp_path / path).read_text().splitlines()
    (tmp_path / path).write_text("\n".join([*lines[:3], lines[4], lines[3]]))
    with pytest.raises(InputError, match=r"frame 4\b.*backwards"):
        open_dataset(dataset, tmp_path)[truth.name]


def test_names_that_are_decimal_numbers_sort_by_value() -> None:
    def order(*names: str) -> list[str]:
        return [path.name for path in natural(Path("rgb") / name for name in reversed(names))]

    decimals = ("1305031102.05.png", "1305031102.1.png", "1305031102.15.png", "1305031103.png")
    assert order(*decimals) == list(decimals)
    numbered = ("frame_2.png", "frame_10.png", "frame_10.5.png")
    assert order(*numbered) == list(numbered)
    assert order("9.png", "10.png", "123456789012345678901234.png")[0] == "9.png"
