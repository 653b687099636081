"""COLMAP's camera models, and its cameras.txt and cameras.bin (https://colmap.github.io/cameras.html).

The table is the only one: what reads a model and what writes one (`export.colmap_files`) take it from here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from openloger.errors import InputError
from openloger.geometry.camera_models import CameraModel, CameraName


@dataclass(frozen=True)
class ColmapModel:
    """One of COLMAP's camera models."""

    number: int  # in binary files
    parameters: int
    name: str  # of our model
    ours: Callable[..., Sequence[float]]  # its parameters from COLMAP's


COLMAP_MODELS: dict[str, ColmapModel] = {
    "SIMPLE_PINHOLE": ColmapModel(0, 3, "pinhole", lambda f, cx, cy: (f, f, cx, cy)),
    "PINHOLE": ColmapModel(1, 4, "pinhole", lambda *all: all),
    "SIMPLE_RADIAL": ColmapModel(2, 4, "opencv", lambda f, cx, cy, k: (f, f, cx, cy, k, 0.0, 0.0, 0.0)),
    "RADIAL": ColmapModel(3, 5, "opencv", lambda f, cx, cy, k1, k2: (f, f, cx, cy, k1, k2, 0.0, 0.0)),
    "OPENCV": ColmapModel(4, 8, "opencv", lambda *all: all),
    "FULL_OPENCV": ColmapModel(6, 12, "opencv", lambda *all: all),
    "SIMPLE_RADIAL_FISHEYE": ColmapModel(8, 4, "opencv_fisheye", lambda f, cx, cy, k: (f, f, cx, cy, k, 0.0, 0.0, 0.0)),
    "RADIAL_FISHEYE": ColmapModel(9, 5, "opencv_fisheye", lambda f, cx, cy, k1, k2: (f, f, cx, cy, k1, k2, 0.0, 0.0)),
    "OPENCV_FISHEYE": ColmapModel(5, 8, "opencv_fisheye", lambda *all: all),
}
_NAMES = {model.number: name for name, model in COLMAP_MODELS.items()}
_HEAD = struct.Struct("<IiQQ")  # camera id, model, width, height


def colmap_camera(path: str, content: str) -> CameraModel:
    """The camera of a cameras.txt; `path` is named in messages.

    Raises InputError where there is none, more than one, or one of another model.
    """
    cameras = colmap_cameras(path, content)
    if len(set(cameras.values())) != 1:
        raise InputError(f"{path} has {len(set(cameras.values()))} different cameras; leave the line of this video's")
    return next(iter(cameras.values()))


def colmap_cameras(path: str, content: str) -> dict[int, CameraModel]:
    """The cameras of a cameras.txt by their ids. Raises InputError for a line that is none, or another model."""
    lines = [line.split() for line in content.splitlines() if line.strip() and not line.startswith("#")]
    cameras = {}
    for words in lines:
        try:
            camera_id, model = int(words[0]), words[1]
            (width, height), params = map(int, words[2:4]), [float(word) for word in words[4:]]
        except (ValueError, IndexError) as error:
            raise InputError(f"{path}: {' '.join(words)[:60]!r} is no line of a camera: {error}") from error
        cameras[camera_id] = _camera(path, model, (height, width), params)
    return cameras


def binary_colmap_cameras(path: str, content: bytes) -> dict[int, CameraModel]:
    """The cameras of a cameras.bin by their ids. Raises InputError for another model, and a file that is cut short."""
    cameras = {}
    try:
        (count,), at = struct.unpack_from("<Q", content), 8
        for _ in range(count):
            camera_id, number, width, height = _HEAD.unpack_from(content, at)
            if number not in _NAMES:
                raise _unknown(path, f"number {number}")
            params = struct.unpack_from(f"<{COLMAP_MODELS[_NAMES[number]].parameters}d", content, at + _HEAD.size)
            at += _HEAD.size + 8 * len(params)
            cameras[camera_id] = _camera(path, _NAMES[number], (height, width), params)
    except struct.error as error:
        raise InputError(f"{path} is cut short, or no cameras.bin of COLMAP: {error}") from error
    return cameras


def _camera(path: str, model: str, size: tuple[int, int], params: Sequence[float]) -> CameraModel:
    if model not in COLMAP_MODELS:
        raise _unknown(path, repr(model))
    one = COLMAP_MODELS[model]
    if len(params) != one.parameters:
        raise InputError(f"{path}: {model} has {one.parameters} parameters, and {len(params)} are there")
    return CameraModel(cast(CameraName, one.name), tuple(one.ours(*params)), size)


def _unknown(path: str, model: str) -> InputError:
    return InputError(
        f"{path}: model {model} is none of {', '.join(COLMAP_MODELS)}; `colmap image_undistorter` makes it a PINHOLE"
    )
