"""A file that is being written: the frames that the finished one has, and an end when it grows no more."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from frame_clips import damage, number_of, numbered, write_video
from live_sources import HandClock, append, pieces

from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.frames.live import LiveFrames, LiveOptions, Patience, open_live
from openloger.frames.live import source as live_module
from openloger.frames.live.clock import Clock

WRITTEN_AS_THEY_GO = {
    "ts": ("libx264", "clip.ts", {}),
    "mkv": ("libx264", "clip.mkv", {}),
    "mp4-fragments": ("libx264", "clip.mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "flv": ("libx264", "clip.flv", {}),
    "mjpeg": ("mjpeg", "clip.mjpeg", {}),
}
COUNT = 24


def whole(kind: str, folder: Path) -> Path:
    codec, name, muxer = WRITTEN_AS_THEY_GO[kind]
    encoder = {"strict": "unofficial"} if codec == "mjpeg" else {}
    return write_video(folder / f"whole-{name}", COUNT, codec=codec, muxer=muxer, encoder=encoder)


def growing(path: Path, hand: HandClock, *, idle_s: float = 2.0, **options: object) -> LiveFrames:
    return open_live(path, options=LiveOptions(patience=Patience(idle_s=idle_s), **options), clock=hand.clock)


@pytest.mark.parametrize("kind", WRITTEN_AS_THEY_GO)
def test_a_growing_file_gives_what_the_finished_one_does(kind: str, tmp_path: Path) -> None:
    finished = whole(kind, tmp_path)
    path, hand = tmp_path / WRITTEN_AS_THEY_GO[kind][1], HandClock()
    first, *rest = pieces(finished, 9)
    append(path, first)
    for number, data in enumerate(rest):  # each comes just before patience would end
        hand.after(1.9 * (number + 1), lambda data=data: append(path, data))
    live = growing(path, hand)
    frames = list(live)
    expected = list(open_frames(finished))
    assert [(frame.index, frame.timestamp_s, frame.name) for frame in frames] == [
        (frame.index, frame.timestamp_s, frame.name) for frame in expected
    ]
    assert [number_of(frame.rgb) for frame in frames] == list(range(COUNT))
    assert live.length is None
    assert (live.captured, live.dropped, live.lost) == (COUNT, 0, None)
    assert not hand.scheduled
    assert hand.now == pytest.approx(100 + 1.9 * 8 + 2.0, abs=0.2)


def test_it_is_finished_when_it_does_not_grow(tmp_path: Path) -> None:
    finished, path, hand = whole("ts", tmp_path), tmp_path / "clip.ts", HandClock()
    data = finished.read_bytes()
    append(path, data[: len(data) // 2])
    hand.after(5, lambda: append(path, data[len(data) // 2 :]))
    frames = list(growing(path, hand, idle_s=4.0))
    assert 0 < len(frames) < COUNT
    assert hand.scheduled


def test_stopping_ends_it_at_once_with_what_was_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_GRACE_S", 60.0)  # it ends by itself, and long before
    finished, path, hand = whole("ts", tmp_path), tmp_path / "clip.ts", HandClock()
    data = finished.read_bytes()
    append(path, data[: len(data) // 2])
    live = growing(path, hand, idle_s=1e9)
    hand.after(1, live.stop)
    frames = list(live)
    assert [number_of(frame.rgb) for frame in frames] == [
        number_of(frame.rgb) for frame in growing(path, HandClock())
    ]  # what the decoder still had is not lost
    assert live.captured == len(frames) > 0
    assert hand.now < 102
    assert live.lost is None


def test_a_later_run_skips_what_was_seen(tmp_path: Path) -> None:
    finished = whole("ts", tmp_path)
    frames = list(growing(finished, HandClock()).frames(10))
    assert [(frame.index, number_of(frame.rgb)) for frame in frames] == [(n, n) for n in range(10, COUNT)]


def test_choosing_frames(tmp_path: Path) -> None:
    finished = whole("ts", tmp_path)
    assert [frame.index for frame in growing(finished, HandClock(), stride=7)] == [0, 7, 14, 21]
    assert [frame.index for frame in growing(finished, HandClock(), fps=10.0)] == [0, 3, 6, 9, 12, 15, 18, 21]
    assert [frame.index for frame in growing(finished, HandClock(), most_frames=5)] == [0, 1, 2, 3, 4]
    assert [frame.index for frame in growing(finished, HandClock(), seconds=0.2)] == [0, 1, 2, 3, 4, 5]


def test_bare_jpegs_have_no_times_which_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    finished = whole("mjpeg", tmp_path)
    with caplog.at_level(logging.INFO, "openloger"):
        frames = list(growing(finished, HandClock()))
    assert "carries no times; its frames are numbered as 30 a second" in caplog.text
    assert [frame.timestamp_s for frame in frames] == pytest.approx([number / 30 for number in range(COUNT)])
    with pytest.raises(InputError, match=r"fps=10"):
        list(growing(finished, HandClock(), fps=10.0))


def test_a_file_that_is_begun_anew(tmp_path: Path) -> None:
    finished, path, hand = whole("ts", tmp_path), tmp_path / "clip.ts", HandClock()
    data = finished.read_bytes()
    append(path, data[: len(data) // 2])
    hand.after(1, lambda: path.write_bytes(data[:188]))
    with pytest.raises(InputError, match="begun anew"):
        list(growing(path, hand))


def test_a_file_that_is_renamed_when_it_is_done_is_read_to_its_end(tmp_path: Path) -> None:
    finished, path, hand = whole("ts", tmp_path), tmp_path / "clip.ts.part", HandClock()
    data = finished.read_bytes()
    append(path, data[: len(data) // 2])

    def finish() -> None:
        append(path, data[len(data) // 2 :])
        path.rename(tmp_path / "clip.ts")

    hand.after(1, finish)
    assert len(list(growing(path, hand))) == COUNT


def test_a_file_that_stays_empty(tmp_path: Path) -> None:
    path = tmp_path / "clip.ts"
    path.touch()
    with pytest.raises(InputError, match=r"clip\.ts.*empty.*2 s"):
        list(growing(path, HandClock()))


def test_a_file_that_holds_no_video(tmp_path: Path) -> None:
    path = tmp_path / "letter.ts"
    path.write_text("dear reader, " * 1000)
    with pytest.raises(InputError, match=r"letter\.ts.*not a video"):
        list(growing(path, HandClock()))


def test_an_mp4_with_its_index_last_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 5)
    with pytest.raises(InputError, match=r"clip\.mp4.*index"):
        open_live(path)
    assert len(list(growing(write_video(tmp_path / "early.mp4", 5, muxer={"movflags": "faststart"}), HandClock()))) == 5


def test_a_bad_frame_is_skipped_and_listed_and_leaves_a_gap(tmp_path: Path) -> None:
    path = damage(write_video(tmp_path / "clip.avi", 10, codec="mjpeg", encoder={"strict": "unofficial"}), 4)
    live = growing(path, HandClock())
    assert 4 not in [frame.index for frame in live]
    assert [index for index, _ in live.bad_frames] == [4]


def test_no_thread_is_left(tmp_path: Path) -> None:
    frames = growing(whole("ts", tmp_path), HandClock(), keep="all").frames()
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "openloger-capture"]


def test_time_passes_by_the_real_clock_too(tmp_path: Path) -> None:
    """All else here runs by a clock of the test's."""
    path = whole("ts", tmp_path)
    live = open_live(path, options=LiveOptions(patience=Patience(idle_s=0.05)), clock=Clock())
    frame = next(iter(live))
    assert number_of(frame.rgb) == 0
    assert frame.rgb.shape == numbered(0).shape
