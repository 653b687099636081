"""Cameras of datasets: poses from rows of numbers or files of their own, and intrinsics."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from openloger.datasets.text import read_rows
from openloger.errors import InputError
from openloger.geometry import SE3, rotation_from_quaternion_wxyz
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import view_intrinsics, view_size
from openloger.shapes import Float32, Float64

INTEGER_CENTRES_PX = 0.5  # OpenCV calibrations put the centre of the first pixel at (0, 0); here it is at (0.5, 0.5)
RIGID_TOLERANCE = 1e-2  # of a rotation printed with few digits


def rigid_matrices(rows: Float64[np.ndarray, "row column"], path: Path) -> Float64[np.ndarray, "row 4 4"]:
    """`world_from_cam` of 12 or 16 numbers a row, row-major.

    NaN where a number is not finite, or all of rotation and translation are zero: that frame has no camera.
    Raises InputError where any other is not a rigid motion.
    """
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, : rows.shape[1] // 4] = rows.reshape(len(rows), -1, 4)
    lost = ~np.isfinite(matrices).all(axis=(1, 2)) | ~matrices[:, :3].any(axis=(1, 2))
    matrices[lost] = np.eye(4)
    rotation = matrices[:, :3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        bad = ~(off <= RIGID_TOLERANCE) | ~(np.linalg.det(rotation) > 0)
    bad |= (matrices[:, 3] != (0, 0, 0, 1)).any(axis=1)
    if bad.any():
        raise InputError(f"{path}: camera {bad.argmax()} is not a rigid motion; check that line")
    matrices[lost] = np.nan
    return matrices


def matrices_from_xyz_quaternion(xyz_xyzw: Float64[np.ndarray, "row 7"]) -> Float64[np.ndarray, "row 4 4"]:
    """`world_from_cam` of rows tx ty tz qx qy qz qw.

    NaN where a number is not finite, or the quaternion is zero: that frame has no camera.
    """
    lost = ~np.isfinite(xyz_xyzw).all(axis=1) | (np.abs(xyz_xyzw[:, 3:]) == 0).all(axis=1)
    wxyz = np.where(lost[:, None], (1.0, 0, 0, 0), xyz_xyzw[:, [6, 3, 4, 5]])
    matrices = np.tile(np.eye(4), (len(xyz_xyzw), 1, 1))
    matrices[:, :3, :3] = rotation_from_quaternion_wxyz(torch.from_numpy(np.ascontiguousarray(wxyz))).numpy()
    matrices[:, :3, 3] = xyz_xyzw[:, :3]
    matrices[lost] = np.nan
    return matrices


def inverses(matrices: Float64[np.ndarray, "row 4 4"]) -> Float64[np.ndarray, "row 4 4"]:
    """`b_from_a` of rigid `a_from_b`; NaN stays NaN."""
    return SE3.from_matrix(torch.from_numpy(matrices)).inverse().matrix().numpy()


def known_camera(matrix: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"] | None:
    """A camera, or None where it is not known."""
    return matrix if np.isfinite(matrix).all() else None


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> Float64[np.ndarray, "3 3"]:
    """K, in pixels."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)


def opencv_camera(fx: float, fy: float, cx: float, cy: float) -> Float64[np.ndarray, "3 3"]:
    """K of a calibration that puts the centre of the first pixel at (0, 0)."""
    return camera_matrix(fx, fy, cx + INTEGER_CENTRES_PX, cy + INTEGER_CENTRES_PX)


def check_intrinsics(path: Path, intrinsics: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    """K itself; raises InputError where a focal length is not positive, or a number not finite."""
    if not np.isfinite(intrinsics).all() or min(intrinsics[0, 0], intrinsics[1, 1]) <= 0:
        raise InputError(f"{path}: focal lengths must be positive and all numbers finite")
    return intrinsics


def read_matrix(path: Path, *, what: str) -> Float64[np.ndarray, "4 4"]:
    """Four lines of four numbers."""
    rows = read_rows(path, columns=4, what=what)
    if len(rows) != 4:
        raise InputError(f"{path} has {len(rows)} lines of numbers, where 4 are wanted ({what})")
    return rows


def read_pose(path: Path) -> Float64[np.ndarray, "4 4"] | None:
    """`world_from_cam`; None where there is no file, or it is not finite."""
    if not path.exists():
        return None
    return known_camera(rigid_matrices(read_matrix(path, what="4 × 4 camera").reshape(1, -1), path)[0])


def view_camera(camera: CameraModel) -> Float64[np.ndarray, "3 3"]:
    """K of the view of a camera's pictures (`geometry.views`), whose size it has to have."""
    return np.array(_view_intrinsics(camera), dtype=np.float64)


@lru_cache(maxsize=64)
def _view_intrinsics(camera: CameraModel) -> tuple[tuple[float, ...], ...]:
    assert camera.size is not None
    return tuple(map(tuple, view_intrinsics(camera, view_size(camera, camera.size)).tolist()))


def nearest_depth(
    points_cam: Float64[np.ndarray, "point 3"], intrinsics: Float64[np.ndarray, "3 3"], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """Depths along z of points in front of a camera, each in the pixel that it falls on; of several the nearest."""
    at = points_cam[points_cam[:, 2] > 0]
    pixel = np.floor((at @ intrinsics.T)[:, :2] / at[:, 2:])
    inside = ((pixel >= 0) & (pixel < (size[1], size[0]))).all(axis=1)
    (x, y), z = pixel[inside].astype(int).T, at[inside, 2]
    depth = np.full(size, np.inf, dtype=np.float32)
    np.minimum.at(depth, (y, x), z.astype(np.float32))
    return np.where(np.isfinite(depth), depth, np.float32(0))
