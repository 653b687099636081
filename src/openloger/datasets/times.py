"""Which of two clocks' readings belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from openloger.errors import InputError
from openloger.geometry import axis_angle_from_rotation, rotation_from_axis_angle
from openloger.shapes import Bool, Float64, Int

ROUNDING_S = 1e-6  # of seconds since 1970 in float64


def check_order(times_s: Float64[np.ndarray, " row"], path: Path) -> None:
    """Raises InputError where a time is before the one above it, naming the frame."""
    back = np.flatnonzero(np.diff(times_s) < 0)
    if len(back):
        frame = int(back[0]) + 1
        raise InputError(
            f"{path}: frame {frame} has the time {times_s[frame]:.6f} s, before frame {frame - 1} with "
            f"{times_s[frame - 1]:.6f} s; times of frames must not run backwards"
        )


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
