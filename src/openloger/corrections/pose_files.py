"""Poses of another system: TUM's and KITTI's text, and JSON as programs on ARKit write it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openloger.datasets.cameras import matrices_from_xyz_quaternion, rigid_matrices
from openloger.datasets.text import read_rows, read_text
from openloger.datasets.times import cameras_at
from openloger.errors import InputError
from openloger.frames.times import in_seconds
from openloger.shapes import Bool, Float64

WITHIN_S = 1.0  # between two poses that a frame lies between
_TUM_COLUMNS = 8
_GL = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y up, z backward, as ARKit has it, to OpenCV's axes and back
_MATRIX_KEYS = ("transform", "transform_matrix", "cameraPoseARFrame", "pose", "matrix")
_TIME_KEYS = ("timestamp", "time", "t")


@dataclass(frozen=True, eq=False)
class MeasuredPoses:
    """Cameras in the world of another system, OpenCV axes; NaN where one is lost."""

    path: Path
    world_from_cam: Float64[np.ndarray, "pose 4 4"]
    time_s: Float64[np.ndarray, " pose"] | None  # increasing; None: a pose for each frame of the source
    is_dated: bool  # whether time_s is since 1970
    is_upright: bool  # whether y is down along gravity

    def at(
        self, times_s: Float64[np.ndarray, " frame"]
    ) -> tuple[Float64[np.ndarray, "frame 4 4"], Bool[np.ndarray, " frame"]]:
        """Cameras between the given ones, and which are known."""
        assert self.time_s is not None
        return cameras_at(times_s, self.time_s, self.world_from_cam, within_s=WITHIN_S)


def read_poses(path: Path) -> MeasuredPoses:
    """Of a file with 8 numbers a line (TUM), 12 or 16 (KITTI, one a frame), or `.json`.

    JSON is a list, or an object with a list `frames`, of objects with a 4 × 4 matrix (`transform`,
    `transform_matrix`, `pose`; rows, or 16 numbers column by column as ARKit's simd has them) in ARKit's axes, whose
    world's y is up, and a `timestamp` in seconds. Other units of time are converted (`frames.times.in_seconds`).

    Raises InputError where there is none, or it cannot be read.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; give poses as TUM or KITTI text, or JSON")
    if path.suffix.lower() == ".json":
        return _of_json(path)
    rows = read_rows(path, columns=(_TUM_COLUMNS, 12, 16), what="poses")
    if rows.shape[1] != _TUM_COLUMNS:
        return MeasuredPoses(path, rigid_matrices(rows, path), None, is_dated=False, is_upright=False)
    rows[:, 0] = in_seconds(rows[:, 0], path)
    order = np.argsort(rows[:, 0], kind="stable")
    rows = rows[order][np.append(True, np.diff(rows[order, 0]) > 0)]
    cameras = matrices_from_xyz_quaternion(rows[:, 1:])
    return MeasuredPoses(path, cameras, rows[:, 0].copy(), is_dated=bool(rows[0, 0] > 1e8), is_upright=False)


def _of_json(path: Path) -> MeasuredPoses:
    try:
        value: Any = json.loads(read_text(path, "poses"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    entries: Any = value.get("frames") if isinstance(value, dict) else value
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: holds no list of frames")
    matrices, times = [], []
    for number, entry in enumerate(entries):
        matrices.append(_matrix(path, number, entry))
        times.append(next((entry[key] for key in _TIME_KEYS if key in entry), None))
    gl = np.stack(matrices)
    flat = rigid_matrices(gl.reshape(len(gl), 16), path)
    world_from_cam = _GL @ flat @ _GL
    if any(time is None for time in times):
        if any(time is not None for time in times):
            raise InputError(f"{path}: some of its frames have a timestamp and others have none")
        return MeasuredPoses(path, world_from_cam, None, is_dated=False, is_upright=True)
    try:
        given = np.array([float(time) for time in times])
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{path}: a timestamp is no number of seconds") from None
    times_s = in_seconds(given, path)
    if not (np.diff(times_s) > 0).all():
        raise InputError(f"{path}: its timestamps do not increase")
    return MeasuredPoses(path, world_from_cam, times_s, is_dated=bool(times_s[0] > 1e8), is_upright=True)


def _matrix(path: Path, number: int, entry: Any) -> np.ndarray:
    found = next((entry[key] for key in _MATRIX_KEYS if key in entry), None) if isinstance(entry, dict) else None
    try:
        matrix = np.array(found, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape == (16,):
        matrix = matrix.reshape(4, 4).T if np.allclose(matrix[3::4], (0, 0, 0, 1)) else matrix.reshape(4, 4)
    if matrix.shape != (4, 4):
        raise InputError(f"{path}: frame {number} has no 4 × 4 matrix under {', '.join(_MATRIX_KEYS)}")
    return matrix
