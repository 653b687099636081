"""Alignment of two sets of points or depths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from openloger.errors import InputError
from openloger.geometry.rotations import matrix_product, nearest_rotation, rotate, rotation_from_axis_angle
from openloger.geometry.transforms import Sim3
from openloger.shapes import Bool, Float, Tensor

ScaleMode = Literal["median", "median_all", "trimmed_mean", "trimmed_mean_all"]
TRIMMED_AT_EACH_END = 0.25
SCALE_RANGE = (1e-3, 1e3)
_CHI3_MEDIAN, _CHI3_TAIL = 1.538, 3.76  # of the length of three standard normal numbers: the middle, and 99.7 %
_WELSCH3 = 3.6  # standard deviations: at normal errors hardly less exact than least squares
_ROBUST_STEPS = 20
STRAIGHT = 1e-4  # of a path's length: where it is not wider it is a line, printed with few digits


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


def align_cameras(
    source: Float[Tensor, "frame 4 4"], target: Float[Tensor, "frame 4 4"], *, with_scale: bool = True
) -> Sim3:
    """`target_from_source` of two paths of the same cameras, `world_from_cam`, whose centres agree best (Umeyama 1991).

    Centres on one line or in one point leave a rotation free, on which their distances do not depend. It is chosen so
    that the cameras' own rotations agree best. Where a path stands still there is no scale to be found: it is 1.

    Raises InputError for fewer than three cameras, and where a value is not finite.
    """
    source_centres, target_centres = source[:, :3, 3], target[:, :3, 3]
    _normalised_weights(source_centres, target_centres, None)
    source_centred, target_centred = source_centres - source_centres.mean(0), target_centres - target_centres.mean(0)
    covariance = target_centred.mT @ source_centred
    left, strength, right = torch.linalg.svd(covariance)
    moves = min(_directions(source_centres), _directions(target_centres), int((strength > 0).sum()))
    if moves >= 2:
        return umeyama(source_centres, target_centres, with_scale=with_scale)
    agreement = (target[:, :3, :3] @ source[:, :3, :3].mT).sum(0)
    scale = torch.ones_like(strength[0])
    if moves == 1:
        rotation = _rotation_about_line(right[0], left[:, 0], agreement)
        scale = (rotation * covariance).sum() / source_centred.square().sum() if with_scale else scale
    else:
        rotation = nearest_rotation(agreement)
    return Sim3(scale, rotation, target_centres.mean(0) - scale * rotate(rotation, source_centres.mean(0)))


def umeyama_upright(
    source: Float[Tensor, "point 3"],
    target: Float[Tensor, "point 3"],
    weights: Float[Tensor, " point"] | None = None,
) -> Sim3:
    """The same of two worlds whose y is down along gravity: the rotation is about y alone.

    In the plane of x and z, as complex numbers a and b about their means, s e^{iθ} = Σ w ā b / Σ w |a|²; heights take
    no part in scale and direction. So a straight level path decides all of it.

    Raises InputError where fewer than three points have weight, or do not spread in the plane.
    """
    weights = _normalised_weights(source, target, weights)
    source_mean, target_mean = (weights[:, None] * source).sum(0), (weights[:, None] * target).sum(0)
    a, b = source - source_mean, target - target_mean
    along = (weights * (a[:, 0] * b[:, 0] + a[:, 2] * b[:, 2])).sum()
    across = (weights * (a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2])).sum()
    spread = (weights * (a[:, 0].square() + a[:, 2].square())).sum()
    if not bool(torch.hypot(along, across) > 100 * torch.finfo(source.dtype).eps * source_mean.square().sum()):
        raise InputError("alignment needs points that spread over the ground; these lie above one another")
    axis = torch.stack([torch.zeros_like(along), torch.atan2(across, along), torch.zeros_like(along)])
    rotation, scale = rotation_from_axis_angle(axis), torch.hypot(along, across) / spread
    return Sim3(scale, rotation, target_mean - scale * rotate(rotation, source_mean))


@dataclass(frozen=True, eq=False)
class RobustSimilarity:
    """`target_from_source` that most points agree on."""

    target_from_source: Sim3
    distance: Float[Tensor, " point"]  # of each moved point from its target
    sigma: float  # standard deviation along an axis, of the points that agree
    is_inlier: Bool[Tensor, " point"]  # within three of them, as a chi distribution of three axes has it


def robust_similarity(
    source: Float[Tensor, "point 3"],
    target: Float[Tensor, "point 3"],
    *,
    upright: bool = False,
    least_sigma: float = 0.0,
    draws: int = 300,
) -> RobustSimilarity:
    """A similarity that up to nearly half of the points may contradict, however far off they are.

    The start is the best of `draws` fits to few points by the median distance of all (Rousseeuw, "Least Median of
    Squares Regression", 1984), then Welsch's weights, whose width is the deviation of the points and at least
    `least_sigma`. The draws are the same each time. `upright` as in `umeyama_upright`.

    Raises InputError as `umeyama` does, where every draw fails.
    """
    fit = umeyama_upright if upright else umeyama
    generator = torch.Generator().manual_seed(0)
    best, least = None, torch.inf
    for _ in range(draws):
        drawn = torch.randperm(len(source), generator=generator)[:3]
        try:
            tried = fit(source[drawn], target[drawn])
        except InputError:
            continue
        median = float((tried.apply(source) - target).norm(dim=-1).median())
        if median < least:
            best, least = tried, median
    if best is None:
        best = fit(source, target)
    floor = torch.as_tensor(least_sigma, dtype=source.dtype).clamp_min(
        torch.finfo(source.dtype).eps * 100 * float(target.abs().max())
    )
    for _ in range(_ROBUST_STEPS):
        distance = (best.apply(source) - target).norm(dim=-1)
        sigma = (distance.median() / _CHI3_MEDIAN).clamp_min(floor)
        best = fit(source, target, (-(distance / (_WELSCH3 * sigma)).square()).exp().clamp_min(1e-12))
    distance = (best.apply(source) - target).norm(dim=-1)
    sigma = (distance.median() / _CHI3_MEDIAN).clamp_min(floor)
    is_inlier = distance <= _CHI3_TAIL * sigma
    return RobustSimilarity(best, distance, float(distance[is_inlier].square().mean().div(3).sqrt()), is_inlier)


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


def _directions(centres: Tensor) -> int:
    """In how many directions a path spreads; what rounding and printing make of a line is a line."""
    spread = torch.linalg.svdvals(centres - centres.mean(0))
    rounding = torch.finfo(centres.dtype).eps * centres.abs().amax() * 10 * len(centres) ** 0.5
    return int((spread > torch.maximum(STRAIGHT * spread[0], rounding)).sum())


def _rotation_about_line(source: Tensor, target: Tensor, wanted: Tensor) -> Tensor:
    """Of the rotations that take the unit vector `source` to `target`, the one nearest to the matrix `wanted`.

    With orthonormal bases B whose first axis is the vector, R = B_target diag(1, Rot(θ)) B_sourceᵀ, and tr(Rᵀ wanted)
    is largest at the angle of the lower 2 × 2 block of B_targetᵀ wanted B_source.
    """
    source_basis, target_basis = _basis_along(source), _basis_along(target)
    block = matrix_product(matrix_product(target_basis.mT, wanted), source_basis)[1:, 1:]
    angle = torch.atan2(block[1, 0] - block[0, 1], block[0, 0] + block[1, 1])
    turn = rotation_from_axis_angle(torch.stack([angle, torch.zeros_like(angle), torch.zeros_like(angle)]))
    return matrix_product(matrix_product(target_basis, turn), source_basis.mT)


def _basis_along(direction: Tensor) -> Tensor:
    """Right-handed and orthonormal, `direction` its first column."""
    other = torch.zeros_like(direction)
    other[direction.abs().argmin()] = 1
    second = torch.linalg.cross(direction, other)
    second = second / second.norm()
    return torch.stack([direction, second, torch.linalg.cross(direction, second)], dim=1)


def _require_rank_two(covariance: Tensor) -> None:
    largest, middle, _ = torch.linalg.svdvals(covariance.detach()).tolist()
    if not middle > 100 * torch.finfo(covariance.dtype).eps * largest:
        raise InputError("alignment needs points that spread in two directions; these lie in one point or on one line")
