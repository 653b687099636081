"""Which of two clocks' readings belong together."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from openloger.errors import InputError
from openloger.geometry import axis_angle_from_rotation, rotation_from_axis_angle
from openloger.shapes import Bool, Float64, Int

ROUNDING_S = 1e-6  # of seconds since 1970 in float64
LARGEST_S = 1e11  # no clock counts this many seconds
LONGEST_STEP_S = 1000.0  # between frames of a video, or rows of its truth
EPOCH_S = (6e8, 4.2e9)  # 1989 to 2103, in seconds since 1970
PER_SECOND = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_log = logging.getLogger("openloger")


def in_seconds(times: Float64[np.ndarray, " row"], path: Path) -> Float64[np.ndarray, " row"]:
    """The times of a file in seconds, where they count milli-, micro- or nanoseconds.

    Numbers of 1e11 and more cannot be seconds. Their unit is the one in which they lie in our days and are less than
    LONGEST_STEP_S apart, or else in which they are 2 to 500 ms apart. The conversion is logged.

    Raises InputError for times that are not finite, for smaller ones more than LONGEST_STEP_S apart, and where the unit
    is not certain.
    """
    if not np.isfinite(times).all():
        raise InputError(f"{path}: time {np.isfinite(times).argmin()} is not a finite number")
    largest, step = float(np.abs(times).max(initial=0)), _usual_step(times)
    if largest < LARGEST_S:
        if step > LONGEST_STEP_S:
            raise InputError(
                f"{path}: its times would be {step:g} s apart, so they are not seconds: write seconds "
                "(microseconds / 1e6, nanoseconds / 1e9)"
            )
        return times
    units = [unit for unit, per in PER_SECOND.items() if _is_epoch(largest / per) and step / per < LONGEST_STEP_S]
    units = units or [unit for unit, per in PER_SECOND.items() if 2e-3 <= step / per <= 0.5]
    if len(units) != 1:
        raise InputError(f"{path}: times up to {largest:g} are not seconds, and their unit is unclear: write seconds")
    _log.info("%s: its times are %s", path, units[0])
    return times / PER_SECOND[units[0]]


def check_order(times_s: Float64[np.ndarray, " row"], path: Path) -> None:
    """Raises InputError where a time is before the one above it, naming the frame."""
    back = np.flatnonzero(np.diff(times_s) < 0)
    if len(back):
        frame = int(back[0]) + 1
        raise InputError(
            f"{path}: frame {frame} has the time {times_s[frame]:.6f} s, before frame {frame - 1} with "
            f"{times_s[frame - 1]:.6f} s; times of frames must not run backwards"
        )


def _usual_step(times: np.ndarray) -> float:
    steps = np.diff(np.unique(times))
    return float(np.median(steps)) if len(steps) else 0.0


def _is_epoch(seconds: float) -> bool:
    return EPOCH_S[0] <= seconds <= EPOCH_S[1]


def nearest_in_time(
    wanted_s: Float64[np.ndarray, " wanted"], given_s: Float64[np.ndarray, " given"], *, within_s: float
) -> Int[np.ndarray, " wanted"]:
    """For each wanted time the number of the given time that goes with it, or −1 where none is within `within_s`.

    TUM's rule: of all pairs within reach the closest is taken, then the closest of those that are left, and so on, so
    that no time is used twice.
    """
    order = np.argsort(given_s, kind="stable")
    first = np.searchsorted(given_s[order], wanted_s - within_s, side="left")
    count = np.searchsorted(given_s[order], wanted_s + within_s, side="right") - first
    wanted = np.repeat(np.arange(len(wanted_s)), count)
    given = order[np.arange(count.sum()) - np.repeat(count.cumsum() - count, count) + np.repeat(first, count)]
    chosen = np.full(len(wanted_s), -1, dtype=np.int64)
    taken: set[int] = set()
    for pair in np.argsort(np.abs(wanted_s[wanted] - given_s[given]), kind="stable"):
        if chosen[wanted[pair]] < 0 and int(given[pair]) not in taken:
            chosen[wanted[pair]] = given[pair]
            taken.add(int(given[pair]))
    return chosen


def cameras_at(
    wanted_s: Float64[np.ndarray, " wanted"],
    given_s: Float64[np.ndarray, " given"],
    world_from_cam: Float64[np.ndarray, "given 4 4"],
    *,
    within_s: float,
) -> tuple[Float64[np.ndarray, "wanted 4 4"], Bool[np.ndarray, " wanted"]]:
    """Cameras between the given ones, and whether both neighbours in time are within `within_s` of each other.

    `given_s` increases. Given cameras that are NaN are passed over. Positions go straight and rotations about one axis
    at constant speed (slerp). A time outside the given ones is not known.
    """
    is_given = np.isfinite(world_from_cam).all(axis=(1, 2))
    given_s, world_from_cam = given_s[is_given], world_from_cam[is_given]
    if len(given_s) == 0:
        return np.tile(np.eye(4), (len(wanted_s), 1, 1)), np.zeros(len(wanted_s), dtype=bool)
    last = len(given_s) - 1
    before = (np.searchsorted(given_s, wanted_s, side="right") - 1).clip(0, last)
    after = np.minimum(before + 1, last)
    span = given_s[after] - given_s[before]
    share = np.where(span > 0, (wanted_s - given_s[before]) / np.where(span > 0, span, 1), 0.0).clip(0, 1)
    a, b = torch.from_numpy(world_from_cam[before]), torch.from_numpy(world_from_cam[after])
    turn = axis_angle_from_rotation(a[:, :3, :3].mT @ b[:, :3, :3]) * torch.from_numpy(share)[:, None]
    cameras = a.clone()
    cameras[:, :3, :3] = a[:, :3, :3] @ rotation_from_axis_angle(turn)
    cameras[:, :3, 3] += torch.from_numpy(share)[:, None] * (b[:, :3, 3] - a[:, :3, 3])
    inside = (wanted_s >= given_s[0] - ROUNDING_S) & (wanted_s <= given_s[last] + ROUNDING_S) & (span <= within_s)
    return cameras.numpy(), inside
