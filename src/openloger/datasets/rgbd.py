"""TUM RGB-D and its kin, which share a layout: TUM RGB-D, Bonn RGB-D Dynamic, ETH3D SLAM.

    NAME/rgb.txt           seconds rgb/SECONDS.png
    NAME/depth.txt         seconds depth/SECONDS.png   16 bits, 5000 to the metre
    NAME/groundtruth.txt   seconds tx ty tz qx qy qz qw; NaN or a zero quaternion where tracking was lost
    NAME/associations.txt  seconds rgb/… seconds depth/…, in either order; instead of rgb.txt and depth.txt
    NAME/calibration.txt   fx fy cx cy                 ETH3D only

Pictures, depth and truth have three clocks; they are tied by TUM's rule, within 20 ms (ETH3D's agree exactly). Times in
micro- or nanoseconds are converted.

- TUM RGB-D: Sturm et al., IROS 2012. Intrinsics of the three cameras by name, from the benchmark's page.
- Bonn RGB-D Dynamic: Palazzolo et al., IROS 2019. The truth is that of the markers in their own axes; the benchmark's
  page gives world_from_cam = T_ros⁻¹ · T · T_ros · T_m, where T_m is a similarity: its scale, 1.059, is what the
  sensor's depth must be multiplied by to be metres, and is applied here to the depth.
- ETH3D SLAM: Schöps et al., CVPR 2019. Not its multi-view benchmark, whose pictures are no video.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import check_intrinsics, known_camera, matrices_from_xyz_quaternion, opencv_camera
from openloger.datasets.files import picture_source, read_depth_png
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import read_associations, read_rows, read_stamped_paths, require
from openloger.datasets.times import nearest_in_time
from openloger.errors import InputError
from openloger.frames.times import in_seconds
from openloger.shapes import Float64

WITHIN_S = 0.02
ASSOCIATIONS = ("associations.txt", "association.txt", "associated.txt", "associate.txt")
DEPTH_PER_METRE = 5000.0
TUM_CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
BONN_CAMERA = (542.822841, 542.576870, 315.593520, 237.756098)
BONN_T_ROS = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
BONN_T_M = np.array(
    [
        [1.0157, 0.1828, -0.2389, 0.0113],
        [0.0009, -0.8431, -0.6413, -0.0098],
        [-0.3009, 0.6147, -0.8085, 0.0111],
        [0, 0, 0, 1],
    ]
)
BONN_DEPTH_SCALE = float(np.cbrt(np.linalg.det(BONN_T_M[:3, :3])))


@dataclass(frozen=True)
class Kind:
    """Where the three differ."""

    title: str
    intrinsics: Callable[[Path], Float64[np.ndarray, "3 3"]]
    world_from_cam: Callable[[np.ndarray], np.ndarray] = lambda given: given
    depth_scale: float = 1.0


def find(folder: Path) -> list[str]:
    lists = ("rgb.txt", *ASSOCIATIONS)
    return found_below(folder, *(above + name for name in lists for above in ("*/", "*/*/", "")))


def read(folder: Path, name: str, kind: Kind) -> FileSequence:
    """One sequence; without groundtruth.txt or depth.txt it has no cameras or no depth."""
    sequence = require(folder / name, f"a sequence of {kind.title}")
    times_s, pictures, depths = _pictures(sequence)
    intrinsics = kind.intrinsics(sequence.resolve())
    cameras = _cameras(sequence / "groundtruth.txt", times_s, kind)
    labels = []
    for time_s, camera, path in zip(times_s, cameras, depths, strict=True):
        per_unit = DEPTH_PER_METRE / kind.depth_scale
        depth = None if path is None else partial(read_depth_png, path, per_unit=per_unit)
        labels.append(Label(float(time_s), camera, intrinsics, depth))
    return FileSequence(called(folder, name), tuple(labels), picture_source(pictures))


def _pictures(sequence: Path) -> tuple[np.ndarray, tuple[Path, ...], list[Path | None]]:
    """Times in seconds, pictures, and the depth map of each, where there is one."""
    listing = sequence / "rgb.txt"
    associated = next((path for name in ASSOCIATIONS if (path := sequence / name).exists()), None)
    if associated is not None and not listing.exists():
        times, pictures, depths = read_associations(associated)
        return in_seconds(times, associated), pictures, list(depths)
    times, pictures = read_stamped_paths(listing, what="times and names of the pictures")
    times_s = in_seconds(times, listing)
    return times_s, pictures, _depths(sequence / "depth.txt", times_s)


def _cameras(path: Path, times_s: np.ndarray, kind: Kind) -> list[np.ndarray | None]:
    if not path.exists():
        return [None] * len(times_s)
    rows = read_rows(path, columns=8, what="seconds tx ty tz qx qy qz qw")
    given = kind.world_from_cam(matrices_from_xyz_quaternion(rows[:, 1:]))
    chosen = nearest_in_time(times_s, in_seconds(rows[:, 0], path), within_s=WITHIN_S)
    return [None if number < 0 else known_camera(given[number]) for number in chosen]


def _depths(path: Path, times_s: np.ndarray) -> list[Path | None]:
    if not path.exists():
        return [None] * len(times_s)
    given, paths = read_stamped_paths(path, what="times and names of the depth maps")
    chosen = nearest_in_time(times_s, in_seconds(given, path), within_s=WITHIN_S)
    return [None if number < 0 else paths[number] for number in chosen]


def _tum_camera(sequence: Path) -> np.ndarray:
    for name, camera in TUM_CAMERAS.items():
        if name in sequence.name:
            return opencv_camera(*camera)
    raise InputError(
        f"{sequence.name} does not show which of {', '.join(TUM_CAMERAS)} filmed it; keep the folder's name as it came"
    )


def _eth3d_camera(sequence: Path) -> np.ndarray:
    path = sequence / "calibration.txt"
    return check_intrinsics(path, opencv_camera(*read_rows(path, columns=4, what="fx fy cx cy")[0].tolist()))


def bonn_world_from_cam(given: Float64[np.ndarray, "row 4 4"]) -> Float64[np.ndarray, "row 4 4"]:
    """The camera's motion of the markers'."""
    cameras = np.linalg.inv(BONN_T_ROS) @ given @ BONN_T_ROS @ BONN_T_M
    cameras[:, :3, :3] /= BONN_DEPTH_SCALE
    return cameras


def _reader(kind: Kind) -> Reader:
    return Reader(
        title=kind.title,
        layout="NAME/{rgb.txt, rgb/, depth.txt, depth/, groundtruth.txt}, or associations.txt",
        find=find,
        read=partial(read, kind=kind),
        depth=DepthKind(metric=True),
    )


TUM_RGBD = _reader(Kind("TUM RGB-D", _tum_camera))
BONN = _reader(Kind("Bonn RGB-D Dynamic", lambda _: opencv_camera(*BONN_CAMERA), bonn_world_from_cam, BONN_DEPTH_SCALE))
ETH3D = _reader(Kind("ETH3D SLAM", _eth3d_camera))
