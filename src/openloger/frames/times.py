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
TIMER_STEP_S = 15.0  # a timer's steps are multiples of it; those of USUAL_RATES in milliseconds are not
EPOCH_S = (6e8, 4.2e9)  # 1989 to 2103, in seconds since 1970
USUAL_STEP_S = (2e-3, 0.5)  # of a video whose clock began elsewhere
PER_SECOND = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
USUAL_RATES = (24.0, 24e3 / 1001, 30.0, 30e3 / 1001, 60.0, 60e3 / 1001, 90.0, 120.0, 15.0, 12.0, 7.5)  # of no whole ms
FEWEST_TIMES = 6  # that show a rate
MOST_SKIPPED = 20  # frames between two times
logger = logging.getLogger("openloger")


def in_seconds(
    times: Float64[np.ndarray, " row"], source: str | Path, *, may_be_slow: bool = False
) -> Float64[np.ndarray, " row"]:
    """The times of a file in seconds, where they count milli-, micro- or nanoseconds; the conversion is logged.

    Numbers of 1e11 and more cannot be seconds. Their unit is the one in which they lie in our days and are less than
    LONGEST_STEP_S apart, or else in which their steps are of USUAL_STEP_S. Smaller numbers count the unit in which
    they are a camera's of USUAL_RATES, rounded (0, 33, 67, 100, …), and else seconds. `may_be_slow`: they are of
    something slower than a video, such as a track of GPS.

    Raises InputError for times that are not finite, for smaller ones more than LONGEST_STEP_S apart, where whole
    numbers may be milliseconds as well as seconds (0, 40, 80, …), and where the unit is not certain otherwise.
    """
    if not np.isfinite(times).all():
        raise InputError(f"{source}: time {np.isfinite(times).argmin()} is not a finite number")
    largest, step = float(np.abs(times).max(initial=0)), _usual_step(times)
    if largest < LARGEST_S:
        if step <= LONGEST_STEP_S and _is_epoch(largest):
            return times
        unit = _unit_of_rate(times, step)
        if unit is None:
            _check_step(times, step, source, may_be_slow=may_be_slow)
            return times
    else:
        units = [unit for unit, per in PER_SECOND.items() if _is_epoch(largest / per) and step / per < LONGEST_STEP_S]
        units = units or [unit for unit, per in PER_SECOND.items() if USUAL_STEP_S[0] <= step / per <= USUAL_STEP_S[1]]
        if len(units) != 1:
            raise InputError(
                f"{source}: times up to {largest:g} are not seconds, and their unit is unclear: write seconds"
            )
        unit = units[0]
    logger.info("%s: its times are %s", source, unit)
    return times / PER_SECOND[unit]


def _check_step(times: np.ndarray, step: float, source: str | Path, *, may_be_slow: bool) -> None:
    if step > LONGEST_STEP_S:
        raise InputError(
            f"{source}: its times would be {step:g} s apart, so they are not seconds: write seconds "
            "(microseconds / 1e6, nanoseconds / 1e9)"
        )
    steps = np.diff(np.unique(times))
    is_timer = step % TIMER_STEP_S == 0 and (steps == step).all()
    if step <= SLOW_STEP_S or is_timer or not _are_whole(times):
        return
    unclear = f"{source}: its times are whole numbers {step:g} apart, milliseconds or seconds"
    if may_be_slow:
        logger.warning("%s: seconds are taken; write milliseconds as seconds (divide by 1000)", unclear)
        return
    raise InputError(
        f"{unclear}: write milliseconds as seconds (divide by 1000), and slow seconds as seconds since 1970"
    )


def _unit_of_rate(times: np.ndarray, step: float) -> str | None:
    """The unit in which times are rounded multiples of the period of one of USUAL_RATES; None where there is none.

    Equal steps of whole numbers show no unit: 40 is a period in milliseconds as well as a timer's seconds.
    """
    if len(times) < FEWEST_TIMES or (_are_whole(times) and len(np.unique(np.diff(times))) == 1):
        return None
    for unit, per in PER_SECOND.items():
        for period in (per / rate for rate in USUAL_RATES):
            off = times - times[0] - np.rint((times - times[0]) / period) * period
            if 0.9 * period <= step <= MOST_SKIPPED * period and np.ptp(off) <= max(1.0, 0.03 * period):
                return unit
    return None


def _are_whole(times: np.ndarray) -> bool:
    return bool((times == np.rint(times)).all())


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
