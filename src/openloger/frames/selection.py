"""Which frames of a source are taken: the one place that applies `start`, `stop`, `stride` and `fps`.

The order of the four: `start` and `stop` are the source's own frame numbers; `fps` thins what lies between them by
their timestamps; `stride` takes every Nth of the remaining frames.

The rule of `fps`: the clock starts at the first frame of the cut and ticks every 1/fps seconds; of the frames between
two ticks the first is taken. Nothing is invented: where a source is slower than `fps`, every frame is taken as it is.
Whether a frame is taken depends on its time and its predecessor's alone, so a run taken up again chooses the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from openloger.errors import InputError

ROUNDING_S = 0.002  # containers round times to a millisecond: a frame this little before a tick is on it


@runtime_checkable
class Timed(Protocol):
    """Anything with a number and a time, such as a `LazyFrame`."""

    @property
    def index(self) -> int: ...

    @property
    def timestamp_s(self) -> float: ...


@dataclass(frozen=True)
class FrameStamp:
    """The number and time of a frame in its source."""

    index: int
    timestamp_s: float = 0.0


TimedT = TypeVar("TimedT", bound=Timed)


@dataclass(frozen=True)
class Selection:
    """A choice of frames; raises InputError for values that choose nothing."""

    start: int = 0
    stop: int | None = None
    stride: int = 1
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.start < 0:
            raise InputError(f"start={self.start}: frames are counted from 0; give 0 or more")
        if self.stop is not None and self.stop <= self.start:
            raise InputError(f"stop={self.stop} leaves no frame after start={self.start}; give a larger stop")
        if self.stride < 1:
            raise InputError(f"stride={self.stride}: give 1 to take every frame, 2 for every second one")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"fps={self.fps}: give a positive number of frames a second")

    @property
    def contiguous(self) -> bool:
        """True where every frame between `start` and `stop` is taken, so that none depends on those before it."""
        return self.stride == 1 and self.fps is None

    def of(self, frames: Iterable[TimedT]) -> Iterator[TimedT]:
        """The chosen ones, in order. `frames` must begin at or before `start`, unless this is `contiguous`."""
        position = 0
        clock_start_s = previous_tick = None
        for frame in frames:
            if frame.index < self.start:
                continue
            if self.stop is not None and frame.index >= self.stop:
                return
            if self.fps is not None:
                clock_start_s = frame.timestamp_s if clock_start_s is None else clock_start_s
                tick = math.floor((frame.timestamp_s - clock_start_s + ROUNDING_S) * self.fps)
                on_tick = previous_tick is None or tick > previous_tick
                previous_tick = tick
                if not on_tick:
                    continue
            if position % self.stride == 0:
                yield frame
            position += 1
