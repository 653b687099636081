"""The objective: how far a prediction is from the truth, up to the one scale that is not observable (LoGeR, π³).

LoGeR (arXiv 2603.03269) and π³ (arXiv 2507.13347). Both sides are put into their own first frame's coordinates; the
truth is divided by the mean distance of its valid points, the prediction by the mean distance of its own *with
gradient* (without it log z drifts until it dies); then one scale s per clip is solved exactly (`solve_scale`). With
w = 1/z and p̂ already scaled by s:

    L_local  = mean w·‖p̂_cam − p_cam‖₁            L_world = mean w·‖p̂_world − p_world‖₁
    L_pose   = rotation angle and Huber₀.₁ of the translation between all ordered pairs of frames
    L_normal = angle between the normals of the four triangles of 2×2 pixel blocks, depth edges left out
    L_direction = 1 − cosine of the angle between the translations of all pairs that moved: without it a short
               baseline weighs next to nothing, and a network from scratch mistakes forwards for backwards
    L_conf   = BCE(confidence_logit, [w·‖p̂_cam − p_cam‖₁ < trusted_error]), sky as 0, over sky and known depth
    L_anchor = (mean log z)², weak: it only keeps the free scale from wandering

Of networks with dense heads, with e = log ẑ − log z less its median over the clip (MiDaS, arXiv 1907.01341):

    L_depth  = mean |e|              L_gradient = mean |∂e| at four scales, so that edges are where they belong
    L_focal  = |log f̂ − log f|       L_sky, L_moving = BCE and Dice of the two masks, where they are known

Of chains, with m_k the median of log ẑ − log z in window k and m its mean over the chain: L_scale = mean |m_k − m|, so
that all windows have the one scale that nobody can see. Of clips in metres, with ŝ the metric scale that is in ẑ:
L_metric = mean |m_k|, whose gradient goes to log ŝ alone (as MoGe-2, arXiv 2507.02546, learns scale apart from shape).

What a clip's truth is not good for (`TruthKind`) takes no part: L_normal where depth is dense and clean, since noise of
1 % between neighbouring pixels turns their normals by tens of degrees; confidence and sky where a pixel has depth or is
sky, since a hole of a LiDAR or a depth camera is neither; L_moving where the mask is known; L_metric in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from openloger.errors import InputError
from openloger.geometry import SE3, rotation_angle, unproject
from openloger.geometry.cameras import weighted_median
from openloger.network import WindowPrediction
from openloger.shapes import Bool, Float, Int, Tensor
from openloger.training.clips import ClipBatch

HUBER_DELTA = 0.1
CLEAR_BASELINE = 0.05  # of the mean distance: a pair that moved by this or more counts in full for direction
SHORT_STEP = 0.02  # of the mean distance: a predicted translation below it has a direction only in part
GRADIENT_STEPS = (1, 2, 4, 8)  # pixels
NORMAL_EDGE = 0.1  # a 2×2 block whose depth range is over this part of its nearest depth is an edge
SAMPLES = 4096  # points that the solver takes, per clip
_TINY = 1e-12


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the defaults are the published ones."""

    local: float = 1.0
    world: float = 1.0
    rotation: float = 0.1  # per radian
    translation: float = 10.0
    direction: float = 0.0  # from-scratch stages only
    normal: float = 1.0
    confidence: float = 0.0  # 0.05 in the last stage
    trusted_error: float = 0.02  # no weight: the weighted local error below which a point is to be trusted
    anchor: float = 0.01
    match: float = 0.0  # of `matching.py`, as the next; from-scratch stages only
    shift: float = 0.0  # per token
    depth: float = 0.0  # of networks with dense heads, as all that follow
    gradient: float = 0.0
    focal: float = 0.0
    flow: float = 0.0  # per cell of 8 pixels (`matching.py`)
    sky: float = 0.0
    moving: float = 0.0
    scale: float = 0.0  # of chains of windows (`objective.py`), as the next
    metric: float = 0.0  # of networks with a metric scale


