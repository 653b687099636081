"""Errors of an estimated camera path (ATE, RPE, KITTI segments, scale drift, loops), after alignment to the true one.

Every function takes `world_from_cam` of the same frames twice, estimated and true, float64 (frame, 4, 4) with OpenCV
axes. The order is: `align` first, then any of the errors on what it gives.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from openloger.errors import InputError
from openloger.geometry import Sim3, align_cameras, rotation_angle
from openloger.shapes import Float64, Int, Tensor


@dataclass(frozen=True)
class Summary:
    """Of errors ≥ 0, in their unit."""

    rmse: float
    mean: float
    median: float
    maximum: float
    count: int

    @staticmethod
    def of(errors: Float64[np.ndarray, " error"]) -> Summary:
        """Raises InputError where there are none, or one is not a number."""
        if len(errors) == 0:
            raise InputError("there is nothing to summarise: no errors were measured")
        if not np.isfinite(errors).all():
            raise InputError(f"{int((~np.isfinite(errors)).sum())} of {len(errors)} errors are not finite numbers")
        return Summary(
            rmse=float(np.sqrt(np.mean(np.square(errors)))),
            mean=float(np.mean(errors)),
            median=float(np.median(errors)),
            maximum=float(np.max(errors)),
            count=len(errors),
        )


Alignment = Literal["none", "se3", "sim3"]
KITTI_LENGTHS_M = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)
KITTI_EVERY = 10  # frames between the beginnings of two segments
LEAST_FRAMES = 3


@dataclass(frozen=True, eq=False)
class AlignedPath:
    """An estimated path in the true world's frame."""

    world_from_cam: Float64[np.ndarray, "frame 4 4"]
    truth_from_estimate: Sim3  # what moved it there


@dataclass(frozen=True)
class AbsoluteError:
    """Errors of the cameras' positions and directions, after one alignment of the whole path."""

    translation: Summary  # in the truth's unit
    rotation_deg: Summary
    scale: float  # by which the estimate was multiplied


@dataclass(frozen=True)
class RelativeError:
    """Error of the relative motion over some frames."""

    step: int  # frames
    translation: Summary  # in the truth's unit
    rotation_deg: Summary


@dataclass(frozen=True)
class SegmentError:
    """Means over the segments of one length."""

    length: float  # along the true path, in its unit
    translation_percent: float
    rotation_deg_per_100: float
    count: int


@dataclass(frozen=True)
class SegmentErrors:
    """KITTI's: relative errors over lengths of path. The means are over all segments; None where the path is short."""

    lengths: tuple[SegmentError, ...]
    translation_percent: float | None
    rotation_deg_per_100: float | None


def align(
    estimated: Float64[np.ndarray, "estimated 4 4"], truth: Float64[np.ndarray, "true 4 4"], *, how: Alignment = "sim3"
) -> AlignedPath:
    """Move the estimate so that camera centres agree best (Umeyama 1991): rigidly, with a scale, or not at all.

    A path that is straight or stands still is aligned as in `align_cameras`.

    Raises InputError for an unknown alignment, fewer than three frames, different numbers of frames, and numbers that
    are not finite.
    """
    if how not in get_args(Alignment):
        raise InputError(f"alignment {how!r} is none of {', '.join(get_args(Alignment))}")
    check_paths(estimated, truth)
    if how == "none":
        return AlignedPath(estimated.copy(), Sim3.identity(dtype=torch.float64))
    moved = align_cameras(torch.from_numpy(estimated.copy()), torch.from_numpy(truth.copy()), with_scale=how == "sim3")
    rotation, translation = moved.rotation.numpy(), moved.translation.numpy()
    cameras = estimated.copy()
    cameras[:, :3, :3] = rotation @ estimated[:, :3, :3]
    cameras[:, :3, 3] = float(moved.scale) * estimated[:, :3, 3] @ rotation.T + translation
    return AlignedPath(cameras, moved)


def absolute_error(aligned: AlignedPath, truth: Float64[np.ndarray, "frame 4 4"]) -> AbsoluteError:
    """ATE: distances of camera centres, and angles between the cameras."""
    return AbsoluteError(
        translation=Summary.of(centre_distances(aligned.world_from_cam, truth)),
        rotation_deg=Summary.of(angles_deg(aligned.world_from_cam, truth)),
        scale=float(aligned.truth_from_estimate.scale),
    )


