"""Ctrl-C and SIGTERM as a request to stop, which a job honours when it next can; a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class StopRequest:
    """A stop that was, or was not yet, requested."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def __call__(self) -> bool:
        """For `RunOptions.should_stop`."""
        return self.requested

    def set(self) -> None:
        """Request a stop."""
        self._event.set()


@contextmanager
def stop_requests(
    signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM), *, on_request: Callable[[], None] | None = None
) -> Iterator[StopRequest]:
    """While it lasts, the first of `signals` is a request to stop; the next one does again what it did before.

    So a second Ctrl-C raises KeyboardInterrupt. `on_request` is called in the signal handler. Only the main thread can
    handle signals: elsewhere nothing changes, and nothing is requested.
    A handler puts back its own signal alone: of two that come together Python reports the second as an error where the
    first has changed its handler.
    """
    request = StopRequest()
    before: dict[signal.Signals, object] = {}
    came: list[int] = []

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]

    def handle(number: int, frame: object) -> None:
        if (previous := before.pop(signal.Signals(number), None)) is None:
            return  # the end puts it back at this instant
        signal.signal(number, previous)  # type: ignore[arg-type]
        came.append(number)
        if len(came) > 1:
            signal.raise_signal(number)
            return
        request.set()
        if on_request is not None:
            on_request()

    if threading.current_thread() is threading.main_thread():
        before.update({number: signal.signal(number, handle) for number in signals})
    try:
        yield request
    finally:
        restore()
