"""Spring (Mehl et al., CVPR 2023): the training split, left camera.

    train/0001/frame_left/frame_left_0001.png
    train/0001/disp1_left/disp1_left_0001.dsp5     HDF5; disparities in pixels of the picture, at twice its size
    train/0001/cam_data/intrinsics.txt             fx fy cx cy, a frame a line; half of the width is the middle
    train/0001/cam_data/extrinsics.txt             cam_from_world, 16 numbers a frame
    train/0001/maps/skymap_left/skymap_left_0001.png   not needed; white is the sky, which has no depth

Depth is fx times the baseline, 6.5 cm, over the disparity. It is kept at its own size, which shows the same view. The
folder may be the one above, `spring`, or `train` itself.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import camera_matrix, check_intrinsics, inverses, known_camera, rigid_matrices
from openloger.datasets.files import image_pixels, listed, picture_source, read_hdf5, same_count
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import read_rows, require
from openloger.shapes import Float32

FPS = 24.0  # nominal
BASELINE_M = 0.065


def find(folder: Path) -> list[str]:
    return found_below(folder, *(f"{above}cam_data/extrinsics.txt" for above in ("", "*/", "*/*/", "*/*/*/")), up=2)


def read(folder: Path, name: str) -> FileSequence:
    scene = require(folder / name, "a scene of Spring")
    pictures = listed(scene / "frame_left", "frame_left_*.png")
    lenses = read_rows(scene / "cam_data" / "intrinsics.txt", columns=4, what="fx fy cx cy")
    path = scene / "cam_data" / "extrinsics.txt"
    cameras = inverses(rigid_matrices(read_rows(path, columns=16, what="cam_from_world"), path))
    same_count(name, pictures=len(pictures), intrinsics=len(lenses), extrinsics=len(cameras))
    labels = []
    for number, (picture, lens, camera) in enumerate(zip(pictures, lenses.tolist(), cameras, strict=True)):
        K = check_intrinsics(scene / "cam_data" / "intrinsics.txt", camera_matrix(*lens))
        digits = picture.stem.removeprefix("frame_left_")
        disparity = scene / "disp1_left" / f"disp1_left_{digits}.dsp5"
        sky = scene / "maps" / "skymap_left" / f"skymap_left_{digits}.png"
        depth = partial(read_depth, disparity, sky, float(K[0, 0])) if disparity.exists() else None
        labels.append(Label(number / FPS, known_camera(camera), K, depth))
    return FileSequence(called(folder, name), tuple(labels), picture_source(pictures))


def read_depth(path: Path, sky: Path, focal_px: float) -> Float32[np.ndarray, "rows columns"]:
    """Metres; 0 where there is no disparity, and in the sky where its mask is there."""
    disparity = read_hdf5(path, "disparity", axes=2).astype(np.float32)
    known = np.isfinite(disparity) & (disparity > 0)
    if sky.exists():
        known &= ~_sky(sky, disparity.shape)
    return np.where(known, focal_px * BASELINE_M / np.where(known, disparity, 1), 0).astype(np.float32)


def _sky(path: Path, size: tuple[int, ...]) -> np.ndarray:
    """The mask at the size of the disparities, of which it is a whole fraction or multiple."""
    mask = image_pixels(path, formats=("PNG",), what="sky")
    mask = (mask if mask.ndim == 2 else mask[..., 0]) > 0
    rows, columns = (np.arange(count) * own // count for count, own in zip(size, mask.shape, strict=True))
    return mask[rows[:, None], columns]


SPRING = Reader(
    title="Spring",
    layout="train/0001/{frame_left/frame_left_0001.png, disp1_left/, cam_data/{intrinsics, extrinsics}.txt}",
    find=find,
    read=read,
    depth=DepthKind(clean=True, metric=True),
)