@dataclass(frozen=True)
class Losses:
    """The terms of one batch, each a scalar with gradient, and the mean log depth to watch for collapse."""

    local: Float[Tensor, ""]
    world: Float[Tensor, ""]
    rotation: Float[Tensor, ""]  # radians
    translation: Float[Tensor, ""]
    direction: Float[Tensor, ""]  # 0..2
    normal: Float[Tensor, ""]  # radians
    confidence: Float[Tensor, ""]
    anchor: Float[Tensor, ""]
    log_depth: Float[Tensor, ""]
    depth: Float[Tensor, ""]
    gradient: Float[Tensor, ""]
    focal: Float[Tensor, ""]
    sky: Float[Tensor, ""]
    moving: Float[Tensor, ""]

    def total(self, weights: LossWeights) -> Float[Tensor, ""]:
        """The weighted sum; terms of weight 0 take no part, so that they may be anything."""
        named = {field.name: getattr(weights, field.name, 0.0) for field in fields(self) if field.name != "log_depth"}
        terms = [weight * getattr(self, name) for name, weight in named.items() if weight != 0]
        return torch.stack(terms).sum()


@dataclass(frozen=True)
class Aligned:
    """Both sides in their own first frame's coordinates, the truth at unit mean distance, the scale solved."""

    truth_cam: Float[Tensor, "batch frame height width 3"]
    truth_first_from_cam: SE3  # batch frame
    predicted_cam: Float[Tensor, "batch frame height width 3"]
    predicted_first_from_cam: SE3  # batch frame
    weight: Float[Tensor, "batch frame height width"]  # 1/z of the truth; 0 where there is none
    valid: Bool[Tensor, "batch frame height width"]
    log_depth: Float[Tensor, " batch"]  # mean log z as predicted, before any division


def measure(prediction: WindowPrediction, truth: ClipBatch, weights: LossWeights) -> Losses:
    """All terms, in float32; terms of weight 0 that cost something are given as 0."""
    aligned = align(prediction, truth)
    zero = aligned.predicted_cam.sum() * 0
    truth_pair = relative_motion(aligned.truth_first_from_cam)
    predicted_pair = relative_motion(aligned.predicted_first_from_cam)
    between = (predicted_pair.inverse() @ truth_pair).rotation
    slip = F.huber_loss(predicted_pair.translation, truth_pair.translation, reduction="none", delta=HUBER_DELTA)
    return Losses(
        local=local_loss(aligned),
        world=world_loss(aligned) if weights.world else zero,
        rotation=pair_mean(rotation_angle(between)),
        translation=pair_mean(slip.mean(-1)),
        direction=direction_loss(predicted_pair.translation, truth_pair.translation),
        normal=normal_loss(aligned.predicted_cam, aligned.truth_cam, of_clips(truth.has_normals, aligned.valid))
        if weights.normal
        else zero,
        confidence=confidence_loss(prediction.confidence_logit.float(), aligned, truth.sky, weights.trusted_error)
        if weights.confidence
        else zero,
        anchor=aligned.log_depth.square().mean(),
        log_depth=aligned.log_depth.mean().detach(),
        **dense_losses(prediction, truth, weights, zero=zero),
    )


def dense_losses(
    prediction: WindowPrediction, truth: ClipBatch, weights: LossWeights, *, zero: Tensor
) -> dict[str, Float[Tensor, ""]]:
    """The terms of dense heads, by name; `zero` where their weight is 0."""
    error = log_depth_error(prediction.points_cam[..., 2].float(), truth.depth.float(), truth.valid)
    return {
        "depth": _valid_mean(error.abs(), truth.valid) if weights.depth else zero,
        "gradient": gradient_loss(error, truth.valid) if weights.gradient else zero,
        "focal": focal_loss(_given(prediction.focal_px, "focal"), truth.intrinsics) if weights.focal else zero,
        "sky": mask_loss(_given(prediction.sky_logit, "sky"), truth.sky, truth.valid | truth.sky)
        if weights.sky
        else zero,
        "moving": mask_loss(
            _given(prediction.moving_logit, "moving"),
            truth.moving,
            of_clips(truth.has_moving, torch.ones_like(truth.valid)),
        )
        if weights.moving
        else zero,
    }


def of_clips(
    which: Bool[Tensor, " batch"], pixels: Bool[Tensor, "batch frame height width"]
) -> Bool[Tensor, "batch frame height width"]:
    """The pixels of these clips alone."""
    return pixels & which[:, None, None, None]


def _given(output: Tensor | None, name: str) -> Tensor:
    if output is None:
        raise InputError(f"this network has no {name} output; set the weight of its loss to 0")
    return output.float()


def log_depth_error(
    predicted: Float[Tensor, "batch frame height width"],
    truth: Float[Tensor, "batch frame height width"],
    valid: Bool[Tensor, "batch frame height width"],
) -> Float[Tensor, "batch frame height width"]:
    """log ẑ − log z less its median over the valid pixels of the clip (a constant to the gradient); 0 elsewhere."""
    error = _log_ratio(predicted, truth, valid)
    median = median_log_ratio(predicted, truth, valid).detach()
    return torch.where(valid, error - median[:, None, None, None], 0.0)