def relative_error(aligned: AlignedPath, truth: Float64[np.ndarray, "frame 4 4"], *, step: int = 1) -> RelativeError:
    """RPE over `step` frames, every frame a beginning: E = (T_i⁻¹ T_{i+step})⁻¹ (T̂_i⁻¹ T̂_{i+step}) (Sturm 2012)."""
    check_paths(aligned.world_from_cam, truth)
    if not 0 < step < len(truth):
        raise InputError(
            f"a step of {step} frames needs more than {step} frames, and at least 1; {len(truth)} are there"
        )
    first = np.arange(len(truth) - step)
    translation, rotation_deg = _motion_errors(aligned.world_from_cam, truth, first, first + step)
    return RelativeError(step, Summary.of(translation), Summary.of(rotation_deg))


def segment_errors(
    aligned: AlignedPath,
    truth: Float64[np.ndarray, "frame 4 4"],
    *,
    lengths: tuple[float, ...] = KITTI_LENGTHS_M,
    every: int = KITTI_EVERY,
) -> SegmentErrors:
    """KITTI odometry's metric: a segment of each length from every tenth frame, to the first frame past that length."""
    check_paths(aligned.world_from_cam, truth)
    along = distance_along(truth)
    rows, all_translation, all_rotation = [], [], []
    for length in lengths:
        first = np.arange(0, len(truth), every)
        last = np.searchsorted(along, along[first] + length, side="right")
        first, last = first[last < len(truth)], last[last < len(truth)]
        if len(first) == 0:
            continue
        translation, rotation_deg = _motion_errors(aligned.world_from_cam, truth, first, last)
        all_translation.append(100 * translation / length)
        all_rotation.append(100 * rotation_deg / length)
        rows.append(SegmentError(length, all_translation[-1].mean().item(), all_rotation[-1].mean().item(), len(first)))
    if not rows:
        return SegmentErrors((), None, None)
    return SegmentErrors(
        tuple(rows), float(np.concatenate(all_translation).mean()), float(np.concatenate(all_rotation).mean())
    )


def distance_along(world_from_cam: Float64[np.ndarray, "frame 4 4"]) -> Float64[np.ndarray, " frame"]:
    """Each camera's distance along the path, from 0."""
    steps = np.linalg.norm(np.diff(world_from_cam[:, :3, 3], axis=0), axis=1)
    return np.concatenate([np.zeros(1), steps.cumsum()])


def centre_distances(
    a: Float64[np.ndarray, "frame 4 4"], b: Float64[np.ndarray, "frame 4 4"]
) -> Float64[np.ndarray, " frame"]:
    """Between the camera centres of two paths, frame by frame."""
    return np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1)


def angles_deg(
    a: Float64[np.ndarray, "frame 4 4"], b: Float64[np.ndarray, "frame 4 4"]
) -> Float64[np.ndarray, " frame"]:
    """Between the cameras of two paths, frame by frame; 0 to 180."""
    turn = torch.from_numpy(a[:, :3, :3].transpose(0, 2, 1) @ b[:, :3, :3])
    return rotation_angle(turn).rad2deg().numpy()


def check_paths(estimated: Float64[np.ndarray, "estimated 4 4"], truth: Float64[np.ndarray, "true 4 4"]) -> None:
    """Raises InputError for different or too small numbers of frames, and for numbers that are not finite."""
    if len(estimated) != len(truth):
        raise InputError(f"{len(estimated)} estimated cameras and {len(truth)} true ones do not go together")
    if len(truth) < LEAST_FRAMES:
        raise InputError(f"a path needs at least {LEAST_FRAMES} frames that have truth; {len(truth)} were matched")
    for name, cameras in (("estimated", estimated), ("true", truth)):
        bad = ~np.isfinite(cameras).all(axis=(1, 2))
        if bad.any():
            raise InputError(f"{bad.sum()} {name} cameras are not finite numbers; the first is number {bad.argmax()}")


def _motion_errors(
    estimated: np.ndarray, truth: np.ndarray, first: Int[np.ndarray, " pair"], last: Int[np.ndarray, " pair"]
) -> tuple[np.ndarray, np.ndarray]:
    """Length and angle in degrees of what is left of the estimated motion when the true one is taken off it."""
    motion_truth = np.linalg.inv(truth[first]) @ truth[last]
    motion = np.linalg.inv(estimated[first]) @ estimated[last]
    left = np.linalg.inv(motion_truth) @ motion
    angle = rotation_angle(torch.from_numpy(left[:, :3, :3].copy())).rad2deg().numpy()
    return np.linalg.norm(left[:, :3, 3], axis=1), angle


