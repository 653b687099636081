"""The room between capture and network: what waits, what goes, and how it ends."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openloger.errors import InputError
from openloger.frames.live.buffer import ClosedError, FrameBuffer, Keep


def room(capacity: int, keep: Keep) -> FrameBuffer[int]:
    return FrameBuffer(capacity, keep=keep, time_of=float)


def taken(waiting: FrameBuffer[int]) -> list[int]:
    """All that is left in a closed room."""
    found = [waiting.take() for _ in range(len(waiting))]
    with pytest.raises(ClosedError):
        waiting.take()
    return found


@pytest.mark.parametrize("capacity", [1, 2, 5, 16])
@pytest.mark.parametrize("count", [1, 16, 17, 100])
def test_latest_drops_what_there_is_no_room_for_and_counts_it(capacity: int, count: int) -> None:
    waiting = room(capacity, "latest")
    for number in range(count):
        assert waiting.put(number)
    assert waiting.dropped == max(count - capacity, 0)
    waiting.close()
    left = taken(waiting)
    assert len(left) == min(count, capacity)
    assert left[-1] == count - 1


@pytest.mark.parametrize("count", [20, 33, 64, 500])
def test_latest_thins_evenly(count: int) -> None:
    """No step is twice as long as even steps would be; dropping the oldest would leave one of `count - capacity`."""
    capacity = 12
    waiting = room(capacity, "latest")
    waiting.put(0)
    waiting.take()
    for number in range(1, count):
        waiting.put(number)
    waiting.close()
    seen = [0, *taken(waiting)]
    steps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert max(steps) < 2 * (count - 1) / capacity


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 6), st.lists(st.booleans(), max_size=80))
def test_nothing_is_lost_uncounted_whatever_the_order(capacity: int, puts: list[bool]) -> None:
    waiting = room(capacity, "latest")
    number, seen = 0, []
    for is_put in puts:
        if is_put:
            waiting.put(number)
            number += 1
        elif len(waiting):
            seen.append(waiting.take())
        assert len(waiting) <= capacity
    waiting.close()
    left = taken(waiting)
    assert len(seen) + len(left) + waiting.dropped == number
    assert seen + left == sorted(set(seen + left))
    if number:
        assert (seen + left)[-1] == number - 1


def test_all_makes_the_source_wait() -> None:
    waiting = room(2, "all")
    third_is_in = threading.Event()

    def put_three() -> None:
        for number in range(3):
            waiting.put(number)
        third_is_in.set()

    worker = threading.Thread(target=put_three)
    worker.start()
    while len(waiting) < 2:
        pass
    assert not third_is_in.wait(0.05)
    assert waiting.take() == 0
    assert third_is_in.wait(30)
    worker.join()
    waiting.close()
    assert taken(waiting) == [1, 2]
    assert waiting.dropped == 0


def test_closing_frees_a_source_that_waits() -> None:
    waiting = room(1, "all")
    waiting.put(0)
    answers = []
    worker = threading.Thread(target=lambda: answers.append(waiting.put(1)))
    worker.start()
    waiting.close()
    worker.join(30)
    assert answers == [False]
    assert taken(waiting) == [0]


def test_an_error_comes_after_what_waited_and_the_first_one_counts() -> None:
    waiting = room(3, "latest")
    waiting.put(7)
    waiting.close(InputError("first"))
    waiting.close(InputError("second"))
    assert waiting.put(8) is False
    assert waiting.take() == 7
    with pytest.raises(InputError, match="first"):
        waiting.take()


def test_patience_ends() -> None:
    with pytest.raises(TimeoutError):
        room(1, "all").take(0.01)
