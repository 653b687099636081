"""UnrealStereo4K (Tosi et al., CVPR 2021).

    00000/Image0/00000.png         left camera, 3840 × 2160
    00000/Disp0/00000.npy          its disparities in pixels (float)
    00000/Extrinsics0/00000.txt    K, 9 numbers; cam_from_world, 12 numbers on a second line
    00000/Extrinsics1/00000.txt    of the right camera, which gives the baseline

The left camera is read; `Image1` and `Disp1` are not needed. Depth is fx times the baseline, the distance of the two
cameras in metres, over the disparity; what lies beyond 10 km is the sky's, and has none.

- The camera's axes are OpenCV's. Unreal's world is left-handed, so that the rotation of `cam_from_world` is a
  reflection; the world's y axis is turned around, as it has to be to become right-handed. Where the rotation is a
  proper one, somebody has done so before, and it is left alone.
- Half of the width is the middle: (0, 0) is the picture's corner, as everywhere here.
- Frames have no times; 30 a second are nominal.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import camera_matrix, check_intrinsics, inverses, known_camera, rigid_matrices
from openloger.datasets.files import listed, picture_source, read_depth_npy
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import number_of, numbered_lines, require
from openloger.errors import InputError
from openloger.shapes import Float32, Float64

FPS = 30.0  # nominal
FARTHEST_M = 10_000.0
_Camera = tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "4 4"] | None]  # K, world_from_cam


def find(folder: Path) -> list[str]:
    places = ("Extrinsics0/*.txt", "*/Extrinsics0/*.txt", "*/*/Extrinsics0/*.txt")
    return found_below(folder, *places, up=2)


def read(folder: Path, name: str) -> FileSequence:
    scene = require(folder / name, "a scene of UnrealStereo4K")
    pictures = listed(scene / "Image0", "*.png")
    labels = []
    for number, picture in enumerate(pictures):
        left = _read_camera(scene / "Extrinsics0" / f"{picture.stem}.txt")
        right = _read_camera(scene / "Extrinsics1" / f"{picture.stem}.txt")
        disparity = scene / "Disp0" / f"{picture.stem}.npy"
        depth = None
        if left and right and left[1] is not None and right[1] is not None and disparity.exists():
            baseline_m = float(np.linalg.norm(left[1][:3, 3] - right[1][:3, 3]))
            depth = partial(read_depth, disparity, float(left[0][0, 0]) * baseline_m)
        K, world_from_cam = left or (None, None)
        labels.append(Label(number / FPS, world_from_cam, K, depth))
    return FileSequence(called(folder, name), tuple(labels), picture_source(pictures))


def read_depth(path: Path, focal_px_times_baseline_m: float) -> Float32[np.ndarray, "height width"]:
    """Metres along z; 0 where there is no disparity, or so little that it is the sky's."""
    disparity = read_depth_npy(path)
    known = disparity > focal_px_times_baseline_m / FARTHEST_M
    return np.where(known, focal_px_times_baseline_m / np.where(known, disparity, 1), 0).astype(np.float32)


def _read_camera(path: Path) -> _Camera | None:
    """None where there is no file."""
    if not path.exists():
        return None
    lines = list(numbered_lines(path, "K, and cam_from_world"))
    if len(lines) != 2:
        raise InputError(f"{path} has {len(lines)} lines, where two are wanted: K (9 numbers), cam_from_world (12)")
    lens, motion = (_numbers(path, line, count) for line, count in zip(lines, (9, 12), strict=True))
    intrinsics = check_intrinsics(path, camera_matrix(lens[0], lens[4], lens[2], lens[5]))
    cam_from_world = motion.reshape(3, 4)
    if np.isfinite(cam_from_world).all() and np.linalg.det(cam_from_world[:, :3]) < 0:
        cam_from_world = cam_from_world * (1, -1, 1, 1)
    return intrinsics, known_camera(inverses(rigid_matrices(cam_from_world.reshape(1, 12), path))[0])


def _numbers(path: Path, line: tuple[int, str], count: int) -> Float64[np.ndarray, " number"]:
    number, text = line
    words = text.split()
    try:
        values = [number_of(word) for word in words]
    except ValueError:
        raise InputError(f"{path}, line {number}: {text[:60]!r} is not a row of numbers") from None
    if len(values) != count:
        raise InputError(f"{path}, line {number}: {len(values)} numbers, where {count} are wanted")
    return np.array(values, dtype=np.float64)


UNREALSTEREO4K = Reader(
    title="UnrealStereo4K",
    layout="00000/{Image0/00000.png, Disp0/00000.npy, Extrinsics0/00000.txt, Extrinsics1/}",
    find=find,
    read=read,
    depth=DepthKind(clean=True, metric=True),
)
