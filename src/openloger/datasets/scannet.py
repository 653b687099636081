"""ScanNet (Dai et al., CVPR 2017), as its SensReader exports the .sens files.

    scene0000_00/color/0.jpg
    scene0000_00/depth/0.png                      millimetres, 0 stands for none; the same view at 640 × 480
    scene0000_00/pose/0.txt                       world_from_cam, 4 × 4; −inf where tracking was lost
    scene0000_00/intrinsic/intrinsic_color.txt    4 × 4

The folder may be the one above, `scans`.
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
    read_rows,
    require,
    rigid_matrices,
)
from openloger.datasets.reader import Reader, called, found_below
from openloger.datasets.sequence import FileSequence, Label

FPS = 30.0


def find(folder: Path) -> list[str]:
    return found_below(folder, "scene*/color", "scans/scene*/color", "color")


def read(folder: Path, name: str) -> FileSequence:
    scene = require(folder / name, "a scene of ScanNet")
    camera = read_rows(scene / "intrinsic" / "intrinsic_color.txt", columns=4, what="4 × 4 intrinsics")
    intrinsics = opencv_camera(camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2])
    pictures = listed(scene / "color", "*.jpg")
    labels = []
    for picture in pictures:
        depth_path = scene / "depth" / f"{picture.stem}.png"
        depth = partial(read_depth_png, depth_path, per_unit=1000.0) if depth_path.exists() else None
        labels.append(
            Label(int(picture.stem) / FPS, _camera(scene / "pose" / f"{picture.stem}.txt"), intrinsics, depth)
        )
    return FileSequence(called(folder, name), tuple(labels), picture_source(pictures))


def _camera(path: Path) -> np.ndarray | None:
    row = read_rows(path, columns=4, what="4 × 4 camera").reshape(1, -1)
    return rigid_matrices(row, path)[0] if np.isfinite(row).all() else None


SCANNET = Reader(
    title="ScanNet",
    layout="scene0000_00/{color/0.jpg, depth/0.png, pose/0.txt, intrinsic/intrinsic_color.txt}",
    find=find,
    read=read,
)