def median_log_ratio(
    predicted: Float[Tensor, "batch frame height width"],
    truth: Float[Tensor, "batch frame height width"],
    valid: Bool[Tensor, "batch frame height width"],
) -> Float[Tensor, " batch"]:
    """The median of log ẑ − log z over valid pixels, up to 4096 a clip; 0 where there are none."""
    index, filled = sample_valid(valid.flatten(1))
    sampled = _log_ratio(predicted, truth, valid).flatten(1).gather(1, index)
    return torch.where(filled, sampled, torch.nan).nanmedian(dim=1).values.nan_to_num()


def _log_ratio(predicted: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, predicted.clamp(min=1e-6).log() - truth.clamp(min=1e-6).log(), 0.0)


def gradient_loss(
    error: Float[Tensor, "batch frame height width"], valid: Bool[Tensor, "batch frame height width"]
) -> Float[Tensor, ""]:
    """Mean absolute difference of the error between neighbours 1, 2, 4 and 8 pixels apart, along both axes."""
    total = error.sum() * 0
    for step in GRADIENT_STEPS:
        fine, known = error[..., ::step, ::step], valid[..., ::step, ::step]
        for axis in (-1, -2):
            both = known.narrow(axis, 1, known.shape[axis] - 1) & known.narrow(axis, 0, known.shape[axis] - 1)
            total = total + _valid_mean(fine.diff(dim=axis).abs(), both)
    return total / len(GRADIENT_STEPS)


def focal_loss(
    focal_px: Float[Tensor, "batch frame"], intrinsics: Float[Tensor, "batch frame 3 3"]
) -> Float[Tensor, ""]:
    """|log f̂ − log f|, with f the mean of fx and fy."""
    true = intrinsics[..., [0, 1], [0, 1]].float().mean(-1)
    return (focal_px.log() - true.log()).abs().mean()


def mask_loss(
    logit: Float[Tensor, "batch frame height width"],
    mask: Bool[Tensor, "batch frame height width"],
    known: Bool[Tensor, "batch frame height width"],
) -> Float[Tensor, ""]:
    """Over the pixels that are known: binary cross-entropy, and one less the overlap (Dice, arXiv 1606.04797) of masks
    that are not empty: without it a mask of few pixels, as of things that move, is best left empty."""
    mask = mask & known
    truth, part = mask.to(logit.dtype), torch.where(known, logit.sigmoid(), 0.0)
    overlap = 2 * (part * truth).sum() / (part + truth).sum().clamp(min=_TINY)
    entropy = F.binary_cross_entropy_with_logits(logit, truth, reduction="none")
    return _valid_mean(entropy, known) + torch.where(mask.any(), 1 - overlap, 0.0)


def align(prediction: WindowPrediction, truth: ClipBatch) -> Aligned:
    """Bring both sides to where they can be compared; the solved scale is a constant to the gradient."""
    valid = truth.valid.flatten(1)
    truth_motion = relative_to_first(truth.world_from_cam.float())
    truth_cam = unproject(truth.depth.float(), truth.intrinsics.float())
    distance = torch.linalg.vector_norm(truth_motion.apply(truth_cam), dim=-1).flatten(1)
    truth_cam, truth_motion = rescale(truth_cam, truth_motion, 1 / masked_mean(distance, valid).clamp(min=1e-12))

    predicted_cam = prediction.points_cam.float()
    motion = relative_to_first(prediction.world_from_cam.float())
    log_depth = predicted_cam[..., 2].clamp(min=1e-12).log().flatten(1).mean(dim=1)
    own = masked_mean(torch.linalg.vector_norm(predicted_cam, dim=-1).flatten(1), valid)
    predicted_cam, motion = rescale(predicted_cam, motion, 1 / own.clamp(min=1e-12))

    weight = inverse_depth_weight(truth_cam[..., 2].flatten(1), valid)
    index, filled = sample_valid(valid)
    scale = solve_scale(
        _take(predicted_cam, index), _take(truth_cam, index), torch.where(filled, weight.gather(1, index), 0.0)
    )
    predicted_cam, motion = rescale(predicted_cam, motion, scale)
    weight = weight.reshape(truth.valid.shape)
    return Aligned(truth_cam, truth_motion, predicted_cam, motion, weight, truth.valid, log_depth)


