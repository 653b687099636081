"""The nearest of many points, exactly, without a tree: a grid whose cells grow for those that found nothing near.

A point closer than a cell's side lies in one of the 27 cells around the query. Queries that find such a point are done;
the others search again with cells twice as large. `nearest_points_plain` is the slow twin.
"""

from __future__ import annotations

import torch

from openloger.shapes import Float, Int, Tensor

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
