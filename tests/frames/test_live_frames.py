"""A live source as frames: what a slow reader misses, how it ends, and how long frames waited."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from frame_clips import number_of
from live_sources import GivenFeed, HandClock, slot, slots

from openloger.errors import InputError
from openloger.frames.lazy import LazyFrame, UndecodableError
from openloger.frames.live import LiveFrames, LiveOptions
from openloger.frames.live.source import WAITING_FRAMES
from openloger.values import FrameSource


def live(given: Iterator[LazyFrame], *, patience_s: float | None = None, **options: object) -> LiveFrames:
    return LiveFrames(GivenFeed(given, patience_s=patience_s), LiveOptions(**options), clock=HandClock().clock)


def test_it_is_a_frame_source_without_length() -> None:
    source = live(slots(3))
    assert isinstance(source, FrameSource)
    assert source.length is None
    assert [number_of(frame.rgb) for frame in source] == [0, 1, 2]


def test_a_slow_reader_misses_frames_and_every_one_is_counted() -> None:
    first_is_taken, all_are_put = threading.Event(), threading.Event()

    def given() -> Iterator[LazyFrame]:
        yield slot(0)
        assert first_is_taken.wait(60)
        yield from map(slot, range(1, 50))
        all_are_put.set()

    source = live(given(), keep="latest")
    frames = source.frames()
    seen = [next(frames).index]
    first_is_taken.set()
    assert all_are_put.wait(60)
    seen += [frame.index for frame in frames]
    assert source.captured == 50
    assert source.dropped == 49 - WAITING_FRAMES
    assert len(seen) == 1 + WAITING_FRAMES
    assert seen[0] == 0
    assert seen[-1] == 49


def test_pictures_that_are_dropped_are_never_made() -> None:
    made: list[int] = []
    first_is_taken, all_are_put = threading.Event(), threading.Event()

    def counted(index: int) -> LazyFrame:
        plain = slot(index)
        return slot(index, load=lambda: (made.append(index), plain.load())[1])

    def given() -> Iterator[LazyFrame]:
        yield counted(0)
        assert first_is_taken.wait(60)
        yield from map(counted, range(1, 40))
        all_are_put.set()

    source = live(given(), keep="latest")
    frames = source.frames()
    next(frames)
    first_is_taken.set()
    assert all_are_put.wait(60)
    assert [frame.index for frame in frames] == made[1:]
    assert len(made) == 1 + WAITING_FRAMES


def test_a_slow_reader_holds_up_a_source_that_can_wait() -> None:
    put = []

    def given() -> Iterator[LazyFrame]:
        for one in slots(50):
            put.append(one.index)
            yield one

    source = live(given(), keep="all")
    frames = source.frames()
    next(frames)
    assert len(put) <= WAITING_FRAMES + 2  # taken, waiting, and one in hand
    assert [frame.index for frame in frames] == list(range(1, 50))
    assert source.dropped == 0


def test_stopping_gives_what_was_captured() -> None:
    three_are_put, never = threading.Event(), threading.Event()

    def given() -> Iterator[LazyFrame]:
        yield from slots(3)
        three_are_put.set()
        never.wait(60)

    source = live(given())
    frames = source.frames()
    seen = [next(frames).index]
    assert three_are_put.wait(60)
    source.stop()
    never.set()
    seen += [frame.index for frame in frames]
    assert seen == [0, 1, 2]
    assert source.stopped
    assert source.lost is None


def test_a_camera_that_hangs_is_lost() -> None:
    """A driver that blocks cannot be interrupted; the reader does not wait for it for ever."""
    never = threading.Event()

    def given() -> Iterator[LazyFrame]:
        yield from slots(2)
        never.wait(60)

    source = live(given(), patience_s=1.0)
    seen = []
    for frame in source:
        seen.append(frame.index)
        if frame.index == 1:
            threading.Timer(1.5, never.set).start()
    assert seen == [0, 1]
    assert source.lost == "nothing came for 1 s"


def test_no_frame_at_all() -> None:
    with pytest.raises(InputError, match=r"^given.*no frame"):
        list(live(iter(())))
    stopped = live(slots(3))
    stopped.stop()
    with pytest.raises(InputError, match=r"^given.*no frame"):
        list(stopped)


def test_a_later_run_may_find_nothing_new() -> None:
    assert list(live(iter(())).frames(5)) == []


def test_errors_come_after_the_frames_before_them() -> None:
    def given(error: Exception) -> Iterator[LazyFrame]:
        yield from slots(2)
        raise error

    seen = []
    with pytest.raises(InputError, match="begun anew"):
        seen += [frame.index for frame in live(given(InputError("begun anew")))]
    unplugged = live(given(OSError(19, "No such device")))
    assert [frame.index for frame in unplugged] == [0, 1]
    assert "No such device" in str(unplugged.lost)


def test_limits_count_what_is_given() -> None:
    def bad() -> None:
        raise UndecodableError("torn")

    def given() -> Iterator[LazyFrame]:
        yield slot(0)
        yield slot(1, load=bad)
        yield from map(slot, range(2, 9))

    source = live(given(), most_frames=3)
    assert [frame.index for frame in source] == [0, 2, 3]
    assert source.bad_frames == [(1, "torn")]
    assert [frame.index for frame in live(slots(9), seconds=3.0)] == [0, 1, 2]
    assert [frame.index for frame in live(slots(9), stride=3)] == [0, 3, 6]


def test_how_long_a_frame_waited_is_told_once() -> None:
    hand = HandClock()
    source = LiveFrames(GivenFeed(slots(4)), LiveOptions(), clock=hand.clock)
    assert [frame.index for frame in source] == [0, 1, 2, 3]
    hand.now += 2.5
    assert source.waited_s(1) == 2.5
    assert source.waited_s(1) is None
    assert source.waited_s(0) is None
    assert source.waited_s(3) == 2.5
