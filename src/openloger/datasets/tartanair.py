"""TartanAir (Wang et al., IROS 2020) and TartanAir V2.

    abandonedfactory/Easy/P000/image_left/000000_left.png         640 × 480
    abandonedfactory/Easy/P000/depth_left/000000_left_depth.npy   metres
    abandonedfactory/Easy/P000/pose_left.txt                      tx ty tz qx qy qz qw

    Office/Data_easy/P000/image_lcam_front/000000_lcam_front.png         V2; 640 × 640
    Office/Data_easy/P000/depth_lcam_front/000000_lcam_front_depth.png   float32 in the bytes of B, G, R, A
    Office/Data_easy/P000/pose_lcam_front.txt

Poses are in NED axes (x forward, y right, z down), both of the world and of the camera; both become OpenCV's here.
The field of view is 90° and the principal point is the middle of the picture. The sky is a sphere far away: no depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import camera_matrix, known_camera, matrices_from_xyz_quaternion
from openloger.datasets.files import image_pixels, listed, picture_source, read_depth_npy, same_count
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import read_rows, require
from openloger.errors import InputError
from openloger.shapes import Float32

FPS = 10.0
SKY_M = 1000.0
NED_FROM_OPENCV = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Edition:
    """Where the two editions differ."""

    camera: str
    depth_suffix: str
    size: tuple[int, int]  # height, width
    read_depth: Callable[[Path], np.ndarray]


def find(folder: Path) -> list[str]:
    patterns = [
        f"{above}pose_{one.camera}.txt" for one in EDITIONS for above in ("", "*/", "*/*/", "*/*/*/", "*/*/*/*/")
    ]
    return found_below(folder, *patterns)


def read(folder: Path, name: str) -> FileSequence:
    path = require(folder / name, "a trajectory of TartanAir")
    one = next((one for one in EDITIONS if (path / f"pose_{one.camera}.txt").exists()), EDITIONS[0])
    poses = path / f"pose_{one.camera}.txt"
    ned = matrices_from_xyz_quaternion(read_rows(poses, columns=7, what="tx ty tz qx qy qz qw"))
    cameras = NED_FROM_OPENCV.T @ ned @ NED_FROM_OPENCV
    pictures = listed(path / f"image_{one.camera}", "*.png")
    same_count(name, pictures=len(pictures), cameras=len(cameras))
    height, width = one.size
    intrinsics = camera_matrix(320.0, 320.0, width / 2, height / 2)
    labels = []
    for number, (picture, camera) in enumerate(zip(pictures, cameras, strict=True)):
        depth_path = path / f"depth_{one.camera}" / f"{picture.stem}_depth{one.depth_suffix}"
        depth = partial(_without_sky, one.read_depth, depth_path) if depth_path.exists() else None
        labels.append(Label(number / FPS, known_camera(camera), intrinsics, depth))
    return FileSequence(called(folder, name), tuple(labels), picture_source(pictures))


def read_depth_bgra(path: Path) -> Float32[np.ndarray, "height width"]:
    """Float32 depths whose four bytes, lowest first, are the blue, green, red and alpha of a PNG."""
    rgba = image_pixels(path, formats=("PNG",), what="depth")
    if rgba.dtype != np.uint8 or rgba.ndim != 3 or rgba.shape[2] != 4:
        raise InputError(f"{path} is {rgba.dtype} {rgba.shape}; depth of TartanAir V2 is an 8-bit PNG of 4 channels")
    return np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]).view("<f4")[..., 0].astype(np.float32)


def _without_sky(read_depth: Callable[[Path], np.ndarray], path: Path) -> np.ndarray:
    depth = read_depth(path)
    return np.where(depth < SKY_M, depth, np.float32(0))


EDITIONS = (
    Edition("left", ".npy", (480, 640), read_depth_npy),
    Edition("lcam_front", ".png", (640, 640), read_depth_bgra),
)
TARTANAIR = Reader(
    title="TartanAir",
    layout="abandonedfactory/Easy/P000/{image_left/000000_left.png, depth_left/000000_left_depth.npy, pose_left.txt}",
    find=find,
    read=read,
    depth=DepthKind(clean=True, holes_are_sky=True, metric=True),
)
