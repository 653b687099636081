"""Working ahead: an iterator that runs in its own thread, a bounded number of items before its consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from openloger.errors import InputError

ItemT = TypeVar("ItemT")
PATIENCE_S = 2.0  # how long to wait for the thread; one blocked on live input is left to end with its input


@dataclass(frozen=True)
class _End:
    """The iterator is over: by itself, or by `error`."""

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
    worker = threading.Thread(target=_produce, args=(iterator, ready, stop), name="openloger-run-ahead", daemon=True)
    worker.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        _drain(ready)  # frees a producer that waits for room; it looks at `stop` before it works on
        worker.join(PATIENCE_S)


def _produce(iterator: Iterable[Any], ready: queue.Queue[Any], stop: threading.Event) -> None:
    end = _End()
    try:
        for item in iterator:
            if not stop.is_set():
                ready.put(item)
            if stop.is_set():
                break
    except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
        end = _End(error)
    try:
        if isinstance(iterator, Generator):
            iterator.close()
    except BaseException as error:  # noqa: BLE001 - as above
        end = _End(end.error or error)
    if not stop.is_set():
        ready.put(end)


def _drain(ready: queue.Queue[Any]) -> None:
    while True:
        try:
            ready.get_nowait()
        except queue.Empty:
            return
