"""Waymo Open (Sun et al., CVPR 2020), perception 1.4.2, processed as for DUSt3R (Wang et al., CVPR 2024) and CUT3R.

    segment-10023947602400723454_1120_000_1140_000_with_camera_labels.tfrecord/00000_1.jpg   frame, camera 1 to 5
    segment-…/00000_1.exr    depth along z in metres; the LiDAR's points, rounded to pixels; 0 elsewhere
    segment-…/00000_1.npz    intrinsics (3 × 3), cam2world (4 × 4), distortion (k1 k2 p1 p2 k3)

Cameras are 1 front, 2 front left, 3 front right, 4 side left, 5 side right; each is a sequence, `segment-…/1`.

- `cam2world` is `world_from_cam` of OpenCV's axes, in metres, in the segment's own world; the preprocessing has turned
  Waymo's camera axes (x forward, z up) into these.
- `intrinsics` are of the picture as it lies there (the longer side is 512 pixels) and put the centre of the first pixel
  at (0, 0), as OpenCV's do.
- The pictures are distorted as the lens made them, and depth lies at the distorted pixels. Frames are undistorted as
  they stream: a frame is the view of `geometry.views`, its intrinsics are the view's, and each depth lies in the pixel
  of the view on which its point falls. Files without `distortion` are pinholes.
- Frames are 10 a second; the moment at which the shutter passed a row is not kept, so motion during it is not undone.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import torch

from openloger.datasets.cameras import (
    INTEGER_CENTRES_PX,
    check_intrinsics,
    known_camera,
    nearest_depth,
    rigid_matrices,
    view_camera,
)
from openloger.datasets.exr import read_exr
from openloger.datasets.files import image_size, is_data, natural, picture_source, read_npz
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader
from openloger.datasets.text import require
from openloger.errors import InputError
from openloger.frames.lenses import undistorted
from openloger.geometry.camera_models import CameraModel
from openloger.outputs import is_clutter
from openloger.shapes import Float32, Float64

FPS = 10.0
_PICTURE = re.compile(r"([0-9]+)_([1-5])\.jpg")


def find(folder: Path) -> list[str]:
    found: set[str] = set()
    for pattern in ("*_[1-5].jpg", "*/*_[1-5].jpg"):
        for path in folder.glob(pattern):
            named = _PICTURE.fullmatch(path.name)
            if named is None or is_clutter(path.parent.name):
                continue
            name = f"{path.parent.relative_to(folder).as_posix()}/{named[2]}".removeprefix("./")
            if name not in found and path.with_suffix(".npz").exists():
                found.add(name)
    return sorted(found)


def read(folder: Path, name: str) -> FileSequence:
    segment, _, camera = (folder / name).as_posix().rpartition("/")
    root = require(Path(segment), "a segment of Waymo")
    pictures = [path for path in natural(root.glob(f"*_{camera}.jpg")) if is_data(path)]
    pictures = [path for path in pictures if _PICTURE.fullmatch(path.name)]
    if not pictures:
        raise InputError(f"{root} holds no picture of camera {camera}, as 00000_{camera}.jpg")
    size = image_size(pictures[0], formats=("JPEG",), what="a picture")
    cameras: list[CameraModel] = []
    labels: list[Label] = []
    for picture in pictures:
        world_from_cam, model = _camera(picture.with_suffix(".npz"), size, like=cameras[-1] if cameras else None)
        cameras.append(model)
        depth = picture.with_suffix(".exr")
        K = view_camera(model)
        read_depth = partial(view_depth, depth, model, K) if depth.exists() else None
        labels.append(Label(int(picture.name.partition("_")[0]) / FPS, world_from_cam, K, read_depth))
    return FileSequence(name, tuple(labels), undistorted(picture_source(pictures), cameras))


def view_depth(
    path: Path, camera: CameraModel, intrinsics: Float64[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "height width"]:
    """Depths of the view of a camera's picture, metres along z; where several fall on a pixel, the nearest."""
    stored = read_exr(path)
    if stored.shape != camera.size:
        raise InputError(f"{path} has {stored.shape[1]}×{stored.shape[0]} pixels, and its picture {camera.size}")
    row, column = np.nonzero(np.isfinite(stored) & (stored > 0))
    z = stored[row, column]
    if camera.is_pinhole:
        depth = np.zeros_like(stored)
        depth[row, column] = z
        return depth
    pixels = torch.from_numpy(np.stack([column, row], axis=1) + 0.5)
    rays = camera.unproject(pixels, size=stored.shape).numpy()
    return nearest_depth(rays * (z / rays[:, 2])[:, None], intrinsics, stored.shape)


def _camera(
    path: Path, size: tuple[int, int], *, like: CameraModel | None
) -> tuple[Float64[np.ndarray, "4 4"] | None, CameraModel]:
    """`world_from_cam`, None where it is not known, and the lens; where the file is missing, `like`."""
    if not path.exists() and like is not None:
        return None, like
    arrays = read_npz(path, {"intrinsics": (3, 3), "cam2world": (4, 4)}, optional={"distortion": (5,)})
    K = check_intrinsics(path, arrays["intrinsics"])
    lens = arrays.get("distortion", np.zeros(5))
    params = (K[0, 0], K[1, 1], K[0, 2] + INTEGER_CENTRES_PX, K[1, 2] + INTEGER_CENTRES_PX, *lens)
    try:
        model = CameraModel("opencv", tuple(map(float, params)), size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return known_camera(rigid_matrices(arrays["cam2world"].reshape(1, 16), path)[0]), model


WAYMO = Reader(
    title="Waymo Open, processed",
    layout="segment-….tfrecord/{00000_1.jpg, 00000_1.exr, 00000_1.npz}",
    find=find,
    read=read,
    depth=DepthKind(metric=True),
)
