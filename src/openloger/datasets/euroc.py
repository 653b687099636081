"""EuRoC MAV (Burri et al., IJRR 2016), as its archives of the ASL format unpack.

    MH_01_easy/mav0/cam0/data.csv                            nanoseconds,file name
    MH_01_easy/mav0/cam0/data/1403636579763555584.png
    MH_01_easy/mav0/cam0/sensor.yaml                         T_BS, intrinsics, distortion_model
    MH_01_easy/mav0/state_groundtruth_estimate0/data.csv     nanoseconds,px,py,pz,qw,qx,qy,qz,…, of the body

The left camera, cam0, is read; `world_from_cam` is the body's pose times T_BS, between the rows of the truth (200 Hz).
The pictures are grey and as the lens made them (radial-tangential distortion); the intrinsics are those of the pinhole
part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openloger.datasets.cameras import (
    check_intrinsics,
    known_camera,
    matrices_from_xyz_quaternion,
    opencv_camera,
    rigid_matrices,
)
from openloger.datasets.files import picture_source
from openloger.datasets.sequence import FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import from_folder, numbered_lines, read_rows, read_text, require, yaml_numbers
from openloger.datasets.times import cameras_at
from openloger.errors import InputError
from openloger.shapes import Float64

NANOSECONDS = 1_000_000_000
WITHIN_S = 0.1  # between two rows of the truth that a camera may be interpolated from
TRUTH_COLUMNS = (17, 8)  # with velocity and biases, as EuRoC has it, or without
LIST = "mav0/cam0/data.csv"


def find(folder: Path) -> list[str]:
    return found_below(folder, LIST, f"*/{LIST}", f"*/*/{LIST}", up=3)


def read(folder: Path, name: str) -> FileSequence:
    """One sequence; without a ground truth it has no cameras."""
    sequence = require(folder / name, "a sequence of EuRoC") / "mav0"
    times_s, pictures = read_list(sequence / "cam0" / "data.csv")
    intrinsics, body_from_cam = read_sensor(sequence / "cam0" / "sensor.yaml")
    cameras = _cameras(sequence / "state_groundtruth_estimate0" / "data.csv", times_s, body_from_cam)
    labels = (Label(float(time_s), camera, intrinsics) for time_s, camera in zip(times_s, cameras, strict=True))
    return FileSequence(called(folder, name), tuple(labels), picture_source(pictures))


def read_list(path: Path) -> tuple[Float64[np.ndarray, " frame"], tuple[Path, ...]]:
    """Times in seconds and pictures, in order of time; names are from `data` beside the list."""
    rows: list[tuple[int, str]] = []
    for number, line in numbered_lines(path, "times and names of the pictures"):
        time, _, name = line.partition(",")
        if not time.strip().isdecimal() or not name.strip():
            raise InputError(f"{path}, line {number}: {line[:60]!r} is not `nanoseconds,file name`")
        rows.append((int(time), name.strip()))
    if not rows:
        raise InputError(f"{path} lists no picture")
    rows.sort()
    seconds = [time // NANOSECONDS + time % NANOSECONDS / NANOSECONDS for time, _ in rows]
    return np.array(seconds, dtype=np.float64), from_folder(path.parent / "data", [name for _, name in rows])


def read_sensor(path: Path) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "4 4"]]:
    """Intrinsics, and `body_from_cam`. Raises InputError for a lens that has no pinhole part (equidistant)."""
    text = read_text(path, "calibration").replace("\r", "")
    if "equidistant" in text:
        raise InputError(f"{path}: the lens is a fisheye (equidistant); only pinhole cameras can be read")
    body_from_cam = np.array(yaml_numbers(text, "data", 16, path)).reshape(1, 16)
    intrinsics = opencv_camera(*yaml_numbers(text, "intrinsics", 4, path))
    return check_intrinsics(path, intrinsics), rigid_matrices(body_from_cam, path)[0]


def _cameras(path: Path, times_s: np.ndarray, body_from_cam: np.ndarray) -> list[np.ndarray | None]:
    if not path.exists():
        return [None] * len(times_s)
    rows = read_rows(path, columns=TRUTH_COLUMNS, what="nanoseconds, px py pz, qw qx qy qz of the body")
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    bodies = matrices_from_xyz_quaternion(rows[:, [1, 2, 3, 5, 6, 7, 4]])
    cameras, known = cameras_at(times_s, rows[:, 0] / NANOSECONDS, bodies, within_s=WITHIN_S)
    return [known_camera(camera) if sure else None for camera, sure in zip(cameras @ body_from_cam, known, strict=True)]


EUROC = Reader(
    title="EuRoC MAV",
    layout="MH_01_easy/mav0/{cam0/data.csv, cam0/data/, cam0/sensor.yaml, state_groundtruth_estimate0/data.csv}",
    find=find,
    read=read,
)
