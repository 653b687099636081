"""MPI Sintel (Butler et al., ECCV 2012) with its depth and cameras.

    training/final/alley_1/frame_0001.png
    training/depth/alley_1/frame_0001.dpt
    training/camdata_left/alley_1/frame_0001.cam

Sequences are named after the pass too: "final/alley_1", "clean/alley_1". The folder may be `training` itself.
"""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import check_intrinsics, inverses, known_camera, opencv_camera, rigid_matrices
from openloger.datasets.files import listed, picture_source
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, found_below
from openloger.datasets.text import read_binary, require
from openloger.errors import InputError
from openloger.shapes import Float32, Float64

FPS = 24.0
TAG = 202021.25  # the first float of every file, for checking the byte order
PASSES = ("final", "clean")
CAMERA_BYTES = 8 * (9 + 12)


def find(folder: Path) -> list[str]:
    return [name for one in PASSES for name in found_below(_root(folder), f"{one}/*/frame_0001.png")]


def read(folder: Path, name: str) -> FileSequence:
    root, scene = _root(folder), name.rpartition("/")[2]
    pictures = listed(require(root / name, "a sequence of Sintel"), "frame_*.png")
    labels = []
    for number, picture in enumerate(pictures):
        intrinsics, world_from_cam = read_camera(root / "camdata_left" / scene / f"{picture.stem}.cam")
        depth_path = root / "depth" / scene / f"{picture.stem}.dpt"
        depth = partial(read_depth, depth_path) if depth_path.exists() else None
        labels.append(Label(number / FPS, world_from_cam, intrinsics, depth))
    return FileSequence(name, tuple(labels), picture_source(pictures))


def read_camera(path: Path) -> tuple[Float64[np.ndarray, "3 3"] | None, Float64[np.ndarray, "4 4"] | None]:
    """Intrinsics and `world_from_cam`: the file has K and cam_from_world, float64, row-major. None without a file."""
    if not path.exists():
        return None, None
    body = _body(path, "camera")
    if len(body) != CAMERA_BYTES:
        raise InputError(f"{path} has {len(body)} bytes after its tag, where {CAMERA_BYTES} of K and camera are wanted")
    values = np.frombuffer(body, dtype="<f8")
    K, cam_from_world = values[:9].reshape(3, 3), rigid_matrices(values[None, 9:], path)
    intrinsics = check_intrinsics(path, opencv_camera(K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    return intrinsics, known_camera(inverses(cam_from_world)[0])


def read_depth(path: Path) -> Float32[np.ndarray, "height width"]:
    """Width, height, then float32 depths."""
    body = _body(path, "depth")
    width, height = struct.unpack_from("<ii", body)
    if min(width, height) <= 0 or len(body) != 8 + 4 * width * height:
        raise InputError(f"{path} is cut off, or no depth of Sintel: {width}×{height} do not fit its {len(body)} bytes")
    return np.frombuffer(body, dtype="<f4", offset=8).reshape(height, width).astype(np.float32)


def _body(path: Path, what: str) -> bytes:
    try:
        content = read_binary(path, what)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({what}): {error.strerror or error}") from error
    if len(content) < 12 or struct.unpack_from("<f", content)[0] != TAG:
        raise InputError(f"{path} is no {what} file of Sintel: it does not begin with {TAG}")
    return content[4:]


def _root(folder: Path) -> Path:
    return folder / "training" if (folder / "training").is_dir() else folder


SINTEL = Reader(
    title="MPI Sintel",
    layout="training/{final/alley_1/frame_0001.png, depth/alley_1/frame_0001.dpt, camdata_left/alley_1/frame_0001.cam}",
    find=find,
    read=read,
    depth=DepthKind(clean=True),
)
