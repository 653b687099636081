"""Virtual KITTI 2 (Cabon et al., 2020).

    Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg
    Scene01/clone/frames/depth/Camera_0/depth_00000.png   centimetres; 65535 is the sky
    Scene01/clone/extrinsic.txt                           frame, camera, cam_from_world (4 × 4); a header line
    Scene01/clone/intrinsic.txt                           frame, camera, fx fy cx cy; a header line

The left camera, Camera_0, is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import check_intrinsics, inverses, known_camera, opencv_camera, rigid_matrices
from openloger.datasets.files import listed, picture_source, read_depth_png
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, found_below
from openloger.datasets.text import number_of, numbered_lines, require
from openloger.errors import InputError
from openloger.shapes import Float64

FPS = 10.0
SKY_CM = 65535


def find(folder: Path) -> list[str]:
    return found_below(folder, "Scene*/*/extrinsic.txt")


def read(folder: Path, name: str) -> FileSequence:
    variation = require(folder / name, "a variation of Virtual KITTI 2")
    cameras = read_table(variation / "extrinsic.txt", columns=16)
    intrinsics = read_table(variation / "intrinsic.txt", columns=4)
    pictures = listed(variation / "frames" / "rgb" / "Camera_0", "rgb_*.jpg")
    labels = tuple(_label(variation, picture, cameras, intrinsics) for picture in pictures)
    return FileSequence(name, labels, picture_source(pictures))


def read_table(path: Path, *, columns: int) -> dict[int, Float64[np.ndarray, " column"]]:
    """Of each frame the numbers of camera 0, from rows of frame, camera, numbers under a line of headers."""
    found: dict[int, np.ndarray] = {}
    for number, line in islice(numbered_lines(path, "cameras"), 1, None):
        words = line.split()
        try:
            values = [number_of(word) for word in words]
        except ValueError:
            raise InputError(f"{path}, line {number}: {line[:60]!r} is not a row of numbers") from None
        if len(values) != columns + 2 or not all(value.is_integer() for value in values[:2]):
            raise InputError(f"{path}, line {number}: not frame, camera and {columns} numbers, but {line[:60]!r}")
        if values[1] == 0:
            found[int(values[0])] = np.array(values[2:], dtype=np.float64)
    if not found:
        raise InputError(f"{path} has no row of camera 0")
    return found


def _label(
    variation: Path, picture: Path, cameras: Mapping[int, np.ndarray], intrinsics: Mapping[int, np.ndarray]
) -> Label:
    digits = picture.stem.removeprefix("rgb_")
    if not digits.isdecimal():
        raise InputError(f"{picture} is not named like a frame of Virtual KITTI 2, rgb_00000.jpg")
    frame = int(digits)
    camera = camera_matrix = None
    if frame in cameras:
        path = variation / "extrinsic.txt"
        camera = known_camera(inverses(rigid_matrices(cameras[frame][None], path))[0])
    if frame in intrinsics:
        camera_matrix = check_intrinsics(variation / "intrinsic.txt", opencv_camera(*intrinsics[frame].tolist()))
    depth_path = variation / "frames" / "depth" / "Camera_0" / f"depth_{digits}.png"
    depth = partial(read_depth_png, depth_path, per_unit=100.0, none=SKY_CM) if depth_path.exists() else None
    return Label(frame / FPS, camera, camera_matrix, depth)


VKITTI2 = Reader(
    title="Virtual KITTI 2",
    layout="Scene01/clone/{frames/rgb/Camera_0/rgb_00000.jpg, extrinsic.txt, intrinsic.txt}",
    find=find,
    read=read,
    depth=DepthKind(clean=True, holes_are_sky=True, metric=True),
)
