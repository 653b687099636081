"""ScanNet (Dai et al., CVPR 2017), as its SensReader exports the .sens files.

    scene0000_00/color/0.jpg                      or frame-000000.color.jpg
    scene0000_00/depth/0.png                      or frame-000000.depth.pgm; millimetres, 0 for none, the same view
    scene0000_00/pose/0.txt                       or frame-000000.pose.txt; world_from_cam, 4 × 4, −inf where it is lost
    scene0000_00/intrinsic/intrinsic_color.txt    4 × 4

The folder may be the one above, `scans`.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import check_intrinsics, opencv_camera, read_matrix, read_pose
from openloger.datasets.files import listed, picture_source, read_depth_png
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import require
from openloger.errors import InputError

FPS = 30.0
_NUMBERED = re.compile(r"(?P<begin>frame-)?(?P<digits>[0-9]+)(?P<end>\.color)?\.jpg")


def find(folder: Path) -> list[str]:
    return found_below(folder, "scene*/color", "scans/scene*/color", "color")


def read(folder: Path, name: str) -> FileSequence:
    scene = require(folder / name, "a scene of ScanNet")
    calibration = scene / "intrinsic" / "intrinsic_color.txt"
    camera = read_matrix(calibration, what="4 × 4 intrinsics")
    intrinsics = opencv_camera(camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2])
    check_intrinsics(calibration, intrinsics)
    pictures = listed(scene / "color", "*.jpg")
    labels = tuple(_label(scene, picture, intrinsics) for picture in pictures)
    return FileSequence(called(folder, name), labels, picture_source(pictures))


def _label(scene: Path, picture: Path, intrinsics: np.ndarray) -> Label:
    named = _NUMBERED.fullmatch(picture.name)
    if named is None or bool(named["begin"]) != bool(named["end"]):
        raise InputError(f"{picture} is not named like a frame of ScanNet, 0.jpg or frame-000000.color.jpg")
    stem = f"{named['begin'] or ''}{named['digits']}"
    pose, places = f"{stem}.txt", (f"{stem}.png",)
    if named["end"]:
        pose, places = f"{stem}.pose.txt", (f"{stem}.depth.pgm", f"{stem}.depth.png")
    depth_path = next((path for place in places if (path := scene / "depth" / place).exists()), None)
    depth = None if depth_path is None else partial(read_depth_png, depth_path, per_unit=1000.0)
    return Label(int(named["digits"]) / FPS, read_pose(scene / "pose" / pose), intrinsics, depth)


SCANNET = Reader(
    title="ScanNet",
    layout="scene0000_00/{color/0.jpg, depth/0.png, pose/0.txt, intrinsic/intrinsic_color.txt}",
    find=find,
    read=read,
    depth=DepthKind(metric=True),
)
