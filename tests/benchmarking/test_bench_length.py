"""Speed against length: what is concluded, where full attention stops, and processes with a peak of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openloger.benchmarking import BenchmarkNetwork, Ledger
from openloger.benchmarking import length as room
from openloger.benchmarking.child import OverLimitError, in_child
from openloger.benchmarking.length import LengthSettings, conclusions, draw, measure_length, time_length
from openloger.benchmarking.presets import time_network
from openloger.benchmarking.tables import length_table, markdown
from openloger.errors import InputError


def silent(progress: object) -> None: ...


def run_of(engine: str, frames: int, seconds: float, peak_bytes: int = 10**8) -> dict[str, Any]:
    per_s = frames / seconds
    return {"engine": engine, "frames": frames, "seconds": seconds, "frames_per_s": per_s, "peak_bytes": peak_bytes}


def test_the_power_of_time_is_found() -> None:
    results = [run_of("streaming", n, 0.5 * n) for n in (100, 1000)]
    results += [run_of("full", n, 1e-3 * n**2, 10**8 + 10**6 * n) for n in (100, 200, 400)]
    results.append({"engine": "full", "frames": 800, "over": "time"})
    found = conclusions(results)
    assert found["streaming"]["time_power"] == pytest.approx(1)
    assert found["full"]["time_power"] == pytest.approx(2)
    assert found["full"]["longest"] == 400
    assert found["full"]["peak_longest_over_shortest"] == pytest.approx(5 / 2)


def quadratic(function: object, arguments: dict[str, Any], **limits: object) -> dict[str, Any]:
    """A stand-in for the child: a second for a hundred frames in a stream, a second for ten squared in full."""
    frames = arguments["frames"]
    seconds = frames / 100 if arguments["engine"] == "streaming" else (frames / 10) ** 2
    return run_of(arguments["engine"], frames, seconds)


def test_full_attention_ends_where_its_limit_is_foreseen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(room, "in_child", quadratic)
    settings = LengthSettings(frames=(300, 100), full_frames=(10, 20, 40, 80), full_limit_s=10.0)
    ledger = Ledger("length", {}, path=tmp_path / "length.json")
    measure_length(BenchmarkNetwork(), settings, ledger, on_progress=silent)
    assert list(ledger.results) == ["streaming 100", "streaming 300", "full 10", "full 20", "full 40"]
    assert ledger.results["full 40"] == {"engine": "full", "frames": 40, "over": "time", "foreseen_s": 16.0}
    assert ledger.summary["full"]["time_power"] == pytest.approx(2)
    told = markdown(length_table(ledger.content()))
    assert "past the limit of time (16 s foreseen)" in told
    assert "| streaming | 300 | 3.00 | 100.0 | 100 MB |" in told


def test_full_attention_that_broke_its_limit_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(function: object, arguments: dict[str, Any], **limits: object) -> dict[str, Any]:
        if arguments["engine"] == "full":
            raise OverLimitError("memory")
        return quadratic(function, arguments)

    monkeypatch.setattr(room, "in_child", no_room)
    ledger = Ledger("length", {})
    measure_length(BenchmarkNetwork(), LengthSettings((10,), (10, 20)), ledger, on_progress=silent)
    assert list(ledger.results) == ["streaming 10", "full 10"]
    assert ledger.results["full 10"]["over"] == "memory"


def test_lengths_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0"):
        measure_length(BenchmarkNetwork(), LengthSettings((0,), ()), Ledger("length", {}), on_progress=silent)


@pytest.mark.parametrize("engine", ["streaming", "full"])
def test_both_engines_see_every_frame_once(engine: str) -> None:
    told: list[int] = []
    choice = {"network": "pocket", "device": "cpu"}
    found = time_length(choice=choice, engine=engine, frames=20, on_progress=lambda p: told.append(p.frames))
    assert told[-1] == found["frames"] == 20
    assert len(told) == (3 if engine == "streaming" else 1)
    assert found["frames_per_s"] == pytest.approx(20 / found["seconds"])
    assert found["peak_bytes"] >= found["peak_bytes_before"] > 0


def test_a_network_by_itself() -> None:
    choice = {"network": "pocket", "device": "cpu"}
    found = time_network(choice=choice, picture=[48, 64], windows=2, on_progress=silent)
    assert found["windows"] == 2
    assert found["size"] == [48, 64]
    assert found["frames_per_s"] == pytest.approx(6 / (found["window_ms"] / 1e3))


def test_the_picture_has_both_lines(tmp_path: Path) -> None:
    results = [run_of("streaming", n, n) for n in (10, 1000)] + [run_of("full", n, n**2) for n in (10, 100)]
    draw(results, tmp_path / "made" / "length.png", title="a machine")
    picture = np.asarray(Image.open(tmp_path / "made" / "length.png").convert("RGB")).astype(int)
    red, _, blue = picture.reshape(-1, 3).T
    assert ((blue - red) > 80).sum() > 100
    assert ((red - blue) > 80).sum() > 100


def test_a_child_answers_tells_its_progress_and_has_its_own_peak() -> None:
    held = np.ones(40_000_000)  # 320 MB that are not the child's
    told: list[int] = []
    arguments = {"choice": {"network": "pocket", "device": "cpu"}, "engine": "streaming", "frames": 9}
    found = in_child(time_length, arguments, on_progress=lambda progress: told.append(progress.frames))
    assert told == [6, 9]
    assert found["frames"] == 9
    assert 0 < found["peak_bytes"] < 1.5e9
    assert held.sum() > 0


def test_what_a_child_refuses_comes_back_as_one_line() -> None:
    arguments = {"choice": {"network": "giant"}, "engine": "streaming", "frames": 9}
    with pytest.raises(InputError, match="giant"):
        in_child(time_length, arguments)


def test_a_child_ends_with_its_parent() -> None:
    arguments = {"choice": {"network": "pocket", "device": "cpu"}, "engine": "full", "frames": 10**9}
    order = {"module": time_length.__module__, "name": "time_length", "arguments": arguments, "limit_gb": None}
    command = [sys.executable, "-m", "openloger.benchmarking.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.communicate(json.dumps(order) + "\n", timeout=120)  # closes its input, as a parent's end does
    assert process.returncode == 1


def test_a_child_that_takes_too_long_is_ended() -> None:
    arguments = {"choice": {"network": "pocket"}, "engine": "streaming", "frames": 10**9}
    with pytest.raises(OverLimitError, match="time"):
        in_child(time_length, arguments, limit_s=0.2)
