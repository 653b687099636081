"""The soak: its sums on made-up runs, and a short real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openloger.benchmarking.inputs import WorldVideo, write_clip
from openloger.benchmarking.soak import Moment, run_and_watch, summarise, summary_line
from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.outputs import MANIFEST


def silent(progress: object) -> None: ...


def run_of(frames: int, ms: Callable[[int], float], peak: Callable[[int], int], step: int = 6) -> list[Moment]:
    moments, seconds = [], 1.0
    for now in range(step, frames + 1, step):
        seconds += step * ms(now) / 1e3
        moments.append(Moment(now, seconds, now * 0.02, peak(now), peak(now)))
    return moments


def test_a_steady_run_is_steady() -> None:
    found = summarise(run_of(19_002, lambda now: 10.0, lambda now: 400))
    assert found["frames"] == 19_002
    assert found["span"] == 1000
    assert found["time_ratio"] == pytest.approx(1)
    assert found["time_ratio_of_means"] == pytest.approx(1)
    assert found["first_ms"] == pytest.approx(10)
    assert found["peak_growth"] == 0
    assert len(found["trail"]) <= 62


def test_slower_frames_and_growing_memory_are_seen() -> None:
    found = summarise(run_of(6000, lambda now: 10.0 if now <= 3000 else 12.0, lambda now: 1000 + now // 10))
    assert found["time_ratio"] == pytest.approx(1.2)
    assert found["cpu_ratio"] == pytest.approx(1)
    assert found["peak_bytes_after_span"] == 1100
    assert found["peak_bytes"] == 1600
    assert found["peak_growth"] == pytest.approx(500 / 1100)


def test_one_hiccup_moves_the_mean_and_not_the_median() -> None:
    found = summarise(run_of(4002, lambda now: 500.0 if now == 3996 else 10.0, lambda now: 400))
    assert found["time_ratio"] == pytest.approx(1)
    assert found["time_ratio_of_means"] > 1.2


def test_the_spans_of_a_short_run_do_not_overlap() -> None:
    found = summarise(run_of(300, lambda now: 10.0 if now <= 150 else 20.0, lambda now: 400))
    assert found["span"] == 150
    assert found["time_ratio"] == pytest.approx(2)


def test_too_short_a_run_is_refused() -> None:
    with pytest.raises(InputError, match="50 frames"):
        summarise(run_of(24, lambda now: 10.0, lambda now: 400))


def test_a_real_run_is_watched_to_its_end(tmp_path: Path) -> None:
    video = write_clip(tmp_path / "clip.mp4", 60, size=(48, 64))
    choice = {"network": "pocket", "device": "cpu"}
    found = run_and_watch(choice=choice, video=str(video), out=str(tmp_path / "out"), on_progress=silent)
    assert found["frames"] == 60
    assert found["size"] == [48, 64]
    assert found["peak_bytes"] >= found["peak_bytes_after_span"] > 0
    assert found["trail"][-1][0] <= 60
    assert "60 frames of 48×64 through `pocket`" in summary_line(found)


def test_a_world_is_rendered_once(tmp_path: Path) -> None:
    world = WorldVideo("rooms", seed=3, size=(32, 48))
    path = world.written(tmp_path, 5)
    written = path.stat().st_mtime_ns
    assert [frame.rgb.shape for frame in open_frames(path)] == [(32, 48, 3)] * 5
    assert world.written(tmp_path, 5) == path
    assert path.stat().st_mtime_ns == written
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [MANIFEST, "rooms-3-32x48-10fps-5.mp4"]
