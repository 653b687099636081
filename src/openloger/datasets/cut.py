"""A part of a labelled picture at another size: pixels, lens and depth changed alike.

Sizes are (height, width). A box is (left, top, right, bottom) in pixels of the picture, and need not be whole ones.
"""

from __future__ import annotations

import numpy as np

from openloger.shapes import Float32, Float64, Int, UInt8

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def covering_box(source: tuple[int, ...], size: tuple[int, int]) -> Box:
    """The largest part around a picture's middle that has the wanted shape; sizes are (height, width)."""
    scale = max(size[0] / source[0], size[1] / source[1])
    height, width = size[0] / scale, size[1] / scale
    top, left = (source[0] - height) / 2, (source[1] - width) / 2
    return left, top, left + width, top + height


def cut_rgb(
    rgb: UInt8[np.ndarray, "rows columns 3"], box: Box, size: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """A part of a picture at another size, by Lanczos."""
    from PIL import Image

    within = (max(box[0], 0), max(box[1], 0), min(box[2], rgb.shape[1]), min(box[3], rgb.shape[0]))
    return np.asarray(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.LANCZOS, box=within))


def cut_intrinsics(
    intrinsics: Float64[np.ndarray, "3 3"], box: Box, size: tuple[int, int]
) -> Float64[np.ndarray, "3 3"]:
    """The lens of that part: shifted by its corner, then scaled."""
    factor = np.array([size[1] / (box[2] - box[0]), size[0] / (box[3] - box[1])])
    cut = intrinsics.copy()
    cut[:2, 2] -= box[:2]
    cut[:2] *= factor[:, None]
    return cut


def cut_depth(
    depth: Float32[np.ndarray, "rows columns"], box: Box, picture: tuple[int, ...], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """The depth of that part: every pixel takes the known depth nearest its middle within it; 0 where there is none.

    `depth` may be coarser or sparser than the `picture` (height, width) in whose pixels `box` is. Where it is coarser
    than what is wanted, a pixel takes the depth that its middle falls on.
    """
    rows, columns = depth.shape
    to_depth = np.array([columns / picture[1], rows / picture[0]])
    corner = np.array(box[:2]) * to_depth
    step = (np.array(box[2:]) * to_depth - corner) / (size[1], size[0])  # depth pixels a wanted pixel
    if min(step) < 1:
        x, y = (np.arange(size[1 - axis]) + 0.5 for axis in (0, 1))
        column = np.clip(corner[0] + x * step[0], 0, columns - 1).astype(int)
        row = np.clip(corner[1] + y * step[1], 0, rows - 1).astype(int)
        found = depth[row[:, None], column]
        return np.where(np.isfinite(found) & (found > 0), found, np.float32(0))
    (row, rows_in, row_off), (column, columns_in, column_off) = (
        _cells(depth.shape[axis], corner[1 - axis], step[1 - axis], size[axis]) for axis in (0, 1)
    )
    cut, nearest = np.zeros(size, dtype=np.float32), np.full(size, np.inf)
    for i in range(rows_in.max()):
        at = np.minimum(row + i, rows - 1)
        for j in range(columns_in.max()):
            beside = np.minimum(column + j, columns - 1)
            found = depth[at[:, None], beside]
            off = np.maximum(row_off[at][:, None], column_off[beside])
            better = (i < rows_in)[:, None] & (j < columns_in) & (off <= nearest) & np.isfinite(found) & (found > 0)
            nearest = np.where(better, off, nearest)
            cut = np.where(better, found, cut)
    return cut


def _cells(
    count: int, corner: float, step: float, wanted: int
) -> tuple[Int[np.ndarray, " wanted"], Int[np.ndarray, " wanted"], Float64[np.ndarray, " count"]]:
    """Along an axis, of each of the `wanted` pixels the first of `count` samples whose middle falls into it and how
    many do; and of each sample how far its middle is from that of its pixel."""
    place = (np.arange(count) + 0.5 - corner) / step
    cell = np.floor(place)
    first, end = (np.searchsorted(cell, np.arange(wanted), side=side) for side in ("left", "right"))
    return first, end - first, np.abs(place - cell - 0.5)
