"""Capture times: the stream's own where it has them, never going back, with gaps kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_sources import UNIX_S, HandClock

from openloger.frames.live.clock import CaptureClock


def test_the_streams_own_steps_count_however_frames_arrive() -> None:
    hand = HandClock()
    capture = CaptureClock(hand.clock)
    times = []
    for number, late_s in enumerate([0.0, 0.3, 0.02, 2.5, 0.0, 40.0, 40.0]):  # a network that was slow, and more
        hand.now = 100 + 0.1 * number + late_s
        times.append(capture.time_of(5000 + 0.1 * number))
    assert times == pytest.approx([UNIX_S + 100 + 0.1 * number for number in range(7)])


def test_arrivals_count_where_there_are_no_times() -> None:
    hand = HandClock()
    capture = CaptureClock(hand.clock)
    times = []
    for now in (100.0, 100.5, 103.0):
        hand.now = now
        times.append(capture.time_of(None))
    assert times == pytest.approx([UNIX_S + now for now in (100.0, 100.5, 103.0)])


@pytest.mark.parametrize("anew_s", [0.0, 9000.0])
def test_a_clock_that_is_set_anew_is_followed_from_there(anew_s: float) -> None:
    hand = HandClock()
    capture = CaptureClock(hand.clock)
    for number in range(3):
        hand.now = 100 + number
        capture.time_of(50.0 + number)
    hand.now = 110
    assert capture.time_of(anew_s) == pytest.approx(UNIX_S + 110)
    hand.now = 112.7
    assert capture.time_of(anew_s + 1) == pytest.approx(UNIX_S + 111)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 20), st.none() | st.floats(0, 1000)), min_size=2, max_size=30))
def test_times_never_go_back(steps: list[tuple[float, float | None]]) -> None:
    hand = HandClock()
    capture = CaptureClock(hand.clock)
    times = []
    for passed_s, stream_s in steps:
        hand.now += passed_s
        times.append(capture.time_of(stream_s))
    assert times == sorted(times)
