"""Errors of estimated depth where the true depth is known, and the worth of its confidence.

First `sample_depth` or `match_depth` bring the two onto the same pixels, then `depth_errors` compares them: as they
are, or after one scale for the whole sequence, or one for each frame. The scale is the median over pixels of
truth / estimate. Errors are means over all pixels of all frames together. `calibration` measures whether errors fall
where confidence rises.
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


@dataclass(frozen=True)
class Calibration:
    """Errors by confidence. A useful confidence has a negative rank correlation and a small sparsification error."""

    confidence: tuple[float, ...]  # mean of each bin, rising; bins of equal numbers of pixels
    error: tuple[float, ...]  # mean of each bin
    rank_correlation: float  # Spearman's ρ between confidence and error: −1 is perfect, 0 is none
    sparsification: float  # area between the curves of what is left, 0 for the perfect order, 1 for a random one
    count: int


def calibration(
    confidence: Float[np.ndarray, " pixel"], error: Float[np.ndarray, " pixel"], *, bins: int = 10
) -> Calibration:
    """Errors in order of confidence.

    `sparsification` (after Ilg et al., ECCV 2018, AUSE): the mean error of what is left when the least confident
    share is taken away, averaged over the shares, minus the same with the largest errors taken away first, divided by
    that difference for a random order. Raises InputError for fewer pixels than bins, and numbers that are not finite.
    """
    if bins < 2 or len(error) < bins:
        raise InputError(f"{len(error)} pixels cannot be put into {bins} bins of at least one; at least 2 bins")
    confidence, error = confidence.astype(np.float64), error.astype(np.float64)
    if not (np.isfinite(confidence).all() and np.isfinite(error).all()):
        raise InputError("confidences and errors must be finite numbers; leave the others out")
    order = np.argsort(confidence, kind="stable")
    groups = np.array_split(order, bins)
    best = _area_left(np.sort(error)[::-1])
    random = float(error.mean())
    ranked = _area_left(_tied_mean(confidence, error)[order])
    return Calibration(
        confidence=tuple(float(confidence[group].mean()) for group in groups),
        error=tuple(float(error[group].mean()) for group in groups),
        rank_correlation=rank_correlation(confidence, error),
        sparsification=(ranked - best) / (random - best) if random > best else 0.0,
        count=len(error),
    )


def rank_correlation(a: Float[np.ndarray, " value"], b: Float[np.ndarray, " value"]) -> float:
    """Spearman's ρ; equal values share their mean rank. 0 where one of the two does not vary."""
    ranks = [_ranks(np.asarray(values, dtype=np.float64)) for values in (a, b)]
    x, y = (rank - rank.mean() for rank in ranks)
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[inverse]


def _tied_mean(key: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Every value replaced by the mean of those with the same key, so that ties have no order."""
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    return (np.bincount(inverse, weights=values) / counts)[inverse]


def _area_left(errors: np.ndarray) -> float:
    """The mean, over how many are taken away from the front, of the mean of the rest."""
    rest = errors[::-1].cumsum() / np.arange(1, len(errors) + 1)
    return float(rest.mean())
