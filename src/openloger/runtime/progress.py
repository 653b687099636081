"""Progress of a long job: frames done, time, and time spent waiting."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """A moment of a run; seconds since it began."""

    frames: int  # since the video began, earlier runs included
    total: int | None  # where it is known
    new_frames: int  # of this run
    seconds: float
    waiting_s: float  # of these, how long the network stood still for frames to come or windows to be taken

    @property
    def frames_per_s(self) -> float:
        return self.new_frames / self.seconds if self.seconds else 0.0

    @property
    def busy(self) -> float:
        """The share of the time in which the network was at work, 0..1."""
        return 1 - self.waiting_s / self.seconds if self.seconds else 0.0

    @property
    def remaining_s(self) -> float | None:
        if self.total is None or not self.new_frames:
            return None
        return max(self.total - self.frames, 0) / self.frames_per_s


class Stopwatch:
    """Counts frames and time from the moment it is made."""

    def __init__(self, *, frames: int = 0, total: int | None = None) -> None:
        self._started_s = time.perf_counter()
        self._before, self._frames, self._total = frames, frames, total
        self._waiting_s = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time that counts as standing still."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._waiting_s += time.perf_counter() - began_s

    def timed(self, items: Iterable[T]) -> Iterator[T]:
        """`items`, with the time they take to come counted as waiting."""
        iterator = iter(items)
        while True:
            with self.waiting():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def advance(self, frames: int) -> Progress:
        """So many more frames are done."""
        self._frames += frames
        return self.now()

    def now(self) -> Progress:
        seconds = time.perf_counter() - self._started_s
        return Progress(self._frames, self._total, self._frames - self._before, seconds, self._waiting_s)
