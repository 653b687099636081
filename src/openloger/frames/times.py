"""Times of frames in seconds: files that count other units, and streams whose clock runs back or begins anywhere."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from openloger.errors import InputError
from openloger.shapes import Float64

LARGEST_S = 1e11  # no clock counts this many seconds
LONGEST_STEP_S = 1000.0  # between frames of a video, or rows of its truth
SLOW_STEP_S = 10.0  # from here on whole numbers may be milliseconds
EPOCH_S = (6e8, 4.2e9)  # 1989 to 2103, in seconds since 1970
USUAL_STEP_S = (2e-3, 0.5)  # of a video whose clock began elsewhere
PER_SECOND = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
logger = logging.getLogger("openloger")


def in_seconds(times: Float64[np.ndarray, " row"], source: str | Path) -> Float64[np.ndarray, " row"]:
    """The times of a file in seconds, where they count milli-, micro- or nanoseconds; the conversion is logged.

    Numbers of 1e11 and more cannot be seconds. Their unit is the one in which they lie in our days and are less than
    LONGEST_STEP_S apart, or else in which their steps are of USUAL_STEP_S.

    Raises InputError for times that are not finite, for smaller ones more than LONGEST_STEP_S apart, and where the unit
    is not certain.
    """
    if not np.isfinite(times).all():
        raise InputError(f"{source}: time {np.isfinite(times).argmin()} is not a finite number")
    largest, step = float(np.abs(times).max(initial=0)), _usual_step(times)
    if largest < LARGEST_S:
        if step > LONGEST_STEP_S:
            raise InputError(
                f"{source}: its times would be {step:g} s apart, so they are not seconds: write seconds "
                "(microseconds / 1e6, nanoseconds / 1e9)"
            )
        if step > SLOW_STEP_S and (times == np.rint(times)).all():
            logger.warning(
                "%s: its frames are %g s apart; if its times are milliseconds, write seconds (divide by 1000)",
                source,
                step,
            )
        return times
    units = [unit for unit, per in PER_SECOND.items() if _is_epoch(largest / per) and step / per < LONGEST_STEP_S]
    units = units or [unit for unit, per in PER_SECOND.items() if USUAL_STEP_S[0] <= step / per <= USUAL_STEP_S[1]]
    if len(units) != 1:
        raise InputError(f"{source}: times up to {largest:g} are not seconds, and their unit is unclear: write seconds")
    logger.info("%s: its times are %s", source, units[0])
    return times / PER_SECOND[units[0]]


def _usual_step(times: np.ndarray) -> float:
    steps = np.diff(np.unique(times))
    return float(np.median(steps)) if len(steps) else 0.0


def _is_epoch(seconds: float) -> bool:
    return EPOCH_S[0] <= seconds <= EPOCH_S[1]


BEGIN_ANYWHERE = frozenset({"mpegts", "mpeg", "dv", "wtv"})  # formats whose clock is the transmitter's


@dataclass
class FrameTimes:
    """The time of one frame after the other.

    A frame without a time follows the one before it at `interval_s`. Where a time does not come after the one before
    (videos that were joined, a clock that was set anew), it and all that follow are moved to come `interval_s` after
    it. The first such place is logged.
    """

    interval_s: float
    name: str
    from_zero: bool = False
    last_s: float | None = field(default=None, init=False)
    _offset_s: float | None = field(default=None, init=False)
    _reported: bool = field(default=False, init=False)

    def next(self, stream_s: float | None) -> float:
        """The time of the next frame; `stream_s` is its time by the stream, None where it has none."""
        if stream_s is None:
            self.last_s = 0.0 if self.last_s is None else self.last_s + self.interval_s
            return self.last_s
        if self._offset_s is None:
            self._offset_s = -stream_s if self.from_zero else 0.0
            if self.last_s is not None and stream_s + self._offset_s <= self.last_s:  # after some without a time
                self._offset_s = self.last_s + self.interval_s - stream_s
        elif self.last_s is not None and stream_s + self._offset_s <= self.last_s:
            self._restart(stream_s)
        self.last_s = stream_s + self._offset_s
        return self.last_s

    def _restart(self, stream_s: float) -> None:
        assert self.last_s is not None
        if not self._reported:
            logger.warning(
                "%s: its times go back from %.3f s to %.3f s; they are counted on", self.name, self.last_s, stream_s
            )
            self._reported = True
        self._offset_s = self.last_s + self.interval_s - stream_s
