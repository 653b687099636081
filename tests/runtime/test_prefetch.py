"""Working ahead: the same items, bounded, errors in their place, and no thread left."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from openloger.errors import BadFrameError, InputError
from openloger.runtime.prefetch import Worker, prefetch


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "openloger-prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    assert workers() == []
    yield
    assert workers() == []


class Counting:
    """Counts up; knows how far it got and whether and where it was closed."""

    def __init__(self, end: int, error_at: int | None = None) -> None:
        self.made, self.closed_in = 0, None
        self._end, self._error_at = end, error_at

    def items(self) -> Iterator[int]:
        try:
            while self.made < self._end:
                if self.made == self._error_at:
                    raise BadFrameError(f"frame {self.made} is bad", index=self.made)
                self.made += 1
                yield self.made - 1
        finally:
            self.closed_in = threading.current_thread().name


@pytest.mark.parametrize("depth", [1, 2, 8, 100])
@pytest.mark.parametrize("count", [0, 1, 7, 50])
def test_the_items_are_the_same(depth: int, count: int) -> None:
    assert list(prefetch(Counting(count).items(), depth=depth)) == list(range(count))


def test_any_iterable_will_do() -> None:
    assert list(prefetch([3, 1, 2])) == [3, 1, 2]


@pytest.mark.parametrize("depth", [1, 4])
def test_it_runs_ahead_so_far_and_no_further(depth: int) -> None:
    counting = Counting(1000)
    ahead = prefetch(counting.items(), depth=depth)
    assert counting.made == 0
    assert next(ahead) == 0
    _until(lambda: counting.made == depth + 2)  # taken, in the queue, and one waiting for room
    time.sleep(0.05)
    assert counting.made == depth + 2
    ahead.close()  # type: ignore[attr-defined]


def test_work_overlaps() -> None:
    """The maker of an item waits for the user of the one before to be at work: one after the other, they never meet."""
    both_at_work = threading.Barrier(2, timeout=30)

    def made() -> Iterator[int]:
        for number in range(6):
            if number > 0:
                both_at_work.wait()
            yield number

    for item in prefetch(made(), depth=1):
        if item < 5:
            both_at_work.wait()


@pytest.mark.parametrize("error_at", [0, 3, 20])
def test_an_error_comes_after_the_items_before_it(error_at: int) -> None:
    ahead = prefetch(Counting(30, error_at).items(), depth=4)
    assert [next(ahead) for _ in range(error_at)] == list(range(error_at))
    with pytest.raises(BadFrameError, match=f"frame {error_at} is bad"):
        next(ahead)


def test_even_an_interrupt_comes_through() -> None:
    def interrupted() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    ahead = prefetch(interrupted())
    assert next(ahead) == 1
    with pytest.raises(KeyboardInterrupt):
        next(ahead)


def test_closing_stops_the_thread_and_closes_the_iterator_there() -> None:
    counting = Counting(10**9)
    ahead = prefetch(counting.items(), depth=3)
    assert next(ahead) == 0
    begin = time.perf_counter()
    ahead.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - begin < 1.9, "less than the patience of the one who closes"
    assert workers() == []
    assert counting.closed_in == "openloger-prefetch"
    assert next(ahead, "over") == "over"


def test_dropping_it_half_read_stops_the_thread() -> None:
    counting = Counting(10**9)
    for item in prefetch(counting.items()):
        if item == 5:
            break
    _until(lambda: workers() == [])
    assert counting.closed_in == "openloger-prefetch"


def test_an_error_in_the_consumer_stops_the_thread() -> None:
    counting = Counting(10**9)
    with pytest.raises(ZeroDivisionError):
        _divide_by_nothing(prefetch(counting.items()))
    _until(lambda: workers() == [])
    assert counting.closed_in is not None


def _divide_by_nothing(items: Iterator[int]) -> None:
    for item in items:
        _ = item / 0


def test_one_that_was_never_begun_has_no_thread() -> None:
    counting = Counting(5)
    ahead = prefetch(counting.items())
    assert workers() == []
    del ahead
    assert counting.made == 0


def test_many_opened_and_closed_leave_nothing() -> None:
    before = threading.active_count()
    for _ in range(200):
        ahead = prefetch(Counting(10**9).items(), depth=1)
        next(ahead)
        ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_no_depth_is_refused() -> None:
    with pytest.raises(InputError, match="depth=0"):
        prefetch([], depth=0)


def _until(condition: object) -> None:
    end = time.perf_counter() + 30
    while not condition():  # type: ignore[operator]
        assert time.perf_counter() < end, "waited in vain"
        time.sleep(0.001)


COMPUTES = """
import sys
import torch
from openloger.cli import program
from openloger.runtime import prefetch

def compute():
    matrix = torch.eye(200)
    for _ in range({rounds}):
        torch.linalg.svd(matrix)

prefetch.Worker(compute, name="computes", on_end=lambda error: None).start()
"""


def test_a_program_that_ends_while_a_thread_computes_is_not_aborted() -> None:
    command = COMPUTES.format(rounds=10**9) + 'sys.argv = ["openloger", "info", "/nowhere"]; program()'
    ended = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1
    library = COMPUTES.format(rounds=300) + 'raise SystemExit("an error of the user\'s")'
    ended = subprocess.run([sys.executable, "-c", library], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr == "an error of the user's\n"


def test_an_end_waits_for_no_thread_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openloger.runtime.prefetch.LAST_PATIENCE_S", 0.05)
    done = threading.Event()
    worker = Worker(lambda: done.wait(60) and None, name="blocked", on_end=lambda error: None)
    worker.start()
    Worker.wait_for_all()
    assert Worker.are_running()
    done.set()
    worker.join(60.0)
    assert not Worker.are_running()
