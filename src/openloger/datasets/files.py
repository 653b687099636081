"""Reading what datasets are made of: numbers in text, depth in PNG, cameras in rows. Every fault names its file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.frames.image_file import IMAGE_DAMAGE, open_image
from openloger.geometry import rotation_from_quaternion_wxyz
from openloger.shapes import Float32, Float64
from openloger.values import FrameSource

INTEGER_CENTRES_PX = 0.5  # OpenCV calibrations put the centre of the first pixel at (0, 0); here it is at (0.5, 0.5)
RIGID_TOLERANCE = 1e-2  # of a rotation printed with few digits


def require(path: Path, what: str) -> Path:
    """`path` itself; raises InputError where it is not there."""
    if not path.exists():
        raise InputError(f"{path} is missing ({what}); see docs/datasets.md for the layout")
    return path


def natural(paths: Iterable[Path]) -> tuple[Path, ...]:
    """In the order in which people number things: 2 before 10."""
    return tuple(sorted(paths, key=lambda path: [part.zfill(20) for part in re.findall(r"\d+|\D+", str(path))]))


def listed(folder: Path, pattern: str) -> tuple[Path, ...]:
    """The files of a folder that match, in natural order; raises InputError where there are none."""
    found = natural(require(folder, pattern).glob(pattern))
    if not found:
        raise InputError(f"{folder} holds no {pattern}; see docs/datasets.md for the layout")
    return found


def read_rows(path: Path, *, columns: int | tuple[int, ...], what: str) -> Float64[np.ndarray, "row column"]:
    """Numbers, a row a line; blank lines and what follows a # are passed over, commas are spaces.

    Raises InputError where the file is missing, empty, or a line has another number of columns or a word in it.
    """
    allowed = (columns,) if isinstance(columns, int) else columns
    rows: list[list[float]] = []
    for number, text in enumerate(_text(path, what).splitlines(), start=1):
        words = text.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        if len(words) not in allowed or (rows and len(words) != len(rows[0])):
            wanted = " or ".join(str(count) for count in allowed)
            raise InputError(f"{path}, line {number}: {len(words)} numbers, where {wanted} are wanted ({what})")
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise InputError(f"{path}, line {number}: {text.strip()[:60]!r} is not a row of numbers ({what})") from None
    if not rows:
        raise InputError(f"{path} holds no numbers ({what})")
    return np.array(rows, dtype=np.float64)


def read_named_rows(path: Path, *, what: str) -> dict[str, list[float]]:
    """`name: numbers` lines, as in KITTI's calibration files; lines of another form are passed over."""
    found = {}
    for line in _text(path, what).splitlines():
        name, _, rest = line.partition(":")
        try:
            found[name.strip()] = [float(word) for word in rest.split()]
        except ValueError:
            continue
    return found


def read_stamped_paths(path: Path, *, what: str) -> tuple[Float64[np.ndarray, " row"], tuple[Path, ...]]:
    """`seconds path` lines, as in TUM's `rgb.txt`; paths are from the list's own folder."""
    times, paths = [], []
    for number, text in enumerate(_text(path, what).splitlines(), start=1):
        words = text.partition("#")[0].split(maxsplit=1)
        if not words:
            continue
        try:
            times.append(float(words[0]))
            paths.append(path.parent / words[1].strip())
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number}: {text[:60]!r} is not `seconds path` ({what})") from None
    if not paths:
        raise InputError(f"{path} lists no file ({what})")
    return np.array(times, dtype=np.float64), tuple(paths)


def read_depth_png(path: Path, *, per_unit: float, none: int | None = None) -> Float32[np.ndarray, "rows columns"]:
    """A 16-bit PNG whose values are `per_unit` to the world's unit; 0 and `none` stand for no depth."""
    try:
        with open_image(require(path, "depth"), formats=("PNG",)) as opened:
            values = np.array(opened)
    except IMAGE_DAMAGE as error:
        raise InputError(f"{path} cannot be read as depth: {error}") from error
    if values.ndim != 2 or values.dtype == np.uint8:
        raise InputError(f"{path} is {values.dtype} {values.shape}; depth is one channel of 16 bits")
    depth = values.astype(np.float32) / np.float32(per_unit)
    return depth if none is None else np.where(values == none, np.float32(0), depth)


def read_depth_npy(path: Path) -> Float32[np.ndarray, "rows columns"]:
    """An array of depths in world units; what is not finite and positive stands for none."""
    try:
        depth = np.load(require(path, "depth"), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as depth: {error}") from error
    if not isinstance(depth, np.ndarray) or depth.ndim != 2:
        raise InputError(f"{path} is no array (height, width) of depths")
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def picture_source(paths: Iterable[Path]) -> FrameSource:
    """The pictures as frames 0, 1, 2, …; read one by one, as they are asked for."""
    return open_frames([str(path) for path in paths])


def rigid_matrices(rows: Float64[np.ndarray, "row column"], path: Path) -> Float64[np.ndarray, "row 4 4"]:
    """`world_from_cam` of 12 or 16 numbers a row, row-major; raises InputError where one is not a rigid motion."""
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, : rows.shape[1] // 4] = rows.reshape(len(rows), -1, 4)
    rotation = matrices[:, :3, :3]
    with np.errstate(invalid="ignore"):
        off = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        bad = ~(off <= RIGID_TOLERANCE) | ~np.isfinite(matrices).all(axis=(1, 2)) | ~(np.linalg.det(rotation) > 0)
    bad |= (matrices[:, 3] != (0, 0, 0, 1)).any(axis=1)
    if bad.any():
        raise InputError(f"{path}: camera {bad.argmax()} is not a rigid motion of finite numbers; check that line")
    return matrices


def matrices_from_xyz_quaternion(xyz_xyzw: Float64[np.ndarray, "row 7"], path: Path) -> Float64[np.ndarray, "row 4 4"]:
    """`world_from_cam` of rows tx ty tz qx qy qz qw."""
    if not np.isfinite(xyz_xyzw).all() or (np.linalg.norm(xyz_xyzw[:, 3:], axis=1) == 0).any():
        bad = ~np.isfinite(xyz_xyzw).all(axis=1) | (np.linalg.norm(xyz_xyzw[:, 3:], axis=1) == 0)
        raise InputError(f"{path}: camera {bad.argmax()} has a number that is not finite, or no rotation")
    matrices = np.tile(np.eye(4), (len(xyz_xyzw), 1, 1))
    wxyz = np.ascontiguousarray(xyz_xyzw[:, [6, 3, 4, 5]])
    matrices[:, :3, :3] = rotation_from_quaternion_wxyz(torch.from_numpy(wxyz)).numpy()
    matrices[:, :3, 3] = xyz_xyzw[:, :3]
    return matrices


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> Float64[np.ndarray, "3 3"]:
    """K, in pixels."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)


def opencv_camera(fx: float, fy: float, cx: float, cy: float) -> Float64[np.ndarray, "3 3"]:
    """K of a calibration that puts the centre of the first pixel at (0, 0)."""
    return camera_matrix(fx, fy, cx + INTEGER_CENTRES_PX, cy + INTEGER_CENTRES_PX)


def same_count(name: str, **counts: int) -> None:
    """Raises InputError where the counts differ."""
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} {what}" for what, count in counts.items())
        raise InputError(f"{name}: {told}; these belong together one by one, so something is missing")


def _text(path: Path, what: str) -> str:
    try:
        return require(path, what).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({what}): {error}") from error
