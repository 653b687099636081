"""Alignment of two sets of points or depths."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from openloger.errors import InputError
from openloger.geometry.rotations import nearest_rotation, rotate
from openloger.geometry.transforms import Sim3
from openloger.shapes import Float, Tensor

ScaleMode = Literal["median", "median_all", "trimmed_mean", "trimmed_mean_all"]
TRIMMED_AT_EACH_END = 0.25
SCALE_RANGE = (1e-3, 1e3)


def umeyama(
    source: Float[Tensor, "point 3"],
    target: Float[Tensor, "point 3"],
    weights: Float[Tensor, " point"] | None = None,
    *,
    with_scale: bool = True,
) -> Sim3:
    """`target_from_source` with the least weighted sum of squared distances; scale 1 unless `with_scale`.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991; equation
    numbers below. Differentiable in the points.

    Raises InputError where fewer than three points have weight, where they lie in one point or on one line (the
    rotation is not determined), and where a value is not finite or a weight negative.
    """
    weights = _normalised_weights(source, target, weights)
    source_mean = (weights[:, None] * source).sum(0)  # (34)
    target_mean = (weights[:, None] * target).sum(0)  # (35)
    source_centred, target_centred = source - source_mean, target - target_mean
    source_variance = (weights[:, None] * source_centred.square()).sum()  # (36)
    covariance = (target_centred[:, :, None] * (weights[:, None] * source_centred)[:, None, :]).sum(0)  # (38)
    _require_rank_two(covariance)
    rotation = nearest_rotation(covariance)  # (39), (40), (43)
    one = torch.ones_like(source_variance)
    scale = (rotation * covariance).sum() / source_variance if with_scale else one  # (42), as tr(DS) = tr(Rᵀ Σ)
    return Sim3(scale, rotation, target_mean - scale * rotate(rotation, source_mean))  # (41)


def depth_scale(
    previous_depth: Float[Tensor, "frame height width"],
    current_depth: Float[Tensor, "frame height width"],
    *,
    mode: ScaleMode = "median",
) -> Float[Tensor, ""]:
    """The factor that makes the current depths agree with the previous ones, on the frames both have.

    The median, or the mean without a quarter at each end, of previous / current over the pixels where both are finite
    and positive: of the first frame, or of all frames in the `_all` modes. The median of an even number of ratios is
    the lower middle one. Clamped to [1e-3, 1e3].

    Raises InputError for an unknown mode and where no pixel is finite and positive in both.
    """
    if mode not in get_args(ScaleMode):
        raise InputError(f"scale mode {mode!r} is none of {', '.join(get_args(ScaleMode))}")
    if not mode.endswith("_all"):
        previous_depth, current_depth = previous_depth[:1], current_depth[:1]
    usable = previous_depth.isfinite() & current_depth.isfinite() & (previous_depth > 0) & (current_depth > 0)
    ratio = previous_depth[usable] / current_depth[usable]
    if ratio.numel() == 0:
        raise InputError("two windows have no pixel with finite, positive depth in both: their scales cannot be tied")
    if mode.startswith("median"):
        scale = ratio.median()
    else:
        trimmed = int(TRIMMED_AT_EACH_END * ratio.numel())
        scale = ratio.sort().values[trimmed : ratio.numel() - trimmed].mean()
    return scale.clamp(*SCALE_RANGE)


def _normalised_weights(source: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    weights = torch.ones_like(source[:, 0]) if weights is None else weights
    if not bool(source.isfinite().all() & target.isfinite().all() & weights.isfinite().all() & (weights >= 0).all()):
        raise InputError("alignment needs finite points and finite, non-negative weights; leave the others out")
    if int((weights > 0).sum()) < 3:
        raise InputError(f"alignment needs at least 3 points with weight; {int((weights > 0).sum())} were given")
    return weights / weights.sum()


def _require_rank_two(covariance: Tensor) -> None:
    largest, middle, _ = torch.linalg.svdvals(covariance.detach()).tolist()
    if not middle > 100 * torch.finfo(covariance.dtype).eps * largest:
        raise InputError("alignment needs points that spread in two directions; these lie in one point or on one line")
