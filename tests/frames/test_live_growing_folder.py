"""A folder that is being filled: every picture once, whole, in the order in which they appear."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from frame_clips import number_of, numbered
from live_sources import HandClock
from PIL import Image

from openloger.errors import BadFrameError, InputError
from openloger.frames.live import LiveFrames, LiveOptions, Patience, open_live


def put(folder: Path, number: int, *, suffix: str = ".png", at_s: float | None = None) -> Path:
    path = folder / f"frame{number}{suffix}"
    Image.fromarray(numbered(number)).save(path)
    if at_s is not None:
        os.utime(path, (at_s, at_s))
    return path


def filling(folder: Path, hand: HandClock, *, idle_s: float = 3.0, **options: object) -> LiveFrames:
    return open_live(folder, options=LiveOptions(patience=Patience(idle_s=idle_s), **options), clock=hand.clock)


def test_pictures_come_as_they_appear_with_their_files_times(tmp_path: Path) -> None:
    hand = HandClock()
    put(tmp_path, 9, at_s=1000.0)
    put(tmp_path, 10, at_s=1002.5)
    for number in (11, 12, 13):
        hand.after(2.5 * (number - 10), lambda number=number: put(tmp_path, number, at_s=1000.0 * number))
    frames = list(filling(tmp_path, hand))
    assert [number_of(frame.rgb) for frame in frames] == [9, 10, 11, 12, 13]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.name for frame in frames] == [f"frame{number}.png" for number in range(9, 14)]
    assert [frame.timestamp_s for frame in frames] == [1000.0, 1002.5, 11000.0, 12000.0, 13000.0]
    assert hand.now == pytest.approx(100 + 7.5 + 3, abs=0.2)


def test_times_do_not_go_back(tmp_path: Path) -> None:
    for number, at_s in enumerate([50.0, 40.0, 60.0]):
        put(tmp_path, number, at_s=at_s)
    assert [frame.timestamp_s for frame in filling(tmp_path, HandClock())] == [50.0, 50.0, 60.0]


def test_a_picture_that_sorts_before_what_was_given_is_not_lost(tmp_path: Path) -> None:
    hand = HandClock()
    put(tmp_path, 5)
    hand.after(1, lambda: put(tmp_path, 2))
    assert [number_of(frame.rgb) for frame in filling(tmp_path, hand)] == [5, 2]


def test_a_half_written_picture_is_waited_for(tmp_path: Path) -> None:
    hand = HandClock()
    data = put(tmp_path, 0).read_bytes()
    path = tmp_path / "frame0.png"
    path.write_bytes(data[: len(data) // 3])
    put(tmp_path, 1)
    hand.after(1.5, lambda: path.write_bytes(data[: len(data) // 2]))
    hand.after(3.0, lambda: path.write_bytes(data))
    live = filling(tmp_path, hand)
    assert [number_of(frame.rgb) for frame in live] == [0, 1]
    assert live.bad_frames == []


def test_a_picture_that_stays_bad_is_left_out_and_listed(tmp_path: Path) -> None:
    put(tmp_path, 0)
    (tmp_path / "frame1.png").write_bytes(b"\x89PNG and nothing else")
    put(tmp_path, 2)
    live = filling(tmp_path, HandClock())
    assert [number_of(frame.rgb) for frame in live] == [0, 2]
    assert [index for index, _ in live.bad_frames] == [1]
    with pytest.raises(BadFrameError, match="frame 1"):
        list(filling(tmp_path, HandClock(), on_bad_frame="stop"))


def test_a_picture_that_is_taken_away_again(tmp_path: Path) -> None:
    hand = HandClock()
    put(tmp_path, 0)
    (tmp_path / "frame1.png").write_bytes(b"\x89PNG")
    hand.after(0.5, (tmp_path / "frame1.png").unlink)
    assert [number_of(frame.rgb) for frame in filling(tmp_path, hand)] == [0]


def test_what_is_no_picture_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path, 0)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / ".hidden.png")
    (tmp_path / "frame1.png.part").write_bytes(b"half of it")
    (tmp_path / "notes.txt").write_text("sunny")
    assert [number_of(frame.rgb) for frame in filling(tmp_path, HandClock())] == [0]


def test_a_later_run_goes_on_after_what_was_given(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path, number)
    frames = list(filling(tmp_path, HandClock()).frames(3))
    assert [(frame.index, number_of(frame.rgb)) for frame in frames] == [(3, 3), (4, 4)]


def test_stopping_while_it_waits(tmp_path: Path) -> None:
    hand = HandClock()
    put(tmp_path, 0)
    live = filling(tmp_path, hand, idle_s=1e9)
    hand.after(4, live.stop)
    assert len(list(live)) == 1
    assert hand.now < 105


def test_a_folder_that_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\b3 s\b.*--idle"):
        list(filling(tmp_path, HandClock()))


def test_a_folder_that_goes_away_ends_with_what_there_was(tmp_path: Path) -> None:
    hand, folder = HandClock(), tmp_path / "shots"
    folder.mkdir()
    put(folder, 0)
    hand.after(1, (folder / "frame0.png").unlink)
    hand.after(1, folder.rmdir)
    live = filling(folder, hand)
    assert len(list(live)) == 1
    assert "No such file or directory" in str(live.lost)