MOST_FRAMES = 1500  # searched for loops; a longer path is thinned evenly
RADIUS_STEPS = 5.0  # a place is the same within so many (median) steps between neighbouring frames
LOOP_STEPS = 50.0  # and only after so many steps of path


@dataclass(frozen=True)
class ScaleDrift:
    """The estimate's scale in parts of the path of equal length, divided by its scale over the whole."""

    at: tuple[float, ...]  # middle of each part, along the true path
    scale: tuple[float, ...]  # 1 where it is as large as on the whole
    spread: float  # largest / smallest
    last_over_first: float


@dataclass(frozen=True)
class LoopClosure:
    """The estimated gap between frames taken at nearly the same place; medians over the loops."""

    count: int  # frames that came back
    gap: float  # error of the motion across the loop, in the truth's unit
    gap_percent: float  # of the path in between
    rotation_deg: float


def scale_drift(aligned: AlignedPath, truth: Float64[np.ndarray, "frame 4 4"], *, parts: int = 10) -> ScaleDrift | None:
    """Ratio of spreads, √(Σ‖x̂ − mean‖² / Σ‖x − mean‖²), of each part of the path; None where parts do not move.

    It does not depend on how the estimate was aligned. A part has at least three frames, or it is left out.
    """
    check_paths(aligned.world_from_cam, truth)
    if parts < 2:
        raise InputError(f"a drift needs at least 2 parts of the path, not {parts}")
    along = distance_along(truth)
    whole = _spread_ratio(aligned.world_from_cam, truth)
    edges = np.linspace(0, along[-1], parts + 1)
    at, scale = [], []
    for begin, end in itertools.pairwise(edges):
        inside = (along >= begin) & (along <= end)
        ratio = _spread_ratio(aligned.world_from_cam[inside], truth[inside]) if inside.sum() >= 3 else None
        if ratio is not None and whole is not None:
            at.append(float(begin + end) / 2)
            scale.append(ratio / whole)
    if len(scale) < 2:
        return None
    return ScaleDrift(tuple(at), tuple(scale), max(scale) / min(scale), scale[-1] / scale[0])


def loop_closure(
    aligned: AlignedPath,
    truth: Float64[np.ndarray, "frame 4 4"],
    *,
    radius: float | None = None,
    shortest: float | None = None,
) -> LoopClosure | None:
    """For every frame that comes back to a place, the error of the motion from the nearest earlier frame to it.

    A place is the same within `radius`, and it is a loop where at least `shortest` of path lies between; both in the
    truth's unit, by default 5 and 50 median steps between neighbouring frames. None where the path does not come back.
    """
    check_paths(aligned.world_from_cam, truth)
    along = distance_along(truth)
    steps = np.diff(along)
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    radius = RADIUS_STEPS * step if radius is None else radius
    shortest = LOOP_STEPS * step if shortest is None else shortest
    chosen = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), MOST_FRAMES)).round().astype(np.int64))
    centres = truth[chosen, :3, 3]
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    far_enough = along[chosen][None] - along[chosen][:, None] >= max(shortest, 1e-12)  # from row to column
    distance[~far_enough] = np.inf
    first = distance.argmin(axis=0)
    last = np.nonzero(distance[first, np.arange(len(chosen))] <= radius)[0]
    if len(last) == 0:
        return None
    return _gaps(aligned.world_from_cam, truth, chosen[first[last]], chosen[last])


def _gaps(estimated: np.ndarray, truth: np.ndarray, first: np.ndarray, last: np.ndarray) -> LoopClosure:
    motion_truth = np.linalg.inv(truth[first]) @ truth[last]
    motion = np.linalg.inv(estimated[first]) @ estimated[last]
    gap = np.linalg.norm(motion[:, :3, 3] - motion_truth[:, :3, 3], axis=1)
    along = distance_along(truth)
    turn = motion_truth[:, :3, :3].transpose(0, 2, 1) @ motion[:, :3, :3]
    angle = rotation_angle(_tensor(turn)).rad2deg().numpy()
    return LoopClosure(
        count=len(first),
        gap=float(np.median(gap)),
        gap_percent=float(np.median(100 * gap / (along[last] - along[first]))),
        rotation_deg=float(np.median(angle)),
    )


def _spread_ratio(estimated: np.ndarray, truth: np.ndarray) -> float | None:
    spread, true_spread = (
        float(np.square(cameras[:, :3, 3] - cameras[:, :3, 3].mean(axis=0)).sum()) for cameras in (estimated, truth)
    )
    return float(np.sqrt(spread / true_spread)) if spread > 0 and true_spread > 0 else None


def _tensor(array: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))
