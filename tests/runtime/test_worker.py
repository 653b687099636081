"""A worker hands its end over: None, or the error, whatever kind it is."""

from __future__ import annotations

import threading

import pytest

from openloger.runtime.prefetch import Worker


def run(target) -> list[tuple[BaseException | None, str]]:
    """The ends of a worker, each with the name of the thread that reported it."""
    ends: list[tuple[BaseException | None, str]] = []
    worker = Worker(target, name="a-worker", on_end=lambda error: ends.append((error, threading.current_thread().name)))
    worker.start()
    worker.join()
    return ends


def test_the_end_is_reported_once_in_the_thread() -> None:
    done: list[int] = []
    assert run(lambda: done.append(1)) == [(None, "a-worker")]
    assert done == [1]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_is_handed_over(kind: type[BaseException]) -> None:
    error = kind("from the thread")

    def fail() -> None:
        raise error

    assert run(fail) == [(error, "a-worker")]
