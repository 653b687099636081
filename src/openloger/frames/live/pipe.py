"""Live video that is piped in: standard input, read without holding on to it when the run is to end."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from typing import Any

from openloger.frames.live.clock import Clock

_LOOK_S = 0.1


class PipedInput(io.RawIOBase):
    """A file descriptor as a raw stream that ends with its input, when `stop` is set, or after `stall_s` of nothing.

    Where the system cannot wait for a pipe (Windows), reading waits as long as the pipe does.
    """

    def __init__(self, descriptor: int, *, stall_s: float, stop: threading.Event, clock: Clock) -> None:
        super().__init__()
        self.stalled = False  # whether that is how it ended
        self._descriptor, self._stall_s, self._stop, self._clock = descriptor, stall_s, stop, clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As of any raw stream: how many bytes came, 0 at the end."""
        began_s = self._clock.now_s()
        while not self._stop.is_set() and not self.stalled:
            if sys.platform == "win32" or select.select([self._descriptor], [], [], _LOOK_S)[0]:
                data = os.read(self._descriptor, len(buffer))
                buffer[: len(data)] = data
                return len(data)
            self.stalled = self._clock.now_s() - began_s >= self._stall_s
        return 0
