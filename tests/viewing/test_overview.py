"""A recording as one cloud: bounded, even, and followed while it is written."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scenes

from openloger.errors import InputError, RecordingError
from openloger.recording import Recording, create_recording, open_recording
from openloger.viewing.browser import reader
from openloger.viewing.browser.reader import BackgroundReader
from openloger.viewing.scene.overview import BLOCK, Overview, Snapshot
from openloger.viewing.scene.snapshot import load_snapshot

BUDGET = 20_000


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return scenes.write_recording(tmp_path_factory.mktemp("walk") / "walk", scenes.room(90))


def read(overview: Overview) -> Snapshot:
    while overview.step():
        pass
    return overview.snapshot()


def test_all_is_read_within_the_budget_and_in_order(walk: Recording) -> None:
    snapshot = read(Overview(walk, budget=BUDGET))
    assert BUDGET / 4 < len(snapshot.points) <= BUDGET
    assert (np.diff(snapshot.points.frame) >= 0).all()
    assert snapshot.blocks_read == snapshot.blocks == -(-90 // BLOCK)
    assert np.isfinite(snapshot.frame_confidence).any()


def test_points_lie_on_the_surfaces_of_the_room(walk: Recording) -> None:
    points = read(Overview(walk, budget=BUDGET)).points
    truth = np.concatenate([walk.points_world(k).reshape(-1, 3) for k in range(0, 90, 3)])
    some = points.position[:: max(1, len(points) // 300)]
    distance = np.array([np.linalg.norm(truth - point, axis=1).min() for point in some])
    assert np.percentile(distance, 95) < 0.3


def test_after_the_first_few_blocks_there_is_something_of_the_whole_way(walk: Recording) -> None:
    overview = Overview(walk, budget=BUDGET)
    for _ in range(3):
        overview.step()
    frames = overview.snapshot().points.frame
    assert frames.min() < 20
    assert frames.max() > 60


def test_a_long_recording_offers_a_bounded_number_of_points(walk: Recording) -> None:
    overview = Overview(walk, budget=600 + 2000)
    snapshot = read(overview)
    assert len(snapshot.points) <= 2600
    assert overview.offered < 3 * (12 * 2600 + 6 * 2000)


def test_detail_is_finer_and_of_the_frames_that_are_asked_for(walk: Recording) -> None:
    overview = Overview(walk, budget=3000)
    whole = read(overview)
    focus = whole.points.position[whole.points.frame < 20].mean(0).astype(np.float64)
    detail = overview.detail(focus, stop=20, budget=30_000)
    assert detail.edge < whole.edge / 1.5
    assert detail.points.frame.max() < 20
    assert len(detail.points) > 3 * (whole.points.frame < 20).sum()


def test_a_recording_is_followed_as_it_grows_and_read_anew_when_begun_anew(tmp_path: Path) -> None:
    shots = scenes.room(60)
    windows = list(scenes.placed_windows(shots))
    with create_recording(tmp_path / "live", scenes.meta_of(shots)) as writer:
        overview = Overview(open_recording(tmp_path / "live"), budget=BUDGET)
        assert len(read(overview).points) == 0
        counts = []
        for placed in windows:
            writer.append(placed)
            assert overview.refresh()
            snapshot = read(overview)
            assert snapshot.frame_count == writer.frame_count
            assert snapshot.points.frame.max() >= writer.frame_count - BLOCK
            counts.append(np.isfinite(snapshot.frame_confidence).sum())
        assert counts == sorted(counts)
        assert not overview.refresh()
        writer.finish()
    at_once = read(Overview(open_recording(tmp_path / "live"), budget=BUDGET))
    grown = read(overview)
    assert np.isfinite(grown.frame_confidence).sum() == np.isfinite(at_once.frame_confidence).sum()

    with create_recording(tmp_path / "live", scenes.meta_of(shots, source="other"), overwrite=True) as writer:
        writer.append(windows[0])
        assert overview.refresh()
        assert read(overview).frame_count == 13
        assert overview.snapshot().points.frame.max() < 13


def test_the_reader_publishes_follows_and_tells_what_is_damaged(tmp_path: Path) -> None:
    shots = scenes.room(40)
    recording = scenes.write_recording(tmp_path / "walk", shots)
    (tmp_path / "walk" / "arrays.zarr" / "depth" / "c.1.0.0").unlink()
    reading = BackgroundReader(Overview(recording, budget=BUDGET), detail_budget=2000)
    try:
        wait_until(lambda: reading.latest is not None and reading.latest.blocks_read == reading.latest.blocks)
        assert reading.latest is not None
        assert reading.problem is not None
        assert "c.1.0.0: missing" in reading.problem
        assert set((reading.latest.points.frame // BLOCK).tolist()) == {0, 2}
        reading.want_detail(np.zeros(3), stop=10)
        wait_until(lambda: reading.detail is not None)
        reading.want_detail(None, stop=0)
        assert reading.detail is None
    finally:
        reading.close()


def test_a_long_recording_is_published_ever_more_rarely(walk: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    overview = Overview(walk, budget=BUDGET)
    read_at: list[int] = []

    def step() -> bool:
        if len(overview._waiting) == 0:
            return False
        overview._waiting.popleft()
        return True

    def snapshot() -> Snapshot:
        read_at.append(overview.blocks_read)
        return replace(whole, blocks_read=overview.blocks_read)

    whole = overview.snapshot()
    blocks = 5000
    monkeypatch.setattr(reader, "_FIRST_PUBLISH_S", 0.0)
    monkeypatch.setattr(Overview, "_block_count", blocks)
    overview._waiting.extend(range(blocks - len(overview._waiting)))
    monkeypatch.setattr(overview, "step", step)
    monkeypatch.setattr(overview, "snapshot", snapshot)
    reading = BackgroundReader(overview, detail_budget=2000)
    try:
        wait_until(lambda: reading.latest is not None and reading.latest.blocks_read == blocks)
    finally:
        reading.close()
    assert 5 < len(read_at) < 25
    assert all(later >= 1.5 * earlier for earlier, later in itertools.pairwise(read_at[:-1]))


def test_too_few_points_are_refused_at_once(walk: Recording) -> None:
    with pytest.raises(InputError, match=r"\b10 points"):
        Overview(walk, budget=10)


def test_nothing_to_know_of_an_empty_recording(tmp_path: Path) -> None:
    shots = scenes.room(3)
    create_recording(tmp_path / "empty", scenes.meta_of(shots)).close()
    with pytest.raises(InputError, match=r"empty.*no frames"):
        load_snapshot(open_recording(tmp_path / "empty"), budget=BUDGET)


def test_damage_is_said_when_all_must_be_known(tmp_path: Path) -> None:
    recording = scenes.write_recording(tmp_path / "walk", scenes.room(20))
    (tmp_path / "walk" / "arrays.zarr" / "rgb" / "c.0.0.0.0").unlink()
    with pytest.raises(RecordingError, match="missing"):
        load_snapshot(recording, budget=BUDGET)


def wait_until(condition: object, *, seconds: float = 60) -> None:
    import time

    until = time.monotonic() + seconds
    while not condition():  # pyright: ignore[reportCallIssue]
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
