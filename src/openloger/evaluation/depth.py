"""Errors of estimated depth where the true depth is known.

First `sample_depth` or `match_depth` bring the two onto the same pixels, then `depth_errors` compares them: as they
are, or after one scale for the whole sequence, or one for each frame. The scale is the median over pixels of
truth / estimate. Errors are means over all pixels of all frames together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from openloger.errors import InputError
from openloger.shapes import Bool, Float, Float32, Float64

DepthAlignment = Literal["none", "sequence", "frame"]
MOST_PIXELS = 65_536  # compared in one frame; more are thinned evenly


@dataclass(frozen=True, eq=False)
class DepthPairs:
    """One frame's depths at the pixels where both are known."""

    estimated: Float32[np.ndarray, " pixel"]
    truth: Float32[np.ndarray, " pixel"]
    confidence: Float32[np.ndarray, " pixel"]  # of the estimate, 0..1


@dataclass(frozen=True)
class DepthErrors:
    """Over all pixels; lengths are in the truth's unit, which is that of the estimate where nothing was aligned."""

    alignment: DepthAlignment
    abs_rel: float  # mean |d̂ − d| / d
    rmse: float
    delta1: float  # share of pixels with max(d̂/d, d/d̂) < 1.25
    delta2: float  # < 1.25²
    delta3: float  # < 1.25³
    scale: float  # median over the frames of the scales that were applied
    frames: int
    pixels: int


def sample_depth(
    depth: Float[np.ndarray, "height width"],
    x: Float64[np.ndarray, " pixel"],
    y: Float64[np.ndarray, " pixel"],
) -> Float32[np.ndarray, " pixel"]:
    """Depth between the pixels' centres, at (x, y) in 0..1 of the picture's width and height; 0 where there is none.

    Inverse depth is interpolated linearly between the four neighbours, which is exact on planes. A point whose
    neighbours are not all known takes the nearest pixel, and so does one in the outermost half pixel.
    """
    height, width = depth.shape
    column, row = x * width - 0.5, y * height - 0.5
    nearest = depth[row.round().astype(int).clip(0, height - 1), column.round().astype(int).clip(0, width - 1)]
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    inside = (left >= 0) & (left + 1 < width) & (top >= 0) & (top + 1 < height)
    left, top = left.clip(0, max(width - 2, 0)), top.clip(0, max(height - 2, 0))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    corners = np.stack([depth[top, left], depth[top, right], depth[bottom, left], depth[bottom, right]]).astype(
        np.float64
    )
    a, b = column - left, row - top
    weights = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b])
    known = inside & (np.isfinite(corners) & (corners > 0)).all(axis=0)
    inverse = (weights / np.where(corners > 0, corners, 1)).sum(axis=0)
    sampled = np.where(known, 1 / np.where(known, inverse, 1), nearest)
    return np.where(np.isfinite(sampled) & (sampled > 0), sampled, 0).astype(np.float32)


def match_depth(
    estimated: Float[np.ndarray, "height width"],
    truth: Float[np.ndarray, "rows columns"],
    *,
    valid: Bool[np.ndarray, "rows columns"] | None = None,
    confidence: Float[np.ndarray, "height width"] | None = None,
    nearest_and_farthest: tuple[float, float] = (0.0, np.inf),
    most: int = MOST_PIXELS,
) -> DepthPairs:
    """The estimate sampled at the true map's pixels; the two maps may have any sizes and see the same view.

    True depths outside `nearest_and_farthest` are left out, as are those that are not `valid`, not finite or not
    positive. Of more than `most` pixels every n-th is taken.
    """
    near, far = nearest_and_farthest
    usable = np.isfinite(truth) & (truth > max(near, 0)) & (truth <= far)
    usable = usable if valid is None else usable & valid
    row, column = np.nonzero(usable)
    thinned = slice(None, None, max(1, -(-len(row) // most)))
    row, column = row[thinned], column[thinned]
    x, y = (column + 0.5) / truth.shape[1], (row + 0.5) / truth.shape[0]
    sampled = sample_depth(estimated, x, y)
    sure = np.ones(len(row), dtype=np.float32)
    if confidence is not None:
        i = (y * confidence.shape[0]).astype(int)
        j = (x * confidence.shape[1]).astype(int)
        sure = confidence[i, j].astype(np.float32)
    known = sampled > 0
    return DepthPairs(sampled[known], truth[row, column][known].astype(np.float32), sure[known])


def depth_errors(frames: Sequence[DepthPairs], *, alignment: DepthAlignment = "sequence") -> DepthErrors:
    """AbsRel, RMSE and δ over all frames.

    Raises InputError for an unknown alignment and where no pixel has both depths.
    """
    if alignment not in get_args(DepthAlignment):
        raise InputError(f"depth alignment {alignment!r} is none of {', '.join(get_args(DepthAlignment))}")
    frames = [frame for frame in frames if len(frame.truth)]
    if not frames:
        raise InputError("no pixel has both an estimated and a true depth; is it the same video, and depth along z?")
    scales = depth_scales(frames, alignment=alignment)
    estimated = np.concatenate([s * f.estimated.astype(np.float64) for s, f in zip(scales, frames, strict=True)])
    truth = np.concatenate([frame.truth.astype(np.float64) for frame in frames])
    ratio = np.maximum(estimated / truth, truth / estimated)
    return DepthErrors(
        alignment=alignment,
        abs_rel=float(np.mean(np.abs(estimated - truth) / truth)),
        rmse=float(np.sqrt(np.mean(np.square(estimated - truth)))),
        delta1=float(np.mean(ratio < 1.25)),
        delta2=float(np.mean(ratio < 1.25**2)),
        delta3=float(np.mean(ratio < 1.25**3)),
        scale=float(np.median(scales)),
        frames=len(frames),
        pixels=len(truth),
    )


def depth_scales(frames: Sequence[DepthPairs], *, alignment: DepthAlignment) -> list[float]:
    """The factor for each frame's estimate; every frame has pixels."""
    if alignment == "none":
        return [1.0] * len(frames)
    ratios = [frame.truth.astype(np.float64) / frame.estimated for frame in frames]
    if alignment == "frame":
        return [float(np.median(ratio)) for ratio in ratios]
    return [float(np.median(np.concatenate(ratios)))] * len(frames)
