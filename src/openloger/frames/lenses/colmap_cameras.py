"""COLMAP's cameras.txt: lines of CAMERA_ID MODEL WIDTH HEIGHT PARAMS (https://colmap.github.io/cameras.html)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from openloger.errors import InputError
from openloger.geometry.camera_models import CameraModel, CameraName

# By COLMAP's name: how many parameters, our model, and its parameters from COLMAP's
_MODELS: dict[str, tuple[int, str, Callable[..., Sequence[float]]]] = {
    "SIMPLE_PINHOLE": (3, "pinhole", lambda f, cx, cy: (f, f, cx, cy)),
    "PINHOLE": (4, "pinhole", lambda *all: all),
    "SIMPLE_RADIAL": (4, "opencv", lambda f, cx, cy, k: (f, f, cx, cy, k, 0.0, 0.0, 0.0)),
    "RADIAL": (5, "opencv", lambda f, cx, cy, k1, k2: (f, f, cx, cy, k1, k2, 0.0, 0.0)),
    "OPENCV": (8, "opencv", lambda *all: all),
    "FULL_OPENCV": (12, "opencv", lambda *all: all),
    "SIMPLE_RADIAL_FISHEYE": (4, "opencv_fisheye", lambda f, cx, cy, k: (f, f, cx, cy, k, 0.0, 0.0, 0.0)),
    "RADIAL_FISHEYE": (5, "opencv_fisheye", lambda f, cx, cy, k1, k2: (f, f, cx, cy, k1, k2, 0.0, 0.0)),
    "OPENCV_FISHEYE": (8, "opencv_fisheye", lambda *all: all),
}


def colmap_camera(path: str, content: str) -> CameraModel:
    """The camera of a cameras.txt; `path` is named in messages.

    Raises InputError where there is none, more than one, or one of another model.
    """
    lines = [line.split() for line in content.splitlines() if line.strip() and not line.startswith("#")]
    cameras = {tuple(words[1:]) for words in lines}
    if len(cameras) != 1:
        raise InputError(f"{path} has {len(cameras)} different cameras; leave the line of this video's alone")
    words = cameras.pop()
    if not words or words[0] not in _MODELS:
        raise InputError(f"{path}: model {' '.join(words[:1])!r} is none of {', '.join(_MODELS)}")
    count, name, ours = _MODELS[words[0]]
    try:
        (width, height), params = map(int, words[1:3]), [float(word) for word in words[3:]]
    except ValueError as error:
        raise InputError(f"{path}: no line of a camera: {error}") from error
    if len(params) != count:
        raise InputError(f"{path}: {words[0]} has {count} parameters, and {len(params)} are there")
    return CameraModel(cast(CameraName, name), tuple(ours(*params)), (height, width))
