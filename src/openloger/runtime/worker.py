"""A background thread that hands its error over to whoever waits for its work."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """A daemon thread that runs `target` and then calls `on_end` with its error, or None, in the same thread."""

    def __init__(
        self, target: Callable[[], None], *, name: str, on_end: Callable[[BaseException | None], None]
    ) -> None:
        self._target, self._on_end = target, on_end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

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
