"""Errors of long paths: scale drift, and loops that do not close."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from openloger.errors import InputError
from openloger.evaluation.trajectory import AlignedPath, check_paths, distance_along
from openloger.geometry import rotation_angle
from openloger.shapes import Float64, Tensor

MOST_FRAMES = 1500  # looked at for loops; a longer path is thinned evenly
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
