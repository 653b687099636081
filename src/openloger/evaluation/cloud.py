"""Accuracy and completeness of a point cloud against the true surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from openloger.errors import InputError
from openloger.evaluation.nearest import nearest_points
from openloger.shapes import Float64


@dataclass(frozen=True)
class Threshold:
    """Within one distance, shares 0..1."""

    distance: float
    precision: float  # of the estimate that is near the truth
    recall: float  # of the truth that is near the estimate
    f_score: float  # their harmonic mean


@dataclass(frozen=True)
class CloudErrors:
    """Distances in the truth's unit; accuracy is from each estimated point to the truth, completeness the other way."""

    accuracy_mean: float
    accuracy_median: float
    completeness_mean: float
    completeness_median: float
    chamfer: float  # mean of the two means
    normal_consistency: float | None  # mean |cos| between a point's normal and its nearest one's, both ways; 0..1
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points, with unit normals where they are known; a normal of zero length is left out."""

    points: Float64[np.ndarray, "point 3"]
    normals: Float64[np.ndarray, "point 3"] | None = None


def cloud_errors(estimated: Cloud, truth: Cloud, *, thresholds: tuple[float, ...] = ()) -> CloudErrors:
    """Nearest-neighbour distances both ways. Both clouds stand in the same frame.

    Raises InputError for an empty cloud and for coordinates that are not finite.
    """
    for name, cloud in (("estimated", estimated), ("true", truth)):
        if len(cloud.points) == 0:
            raise InputError(f"the {name} cloud is empty; there is nothing to measure")
        if not np.isfinite(cloud.points).all():
            raise InputError(f"the {name} cloud has coordinates that are not finite numbers; leave those points out")
    there, to_truth = _nearest(estimated.points, truth.points)
    back, to_estimate = _nearest(truth.points, estimated.points)
    return CloudErrors(
        accuracy_mean=float(there.mean()),
        accuracy_median=float(np.median(there)),
        completeness_mean=float(back.mean()),
        completeness_median=float(np.median(back)),
        chamfer=float(there.mean() + back.mean()) / 2,
        normal_consistency=_consistency(estimated.normals, truth.normals, to_truth, to_estimate),
        thresholds=tuple(_threshold(there, back, distance) for distance in thresholds),
    )


def _nearest(query: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distance, index = nearest_points(torch.from_numpy(query), torch.from_numpy(target))
    return distance.numpy(), index.numpy()


def _threshold(there: np.ndarray, back: np.ndarray, distance: float) -> Threshold:
    precision, recall = float(np.mean(there < distance)), float(np.mean(back < distance))
    both = precision + recall
    return Threshold(distance, precision, recall, 2 * precision * recall / both if both else 0.0)


def _consistency(
    estimated: np.ndarray | None, truth: np.ndarray | None, to_truth: np.ndarray, to_estimate: np.ndarray
) -> float | None:
    if estimated is None or truth is None:
        return None
    pairs = ((estimated, truth[to_truth]), (truth, estimated[to_estimate]))
    means = []
    for a, b in pairs:
        known = (np.linalg.norm(a, axis=1) > 0.5) & (np.linalg.norm(b, axis=1) > 0.5)
        if known.any():
            means.append(float(np.abs((a * b).sum(axis=1))[known].mean()))
    return sum(means) / len(means) if means else None
