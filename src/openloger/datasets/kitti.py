"""KITTI odometry (Geiger et al., CVPR 2012).

    sequences/00/image_2/000000.png   colour; or image_0, grey
    sequences/00/calib.txt            P0 … P3, Tr
    sequences/00/times.txt
    sequences/00/velodyne/000000.bin  where there is any: sparse depth
    poses/00.txt                      of camera 0, sequences 00 to 10

The folder may be the one above, `dataset`, as the archives unpack. `world_from_cam` is that of the camera whose
pictures are given: camera 2 stands some 6 cm from camera 0, of which the benchmark's poses are.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import (
    check_intrinsics,
    known_camera,
    nearest_depth,
    opencv_camera,
    rigid_matrices,
)
from openloger.datasets.files import image_size, listed, picture_source, same_count
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, found_below
from openloger.datasets.text import read_binary, read_named_rows, read_rows, require
from openloger.datasets.times import check_order
from openloger.errors import InputError
from openloger.frames.times import in_seconds
from openloger.shapes import Float32, Float64

CAMERAS = ("image_2", "image_0")  # the first that is there
SCAN_POINT_BYTES = 16


def find(folder: Path) -> list[str]:
    return sorted({name for camera in CAMERAS for name in found_below(_root(folder) / "sequences", f"*/{camera}")})


def read(folder: Path, name: str) -> FileSequence:
    """One sequence; without `poses/` (sequences 11 to 21) there are no cameras."""
    root = _root(folder)
    sequence = require(root / "sequences" / name, "a sequence of KITTI odometry")
    camera = next((camera for camera in CAMERAS if (sequence / camera).is_dir()), CAMERAS[0])
    pictures = listed(sequence / camera, "*.png")
    times = read_rows(sequence / "times.txt", columns=1, what="times of the frames")[:, 0]
    times_s = in_seconds(times, sequence / "times.txt")
    same_count(name, pictures=len(pictures), times=len(times_s))
    check_order(times_s, sequence / "times.txt")
    calibration = read_named_rows(sequence / "calib.txt", what="calibration")
    intrinsics, cam0_from_cam = _camera(calibration, f"P{camera[-1]}", sequence / "calib.txt")
    cameras = _cameras(root / "poses" / f"{name}.txt", len(pictures), cam0_from_cam)
    height, width = image_size(pictures[0], formats=("PNG",), what="a picture")
    scans = _scans(sequence, len(pictures))
    labels = []
    for number, scan in enumerate(scans):
        depth = None
        if scan is not None:
            cam_from_scan = np.linalg.inv(cam0_from_cam) @ _motion(calibration, "Tr", sequence / "calib.txt")
            depth = partial(scan_depth, scan, cam_from_scan, intrinsics, height=height, width=width)
        camera_now = None if cameras is None else known_camera(cameras[number])
        labels.append(Label(float(times_s[number]), camera_now, intrinsics, depth))
    return FileSequence(name, tuple(labels), picture_source(pictures))


def scan_depth(
    path: Path,
    cam_from_scan: Float64[np.ndarray, "4 4"],
    intrinsics: Float64[np.ndarray, "3 3"],
    *,
    height: int,
    width: int,
) -> Float32[np.ndarray, "height width"]:
    """A laser scan (x, y, z, reflectance as float32) seen by the camera: the nearest point of each pixel, else 0.

    Raises InputError for a file that is missing or cut off.
    """
    try:
        content = read_binary(path, "a laser scan")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) % SCAN_POINT_BYTES:
        raise InputError(f"{path} is cut off: {len(content)} bytes are no whole number of points of {SCAN_POINT_BYTES}")
    scan = np.frombuffer(content, dtype="<f4").reshape(-1, 4).astype(np.float64)
    scan = scan[np.isfinite(scan).all(axis=1)]
    points = scan[:, :3] @ cam_from_scan[:3, :3].T + cam_from_scan[:3, 3]
    return nearest_depth(points, intrinsics, (height, width))


def _root(folder: Path) -> Path:
    return folder / "dataset" if (folder / "dataset" / "sequences").is_dir() else folder


def _cameras(path: Path, count: int, cam0_from_cam: np.ndarray) -> np.ndarray | None:
    if not path.exists():
        return None
    cameras = rigid_matrices(read_rows(path, columns=12, what="cameras, 12 numbers a line"), path)
    same_count(str(path), pictures=count, cameras=len(cameras))
    return cameras @ cam0_from_cam


def _camera(calibration: dict[str, list[float]], name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics, and where the camera stands relative to camera 0, of P = K [I | t]."""
    projection = _motion(calibration, name, path)
    intrinsics = opencv_camera(projection[0, 0], projection[1, 1], projection[0, 2], projection[1, 2])
    check_intrinsics(path, intrinsics)
    cam0_from_cam = np.eye(4)
    cam0_from_cam[:3, 3] = -np.linalg.solve(projection[:3, :3], projection[:3, 3])
    return intrinsics, cam0_from_cam


def _motion(calibration: dict[str, list[float]], name: str, path: Path) -> np.ndarray:
    values = calibration.get(name, [])
    if len(values) != 12:
        raise InputError(f"{path} has no {name} of 12 numbers; take calib.txt from the calibration archive")
    return np.vstack([np.array(values).reshape(3, 4), (0, 0, 0, 1)])


def _scans(sequence: Path, count: int) -> list[Path | None]:
    """One of each frame; a few frames of the benchmark have none."""
    paths = (sequence / "velodyne" / f"{number:06d}.bin" for number in range(count))
    return [path if path.is_file() else None for path in paths]


KITTI = Reader(
    title="KITTI odometry",
    layout="sequences/00/{image_2/000000.png, calib.txt, times.txt}, poses/00.txt",
    find=find,
    read=read,
    depth=DepthKind(metric=True),
)
