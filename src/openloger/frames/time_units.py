"""Times in lists: seconds, or what counts milli-, micro- or nanoseconds since 1970."""

from __future__ import annotations

import logging

import numpy as np

from openloger.errors import InputError

LARGEST_S = 1e11  # no clock counts this many seconds
LONGEST_STEP_S = 1000.0  # between frames of a video
EPOCH_S = (6e8, 4.2e9)  # 1989 to 2103, in seconds since 1970
PER_SECOND = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
logger = logging.getLogger("openloger")


def in_seconds(times: np.ndarray, name: str) -> np.ndarray:
    """Times of a list in seconds; the conversion is logged.

    Numbers of 1e11 and more cannot be seconds: their unit is the one in which they lie in our days. Raises InputError
    where there is none, and where smaller numbers are more than LONGEST_STEP_S apart.
    """
    steps = np.diff(np.unique(times))
    largest, step = float(np.abs(times).max(initial=0)), float(np.median(steps)) if len(steps) else 0.0
    if largest < LARGEST_S:
        if step > LONGEST_STEP_S:
            raise InputError(
                f"{name}: its times would be {step:g} s apart, so they are not seconds: write seconds "
                "(microseconds / 1e6, nanoseconds / 1e9)"
            )
        return times
    units = [unit for unit, per in PER_SECOND.items() if EPOCH_S[0] <= largest / per <= EPOCH_S[1]]
    units = [unit for unit in units if step / PER_SECOND[unit] < LONGEST_STEP_S]
    if len(units) != 1:
        raise InputError(f"{name}: times up to {largest:g} are not seconds, and their unit is unclear: write seconds")
    logger.info("%s: its times are %s", name, units[0])
    return times / PER_SECOND[units[0]]