def local_loss(aligned: Aligned) -> Float[Tensor, ""]:
    """Mean weighted L1 distance of the camera-frame points."""
    return _valid_mean(weighted_error(aligned.predicted_cam, aligned.truth_cam, aligned.weight), aligned.valid)


def world_loss(aligned: Aligned) -> Float[Tensor, ""]:
    """The same on points in the first frame's coordinates: it ties depth and motion together."""
    predicted = aligned.predicted_first_from_cam.apply(aligned.predicted_cam)
    truth = aligned.truth_first_from_cam.apply(aligned.truth_cam)
    return _valid_mean(weighted_error(predicted, truth, aligned.weight), aligned.valid)


def direction_loss(
    predicted: Float[Tensor, "batch frame frame 3"], truth: Float[Tensor, "batch frame frame 3"]
) -> Float[Tensor, ""]:
    """Mean 1 − cosine over pairs of frames, each counted by how clearly it moved (mean distance 1)."""
    length = torch.linalg.vector_norm(truth, dim=-1)
    own = (predicted.square().sum(-1) + 1e-18).sqrt()  # its gradient is finite at 0
    cosine = (predicted * truth).sum(-1) / (own.maximum(length.clamp(max=SHORT_STEP)) * length).clamp(min=1e-12)
    counts = (length / CLEAR_BASELINE).clamp(max=1)
    return (counts * (1 - cosine)).sum() / counts.sum().clamp(min=1e-6)


