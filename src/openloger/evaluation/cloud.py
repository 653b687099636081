"""Accuracy and completeness of a point cloud against the true surface, by exact nearest points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from openloger.errors import InputError
from openloger.shapes import Float, Float64, Int, Tensor


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


BLOCK = 4096  # queries of the slow twin at a time
MOST_CANDIDATES = 4_000_000  # pairs held at a time
POINTS_A_CELL = 2.0  # wanted in the first grid, were the points spread over a surface
COARSE = 8  # cells of the last grid along the longest side: with larger ones, comparing all costs the same
FEW = 512  # queries left, or targets at all, for which comparing all is quicker


def nearest_points(
    query: Float[Tensor, "query 3"], target: Float[Tensor, "target 3"]
) -> tuple[Float[Tensor, " query"], Int[Tensor, " query"]]:
    """Distance to, and number of, the nearest target of each query; of equally near ones any. Target has a point."""
    distance = torch.full_like(query[:, 0], torch.inf)
    index = torch.zeros_like(query[:, 0], dtype=torch.int64)
    low = torch.minimum(target.amin(0), query.amin(0))
    extent = float((torch.maximum(target.amax(0), query.amax(0)) - low).max())
    side = extent * (POINTS_A_CELL / len(target)) ** 0.5
    left = torch.arange(len(query), device=query.device)
    while len(left) > FEW and len(target) > FEW and 0 < side < extent / COARSE:
        found, where = _in_27_cells(query[left] - low, target - low, side)
        distance[left], index[left] = found, where
        left = left[found > side]
        side *= 2
    if len(left):
        distance[left], index[left] = nearest_points_plain(query[left], target)
    return distance, index


def nearest_points_plain(
    query: Float[Tensor, "query 3"], target: Float[Tensor, "target 3"]
) -> tuple[Float[Tensor, " query"], Int[Tensor, " query"]]:
    """Every query against every target."""
    parts = [(part[:, None] - target[None]).norm(dim=-1).min(dim=1) for part in query.split(_rows(len(target)))]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _rows(targets: int) -> int:
    return max(1, min(BLOCK, MOST_CANDIDATES // targets))


def _in_27_cells(query: Tensor, target: Tensor, side: float) -> tuple[Tensor, Tensor]:
    """The nearest target in the cells around each query; inf where they are empty. Coordinates are not negative."""
    query_cell, target_cell = ((points / side).floor().long() + 1 for points in (query, target))  # + 1: none is below 0
    sizes = torch.maximum(query_cell.amax(0), target_cell.amax(0)) + 2
    stride = torch.tensor([int(sizes[1] * sizes[2]), int(sizes[2]), 1], device=query.device)
    key, order = (target_cell * stride).sum(1).sort()
    beside = torch.arange(-1, 2, device=query.device)
    columns = (beside[:, None] * stride[0] + beside * stride[1]).flatten()
    around = (query_cell * stride).sum(1)[:, None] + columns
    first = torch.searchsorted(key, around - 1)  # three cells in a row along the last axis have neighbouring keys
    count = torch.searchsorted(key, around + 1, right=True) - first
    distance = torch.full_like(query[:, 0], torch.inf)
    index = torch.zeros(len(query), dtype=torch.int64, device=query.device)
    total = count.sum(1)
    for rows in _blocks(total):
        per_row = count[rows].flatten()
        slot = torch.repeat_interleave(first[rows].flatten() - per_row.cumsum(0) + per_row, per_row)
        candidate = order[slot + torch.arange(len(slot), device=query.device)]
        row = torch.repeat_interleave(rows, total[rows])
        gap = (query[row] - target[candidate]).norm(dim=1)
        nearest = torch.full_like(distance, torch.inf).scatter_reduce(0, row, gap, "amin")
        is_nearest = gap == nearest[row]
        index[row[is_nearest]] = candidate[is_nearest]
        distance[rows] = nearest[rows]
    return distance, index


def _blocks(total: Tensor) -> list[Tensor]:
    """Runs of rows with a bounded number of candidates."""
    block = total.cumsum(0) // MOST_CANDIDATES
    return list(
        torch.arange(len(total), device=total.device).split(block.unique_consecutive(return_counts=True)[1].tolist())
    )
