"""Errors of an estimated camera path (ATE, RPE, KITTI segments), after alignment to the true one.

Every function takes `world_from_cam` of the same frames twice, estimated and true, float64 (frame, 4, 4) with OpenCV
axes. The order is: `align` first, then any of the errors on what it gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from openloger.errors import InputError
from openloger.evaluation.summary import Summary
from openloger.geometry import Sim3, align_cameras, rotation_angle
from openloger.shapes import Float64, Int

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
