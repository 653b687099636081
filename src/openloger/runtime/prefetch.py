"""Background threads: a worker that hands its error over, and prefetching, a bounded number of items ahead."""

from __future__ import annotations

import atexit
import queue
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeVar

from openloger.errors import InputError

LAST_PATIENCE_S = 10.0  # when the program ends


class Worker:
    """A daemon thread that runs `target` and then calls `on_end` with its error, or None, in the same thread.

    Before version 3.14 Python aborts where it ends while such a thread is in a library's C++. So it waits, at most
    `LAST_PATIENCE_S`, for those that have not ended; `are_running` is for programs that would rather not.
    """

    _started: ClassVar[weakref.WeakSet[threading.Thread]] = weakref.WeakSet()

    def __init__(
        self, target: Callable[[], None], *, name: str, on_end: Callable[[BaseException | None], None]
    ) -> None:
        self._target, self._on_end = target, on_end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._started.add(self._thread)
        self._thread.start()

    @classmethod
    def are_running(cls) -> bool:
        """Whether any has not ended."""
        return any(thread.is_alive() for thread in cls._started)

    @classmethod
    def wait_for_all(cls) -> None:
        """Wait for those that were started, at most `LAST_PATIENCE_S` in all."""
        until_s = time.monotonic() + LAST_PATIENCE_S
        for thread in list(cls._started):
            thread.join(max(until_s - time.monotonic(), 0.0))

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread to end, at most `timeout_s`."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._target()
        except BaseException as error:  # noqa: BLE001 - handed over to the consumer, who raises it
            self._on_end(error)
        else:
            self._on_end(None)


atexit.register(Worker.wait_for_all)

ItemT = TypeVar("ItemT")
PATIENCE_S = 2.0  # timeout of the join; a thread that is blocked on live input ends with its input


@dataclass(frozen=True)
class _End:
    """The iterator ended, by itself or with `error`."""

    error: BaseException | None = None


def prefetch(iterator: Iterable[ItemT], *, depth: int = 8) -> Generator[ItemT, None, None]:
    """The items of `iterator`, made in a thread that is at most `depth` finished items ahead.

    An exception comes through in its place, after the items before it. Closing the result (`close()`, or dropping it
    half read) stops the thread and closes `iterator`, in the thread that ran it. The thread starts with the first item.
    """
    if depth < 1:
        raise InputError(f"depth={depth}: give 1 or more items to work ahead")
    return _consume(iterator, depth)


def _consume(iterator: Iterable[ItemT], depth: int) -> Generator[ItemT, None, None]:
    ready: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def end(error: BaseException | None) -> None:
        if not stop.is_set():
            ready.put(_End(error))

    worker = Worker(partial(_produce, iterator, ready, stop), name="openloger-prefetch", on_end=end)
    worker.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        _drain(ready)  # unblocks a producer that waits for room; it checks `stop` before the next item
        worker.join(PATIENCE_S)


def _produce(iterator: Iterable[Any], ready: queue.Queue[Any], stop: threading.Event) -> None:
    with closing(iterator) if isinstance(iterator, Generator) else nullcontext():
        for item in iterator:
            if not stop.is_set():
                ready.put(item)
            if stop.is_set():
                break


def _drain(ready: queue.Queue[Any]) -> None:
    while True:
        try:
            ready.get_nowait()
        except queue.Empty:
            return