def confidence_loss(
    logit: Float[Tensor, "batch frame height width"],
    aligned: Aligned,
    sky: Bool[Tensor, "batch frame height width"],
    trusted_error: float,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of "this point is within the trusted error"; sky is never. Of what is neither sky nor has
    depth nothing is learnt."""
    error = weighted_error(aligned.predicted_cam, aligned.truth_cam, aligned.weight).detach()
    trusted = (error < trusted_error) & aligned.valid
    entropy = F.binary_cross_entropy_with_logits(logit, trusted.to(logit.dtype), reduction="none")
    return _valid_mean(entropy, aligned.valid | sky)


def normal_loss(
    predicted_cam: Float[Tensor, "batch frame height width 3"],
    truth_cam: Float[Tensor, "batch frame height width 3"],
    valid: Bool[Tensor, "batch frame height width"],
) -> Float[Tensor, ""]:
    """Mean angle between surface normals over the triangles of non-overlapping 2×2 blocks with truth at all corners."""
    depth = torch.stack([corner[..., 2] for corner in _corners(truth_cam)])
    whole = torch.stack(_corners(valid)).all(dim=0)
    smooth = whole & (depth.amax(0) - depth.amin(0) < NORMAL_EDGE * depth.amin(0))
    angle = angle_between(_triangle_normals(predicted_cam), _triangle_normals(truth_cam))
    return _valid_mean(angle, smooth.expand_as(angle))


def weighted_error(
    predicted: Float[Tensor, "batch frame height width 3"],
    truth: Float[Tensor, "batch frame height width 3"],
    weight: Float[Tensor, "batch frame height width"],
) -> Float[Tensor, "batch frame height width"]:
    """w·‖p̂ − p‖₁ a pixel."""
    return weight * (predicted - truth).abs().sum(dim=-1)


def relative_to_first(world_from_cam: Float[Tensor, "batch frame 4 4"]) -> SE3:
    """first_from_cam, "batch frame": every frame seen from the clip's first one."""
    return SE3.from_matrix(world_from_cam[:, :1]).inverse() @ SE3.from_matrix(world_from_cam)


def relative_motion(world_from_cam: SE3) -> SE3:
    """[i, j] = cam_i_from_cam_j, "batch frame frame", of "batch frame"."""
    i_from_world, world_from_j = world_from_cam.inverse(), world_from_cam
    return SE3(i_from_world.rotation[:, :, None], i_from_world.translation[:, :, None]) @ SE3(
        world_from_j.rotation[:, None], world_from_j.translation[:, None]
    )


def rescale(
    points_cam: Float[Tensor, "batch frame height width 3"], motion: SE3, factor: Float[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch frame height width 3"], SE3]:
    """Points and translations multiplied by one number a clip."""
    moved = SE3(motion.rotation, motion.translation * factor[:, None, None])
    return points_cam * factor[:, None, None, None, None], moved


def angle_between(a: Float[Tensor, "*batch 3"], b: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Angle between two unit vectors in radians, as atan2 of its sine and cosine: its gradient is bounded.

    Where one of them is zero, as the normal of a triangle without depth, angle and gradient are 0.
    """
    sine, cosine = torch.linalg.vector_norm(cross(a, b), dim=-1), (a * b).sum(-1)
    neither = (sine == 0) & (cosine == 0)
    return torch.atan2(sine, cosine.masked_fill(neither, 1.0))  # torch 2.7 has no gradient of atan2(0, 0)


def cross(a: Float[Tensor, "*batch 3"], b: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """The cross product; with torch's own the normal loss takes 1.8 times as long on a CPU."""
    (ax, ay, az), (bx, by, bz) = a.unbind(-1), b.unbind(-1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], dim=-1)


def pair_mean(value: Float[Tensor, "batch frame frame"]) -> Float[Tensor, ""]:
    """The mean over ordered pairs of different frames; 0 for clips of one frame."""
    frames = value.shape[1]
    different = ~torch.eye(frames, dtype=torch.bool, device=value.device)
    return torch.where(different, value, 0.0).sum() / max(1, value.shape[0] * frames * (frames - 1))


def _corners(image: Tensor) -> list[Tensor]:
    height, width = image.shape[2] // 2 * 2, image.shape[3] // 2 * 2
    image = image[:, :, :height, :width]
    return [image[:, :, i::2, j::2] for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))]  # in ring order


def _triangle_normals(points: Float[Tensor, "batch frame height width 3"]) -> Float[Tensor, "4 batch frame row col 3"]:
    ring = torch.stack(_corners(points))
    ahead, behind = ring.roll(-1, dims=0) - ring, ring.roll(1, dims=0) - ring
    return F.normalize(cross(ahead, behind), dim=-1, eps=1e-12)


def _valid_mean(value: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, value, 0.0).sum() / valid.sum().clamp(min=1)


def _take(points: Float[Tensor, "batch frame height width 3"], index: Tensor) -> Tensor:
    return points.flatten(1, 3).gather(1, index[..., None].expand(-1, -1, 3))


def solve_scale(
    prediction: Float[Tensor, "batch point 3"],
    truth: Float[Tensor, "batch point 3"],
    weight: Float[Tensor, "batch point"],
) -> Float[Tensor, " batch"]:
    """The one scale that a monocular prediction is free to choose: the exact minimiser, at least 1e-6, no gradient.

    s minimises  Σᵢ wᵢ ‖s·p̂ᵢ − pᵢ‖₁ = Σᵢ꜀ wᵢ|p̂ᵢ꜀| · |s − pᵢ꜀/p̂ᵢ꜀| : the weighted median of the ratios pᵢ꜀/p̂ᵢ꜀ with the
    weights wᵢ|p̂ᵢ꜀| (MoGe, arXiv 2410.19115, the alignment solver with its shift fixed at zero).
    """
    prediction, truth = prediction.detach().flatten(1), truth.detach().flatten(1)
    pull = weight.detach().repeat_interleave(3, dim=1) * prediction.abs()
    ratio = truth / torch.where(prediction.abs() > _TINY, prediction, _TINY)
    return weighted_median(ratio, pull).clamp(min=1e-6)


def sample_valid(
    valid: Bool[Tensor, "batch pixel"], *, limit: int = SAMPLES
) -> tuple[Int[Tensor, "batch sample"], Bool[Tensor, "batch sample"]]:
    """Up to `limit` valid pixels a clip, evenly spread over them: their indices, and which of the slots are filled."""
    samples = min(limit, valid.shape[1])
    slot = torch.arange(samples, device=valid.device)[None]
    seen = valid.long().cumsum(dim=1)
    count = seen[:, -1:]
    rank = torch.where(count > samples, slot * count // samples, slot)
    index = torch.searchsorted(seen, (rank + 1).contiguous())
    return index.clamp(max=valid.shape[1] - 1), slot < count


def inverse_depth_weight(
    depth: Float[Tensor, "batch pixel"], valid: Bool[Tensor, "batch pixel"]
) -> Float[Tensor, "batch pixel"]:
    """w = 1/z, with z clamped from below at a tenth of its mean; 0 where there is no depth."""
    floor = 0.1 * masked_mean(depth, valid)[:, None]
    return torch.where(valid, 1 / depth.clamp(min=floor.clamp(min=_TINY)), 0.0)


def masked_mean(value: Float[Tensor, "batch pixel"], mask: Bool[Tensor, "batch pixel"]) -> Float[Tensor, " batch"]:
    """The mean over the mask; 0 where the mask is empty."""
    return torch.where(mask, value, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
