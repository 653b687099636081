"""The time of live sources: a clock that tests replace, and capture times from a stream's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

JUMP_S = 5.0  # a stream's clock that goes on by so much more than has passed was set anew


@dataclass(frozen=True)
class Clock:
    """Seconds that pass, seconds since 1970, and waiting for an event for so many seconds at most."""

    now_s: Callable[[], float] = time.monotonic
    unix_s: Callable[[], float] = time.time
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait


@dataclass
class CaptureClock:
    """Unix seconds at which the frames of one connection were taken; they never go back.

    The first frame was taken when it arrived. From there on the stream's own times count, for they do not shake as
    arrivals do. Where it has none, or its clock was set anew, the arrival counts.
    """

    clock: Clock
    _unix_from_passing_s: float = field(default=0.0, init=False)
    _unix_from_stream_s: float | None = field(default=None, init=False)
    _last: tuple[float, float] = field(default=(0.0, 0.0), init=False)  # of the stream, and of its arrival
    _last_s: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self._unix_from_passing_s = self.clock.unix_s() - self.clock.now_s()

    def time_of(self, stream_s: float | None) -> float:
        """When the frame that arrives now was taken; `stream_s` is its time by the stream, None where it has none."""
        taken_s = arrived_s = self.clock.now_s() + self._unix_from_passing_s
        if stream_s is not None:
            if self._unix_from_stream_s is None or self._is_set_anew(stream_s, arrived_s):
                self._unix_from_stream_s = arrived_s - stream_s
            taken_s = stream_s + self._unix_from_stream_s
            self._last = stream_s, arrived_s
        self._last_s = max(self._last_s, taken_s)
        return self._last_s

    def _is_set_anew(self, stream_s: float, arrived_s: float) -> bool:
        """Frames may come late, but neither before the one they follow, nor much sooner than they were taken."""
        passed_s = stream_s - self._last[0]
        return passed_s < 0 or passed_s > arrived_s - self._last[1] + JUMP_S
