"""Virtual KITTI 2 (Cabon et al., 2020).

    Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg
    Scene01/clone/frames/depth/Camera_0/depth_00000.png   centimetres; 65535 is the sky
    Scene01/clone/extrinsic.txt                           frame, camera, cam_from_world (4 × 4); a header line
    Scene01/clone/intrinsic.txt                           frame, camera, fx fy cx cy; a header line

The left camera, Camera_0, is read.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.files import (
    listed,
    opencv_camera,
    picture_source,
    read_depth_png,
    require,
    rigid_matrices,
    same_count,
)
from openloger.datasets.reader import Reader, found_below
from openloger.datasets.sequence import FileSequence, Label
from openloger.errors import InputError

FPS = 10.0
SKY_CM = 65535


def find(folder: Path) -> list[str]:
    return found_below(folder, "Scene*/*/extrinsic.txt")


def read(folder: Path, name: str) -> FileSequence:
    variation = require(folder / name, "a variation of Virtual KITTI 2")
    cam_from_world = _table(variation / "extrinsic.txt", columns=16)
    cameras = np.linalg.inv(rigid_matrices(cam_from_world, variation / "extrinsic.txt"))
    intrinsics = _table(variation / "intrinsic.txt", columns=4)
    pictures = listed(variation / "frames" / "rgb" / "Camera_0", "rgb_*.jpg")
    same_count(name, pictures=len(pictures), cameras=len(cameras), intrinsics=len(intrinsics))
    labels = []
    for number, picture in enumerate(pictures):
        depth_path = variation / "frames" / "depth" / "Camera_0" / f"{picture.stem.replace('rgb', 'depth')}.png"
        depth = partial(read_depth_png, depth_path, per_unit=100.0, none=SKY_CM) if depth_path.exists() else None
        labels.append(Label(number / FPS, cameras[number], opencv_camera(*intrinsics[number].tolist()), depth))
    return FileSequence(name, tuple(labels), picture_source(pictures))


def _table(path: Path, *, columns: int) -> np.ndarray:
    """The rows of camera 0 in order of frames, without the two columns that say so."""
    lines = require(path, "cameras").read_text(encoding="utf-8").splitlines()[1:]  # the first is the header
    try:
        rows = np.array([[float(word) for word in line.split()] for line in lines if line.strip()])
    except ValueError as error:
        raise InputError(f"{path} is not a table of numbers under a header: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != columns + 2:
        raise InputError(f"{path} has rows of {rows.shape[-1]} numbers, where {columns + 2} are wanted")
    rows = rows[rows[:, 1] == 0]
    return rows[np.argsort(rows[:, 0], kind="stable"), 2:]


VKITTI2 = Reader(
    title="Virtual KITTI 2",
    layout="Scene01/clone/{frames/rgb/Camera_0/rgb_00000.jpg, extrinsic.txt, intrinsic.txt}",
    find=find,
    read=read,
)
