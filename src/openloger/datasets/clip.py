"""Frames of a sequence at one size, ready to be learned from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from openloger.datasets.sequence import Labelled, Sequence
from openloger.errors import InputError
from openloger.frames import resize_rgb
from openloger.shapes import Bool, Float32, Float64, UInt8


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """Some frames of one video with their truth, all of one size."""

    name: str
    rgb: UInt8[np.ndarray, "frame height width 3"]
    depth: Float32[np.ndarray, "frame height width"]  # along z, world units; 0 where there is none
    valid: Bool[np.ndarray, "frame height width"]
    intrinsics: Float64[np.ndarray, "frame 3 3"]  # pixels
    world_from_cam: Float64[np.ndarray, "frame 4 4"]


def read_clip(sequence: Sequence, indices: Iterable[int], *, size: tuple[int, int]) -> LabelledClip:
    """The frames of these numbers, cut to the aspect of `size` = (height, width) around their middle, and resized.

    A pixel's depth is the one known nearest to its middle, not a mean over edges; so sparse depth stays sparse and
    true. Raises InputError for a frame without camera, intrinsics or depth, and IndexError for one that is not there.
    """
    numbers = list(indices)
    parts = [_resized(sequence.name, sequence[number], size) for number in numbers]
    rgb, depth, intrinsics, world_from_cam = (np.stack(part) for part in zip(*parts, strict=True))
    name = f"{sequence.name}[{','.join(map(str, numbers))}]"
    return LabelledClip(name, rgb, depth, depth > 0, intrinsics, world_from_cam)


def _resized(
    name: str, frame: Labelled, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    depth, intrinsics, camera = frame.depth, frame.intrinsics, frame.world_from_cam
    if depth is None or intrinsics is None or camera is None:
        missing = "depth" if depth is None else "intrinsics" if intrinsics is None else "camera"
        raise InputError(f"frame {frame.index} of {name} has no true {missing}; choose frames that have all")
    height, width = frame.rgb.shape[:2]
    rows, columns = min(height, round(width * size[0] / size[1])), min(width, round(height * size[1] / size[0]))
    top, left = (height - rows) // 2, (width - columns) // 2
    rgb = resize_rgb(np.ascontiguousarray(frame.rgb[top : top + rows, left : left + columns]), size)
    factors = np.array([[size[1] / columns], [size[0] / rows], [1.0]])
    moved = intrinsics - np.array([[0, 0, left], [0, 0, top], [0, 0, 0.0]])
    known = depth if frame.valid is None else np.where(frame.valid, depth, 0)
    box = (top / height, left / width, rows / height, columns / width)
    return rgb, _thin_depth(known, size, box=box), factors * moved, camera


def _thin_depth(
    depth: np.ndarray, size: tuple[int, int], *, box: tuple[float, float, float, float]
) -> Float32[np.ndarray, "height width"]:
    """The known depth nearest to each pixel's middle, of those that fall into it; `box` is what is kept, in 0..1."""
    top, left, height, width = box
    i, j = np.nonzero(np.isfinite(depth) & (depth > 0))
    y = ((i + 0.5) / depth.shape[0] - top) / height * size[0]
    x = ((j + 0.5) / depth.shape[1] - left) / width * size[1]
    inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
    i, j, y, x = i[inside], j[inside], y[inside], x[inside]
    row, column = y.astype(int), x.astype(int)
    off = (y - row - 0.5) ** 2 + (x - column - 0.5) ** 2
    order = np.argsort(-off, kind="stable")  # the nearest is written last
    thinned = np.zeros(size, dtype=np.float32)
    thinned[row[order], column[order]] = depth[i[order], j[order]]
    return thinned
