"""Live sources whose time is the test's: a clock that moves when it is waited on, and feeds that give when told to."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from frame_clips import numbered

from openloger.frames.lazy import LazyFrame
from openloger.frames.live.buffer import Keep
from openloger.frames.live.clock import Clock

UNIX_S = 1_700_000_000.0


@dataclass
class HandClock:
    """Passes when somebody waits, by as much; what is scheduled happens when its time has come."""

    now: float = 100.0
    waits: list[float] = field(default_factory=list)
    scheduled: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    @property
    def clock(self) -> Clock:
        return Clock(now_s=lambda: self.now, unix_s=lambda: UNIX_S + self.now, wait=self._wait)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Have it happen so many seconds from now."""
        self.scheduled.append((self.now + seconds, action))

    def _wait(self, stop: threading.Event, seconds: float) -> bool:
        if stop.is_set():
            return True
        self.waits.append(seconds)
        self.now += seconds
        due = [action for at, action in self.scheduled if at <= self.now]
        self.scheduled = [one for one in self.scheduled if one[0] > self.now]
        for action in due:
            action()
        return stop.is_set()


@dataclass
class GivenFeed:
    """Slots from any iterable; an iterable that blocks makes a feed that does."""

    given: Iterable[LazyFrame]
    name: str = "given"
    keep: Keep = "all"
    patience_s: float | None = None

    def slots(self, first: int, stop: threading.Event) -> Generator[LazyFrame, None, None]:
        yield from self.given


def slot(index: int, timestamp_s: float | None = None, load: Callable[[], Any] | None = None) -> LazyFrame:
    """A frame that carries its number, one a second."""
    picture = load or (lambda: numbered(index, 24, 32))
    return LazyFrame(index, float(index) if timestamp_s is None else timestamp_s, f"frame_{index:06d}", picture)


def slots(count: int) -> Iterator[LazyFrame]:
    return map(slot, range(count))


def pieces(path: Path, count: int, *, seed: int = 0) -> list[bytes]:
    """The bytes of a file in so many uneven parts, the first of which says what it is."""
    data = path.read_bytes()
    inner = np.random.default_rng(seed).integers(4, len(data), count - 1)
    cuts = [0, *sorted(int(place) for place in inner), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
