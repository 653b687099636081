"""Camera paths for the tests of metrics, made of seeds."""

from __future__ import annotations

import numpy as np
import torch

from openloger.geometry import rotation_from_axis_angle

CIRCLE = 2 * np.pi


def turned(axis_angle: np.ndarray) -> np.ndarray:
    return rotation_from_axis_angle(torch.from_numpy(np.asarray(axis_angle, dtype=np.float64))).numpy()


def cameras(centres: np.ndarray, axis_angle: np.ndarray) -> np.ndarray:
    out = np.tile(np.eye(4), (len(centres), 1, 1))
    out[:, :3, :3], out[:, :3, 3] = turned(axis_angle), centres
    return out


def wander(seed: int, count: int = 60, step: float = 1.0) -> np.ndarray:
    """A random walk that turns."""
    draw = np.random.default_rng(seed)
    return cameras(
        (draw.normal(size=(count, 3)) * step).cumsum(axis=0), draw.normal(size=(count, 3)).cumsum(axis=0) / 10
    )


def noisy(path: np.ndarray, seed: int, *, centre: float = 0.1, angle: float = 0.05) -> np.ndarray:
    draw = np.random.default_rng(seed + 1000)
    out = path.copy()
    out[:, :3, 3] += draw.normal(size=(len(path), 3)) * centre
    out[:, :3, :3] = out[:, :3, :3] @ turned(draw.normal(size=(len(path), 3)) * angle)
    return out


def moved(path: np.ndarray, scale: float, axis_angle: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The same path in another frame, with another unit."""
    out = path.copy()
    out[:, :3, :3] = turned(axis_angle) @ path[:, :3, :3]
    out[:, :3, 3] = scale * path[:, :3, 3] @ turned(axis_angle).T + shift
    return out


def loop(count: int = 240, laps: float = 2.0, radius: float = 10.0) -> np.ndarray:
    """Round and round in a circle, looking ahead."""
    at = np.linspace(0, laps * CIRCLE, count)
    centres = radius * np.stack([np.cos(at), np.zeros(count), np.sin(at)], axis=1)
    return cameras(centres, np.stack([np.zeros(count), -at, np.zeros(count)], axis=1))
