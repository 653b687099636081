"""VBR, A Vision Benchmark in Rome (Brizi et al., ICRA 2024), in processed form: bags converted by `vbr convert kitti`.

    campus_train0/camera_left/data/0000000000.png
    campus_train0/camera_left/timestamps.txt      a date and time (UTC) a line
    campus_train0/campus_train0_gt.txt            seconds tx ty tz qx qy qz qw, of the base; train sequences only
    campus_train0/vbr_calib.yaml                  cam_l: T_b, intrinsics, distortion_coeffs, resolution

The truth has its own clock: cameras are interpolated between its rows. The pictures are as the lens made them
(radial-tangential distortion); the intrinsics are those of the pinhole part.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import (
    check_intrinsics,
    known_camera,
    matrices_from_xyz_quaternion,
    opencv_camera,
    rigid_matrices,
)
from openloger.datasets.files import is_data, listed, picture_source, same_count
from openloger.datasets.sequence import FileSequence, Label, Reader, found_below
from openloger.datasets.text import numbered_lines, read_rows, read_text, require, yaml_numbers
from openloger.datasets.times import cameras_at, check_order
from openloger.errors import InputError
from openloger.frames.times import in_seconds
from openloger.shapes import Float64

WITHIN_S = 0.3  # between two rows of the truth that a camera may be interpolated from
DATE_AND_TIME = re.compile(r"(19|20|21)\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", re.ASCII)


def find(folder: Path) -> list[str]:
    return found_below(folder, "*/camera_left/timestamps.txt", "*/*/camera_left/timestamps.txt", up=2)


def read(folder: Path, name: str) -> FileSequence:
    """One sequence; test sequences have no cameras."""
    sequence = require(folder / name, "a sequence of VBR")
    pictures = listed(sequence / "camera_left" / "data", "*.png")
    times_s = read_times(sequence / "camera_left" / "timestamps.txt")
    same_count(name, pictures=len(pictures), times=len(times_s))
    check_order(times_s, sequence / "camera_left" / "timestamps.txt")
    intrinsics, base_from_cam = read_camera(sequence / "vbr_calib.yaml", "cam_l")
    known = np.zeros(len(times_s), dtype=bool)
    cameras = np.tile(np.eye(4), (len(times_s), 1, 1))
    truth = next((path for path in sorted(sequence.glob("*_gt.txt")) if is_data(path)), None)
    if truth is not None:
        rows = read_rows(truth, columns=8, what="seconds tx ty tz qx qy qz qw")
        rows[:, 0] = in_seconds(rows[:, 0], truth)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        bases, known = cameras_at(times_s, rows[:, 0], matrices_from_xyz_quaternion(rows[:, 1:]), within_s=WITHIN_S)
        cameras = bases @ base_from_cam
    labels = (
        Label(float(time_s), known_camera(camera) if sure else None, intrinsics)
        for time_s, camera, sure in zip(times_s, cameras, known, strict=True)
    )
    return FileSequence(name, tuple(labels), picture_source(pictures))


def read_times(path: Path) -> Float64[np.ndarray, " row"]:
    """Dates and times in UTC, to the nanosecond, as seconds since 1970."""
    lines = list(numbered_lines(path, "times of the pictures"))
    for number, line in lines:
        if not DATE_AND_TIME.fullmatch(line):
            raise InputError(f"{path}, line {number}: {line[:60]!r} is not a date and time in UTC, 2023-02-15T15:01:12")
    try:
        stamps = np.array([line.removesuffix("Z") for _, line in lines], dtype="datetime64[ns]")
    except ValueError as error:
        raise InputError(f"{path} is not a list of dates and times: {error}") from error
    whole = stamps.astype("datetime64[s]")
    return whole.astype(np.int64) + (stamps - whole).astype(np.int64) * 1e-9


def read_camera(path: Path, name: str) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "4 4"]]:
    """Intrinsics, and `base_from_cam`, of one camera in the calibration file."""
    text = read_text(path, "calibration").replace("\r", "")
    block = re.search(rf"^{name}:[^\S\n]*\n((?:[ \t\-].*\n|[ \t]*\n)*)", text + "\n", flags=re.MULTILINE)
    if block is None:
        raise InputError(f"{path} has no camera {name}; take vbr_calib.yaml from the dataset")
    intrinsics = check_intrinsics(path, opencv_camera(*yaml_numbers(block[1], "intrinsics", 4, path)))
    base_from_cam = np.array(yaml_numbers(block[1], "T_b", 16, path)).reshape(1, 16)
    return intrinsics, rigid_matrices(base_from_cam, path)[0]


VBR = Reader(
    title="VBR",
    layout="NAME/{camera_left/data/0000000000.png, camera_left/timestamps.txt, NAME_gt.txt, vbr_calib.yaml}",
    find=find,
    read=read,
)
