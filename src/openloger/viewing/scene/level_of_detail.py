"""A cloud of bounded size out of any number of points: one point a voxel, and voxels that double when it is full.

A voxel's edge grows with depth, by powers of two, as the patch that a pixel covers does: what a camera saw from near
stays fine, what is far is coarse. The grids are nested, so coarsening (one axis at a time, which takes a third fewer
points than all at once) never moves a kept point, and this holds after any number of points:

    every point that was ever added lies in a voxel of its depth that holds a kept point.

So no part of the scene is lost, and no kept point is further from it than a voxel's diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from openloger.errors import InputError
from openloger.export.sampling import mix64
from openloger.export.voxels import voxel_keys
from openloger.shapes import Float, Float32, Int
from openloger.viewing.scene.points import NO_POINTS, Points

LOWEST_LEVEL, HIGHEST_LEVEL = -3, 4  # depths from an eighth of the reference to 16 times it; beyond, as at these
LEAST_BUDGET = 64 * (HIGHEST_LEVEL - LOWEST_LEVEL + 1)
_BATCH = 1 << 18


class VoxelCloud:
    """Keeps at most `budget` points: of each voxel the most confident, dated by the first frame that saw the voxel."""

    def __init__(self, budget: int, *, reference_depth: float, edge: float) -> None:
        """`edge` is a voxel's first edge at the reference depth; both in the points' unit of length."""
        if budget < LEAST_BUDGET:
            raise InputError(f"a budget of {budget} points is too small to show a scene: give {LEAST_BUDGET} or more")
        self.budget = budget
        self.reference_depth = reference_depth
        self.seen = 0  # points added so far
        self._edges = np.full(3, edge, np.float64)
        self._coarsenings = 0
        self._points = NO_POINTS
        self._keys = np.zeros(0, np.int64)  # of the voxels, ascending
        self._rows = np.zeros(0, np.int64)  # the point of each

    def __len__(self) -> int:
        return len(self._points)

    @property
    def points(self) -> Points:
        """A copy of the points kept so far; later additions do not change it."""
        return self._points

    @property
    def nbytes(self) -> int:
        return self._points.nbytes + self._keys.nbytes + self._rows.nbytes

    @property
    def edge(self) -> float:
        """A voxel's edge at the reference depth: the geometric mean of its three."""
        return float(np.prod(self._edges) ** (1 / 3))

    def keys(self, points: Points) -> Int[np.ndarray, " point"]:
        """The voxel of each point."""
        levels = depth_levels(points.depth, self.reference_depth)
        cells = points.position / (self._edges * 2.0 ** levels[:, None])
        return mix64(voxel_keys(cells, 1.0).view(np.uint64) + (levels - LOWEST_LEVEL).astype(np.uint64)).view(np.int64)

    def add(self, points: Points) -> None:
        """Take in points whose positions are finite and depths positive."""
        size = min(_BATCH, self.budget)
        for start in range(0, len(points), size):
            self._add(points[start : start + size])

    def _add(self, batch: Points) -> None:
        self.seen += len(batch)
        keys, best = _one_a_voxel(self.keys(batch), batch)
        at, held = self._find(keys)
        while len(self) + np.count_nonzero(~held) > self.budget:
            self._coarsen()
            keys, best = _one_a_voxel(self.keys(best), best)
            at, held = self._find(keys)
        self._points = _improved(self._points, self._rows[at[held]], best[held])
        fresh = best[~held]
        rows = np.arange(len(self), len(self) + len(fresh))
        self._points = Points.joined([self._points, fresh])
        self._keys = np.insert(self._keys, at[~held], keys[~held])
        self._rows = np.insert(self._rows, at[~held], rows)

    def _find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each of the ascending keys is, or would be, and which are there."""
        at = np.searchsorted(self._keys, keys)
        held = np.zeros(len(keys), np.bool_)
        inside = at < len(self._keys)
        held[inside] = self._keys[at[inside]] == keys[inside]
        return at, held

    def _coarsen(self) -> None:
        self._edges[self._coarsenings % 3] *= 2
        self._coarsenings += 1
        self._keys, self._points = _one_a_voxel(self.keys(self._points), self._points)
        self._rows = np.arange(len(self._keys))


def _one_a_voxel(keys: np.ndarray, points: Points) -> tuple[np.ndarray, Points]:
    """The distinct keys, ascending, and the best point of each."""
    order = np.lexsort((points.frame, -points.confidence.astype(np.int64), keys))
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    if len(starts) == 0:
        return keys, points
    best = points[order[starts]]
    best.frame[:] = np.minimum.reduceat(points.frame[order], starts)
    return keys[starts], best


def _improved(points: Points, rows: np.ndarray, rivals: Points) -> Points:
    """A copy in which better rivals take the places of the points in `rows`, and the first frames are kept."""
    first = np.minimum(points.frame[rows], rivals.frame)
    wins = rivals.confidence > points.confidence[rows]
    changed = Points(*(column.copy() for column in points.columns))
    for column, rival in zip(changed.columns, rivals.columns, strict=True):
        column[rows[wins]] = rival[wins]
    changed.frame[rows] = first
    return changed


def depth_levels(depth: Float32[np.ndarray, " point"], reference: float) -> Int[np.ndarray, " point"]:
    """The number of doublings of the reference depth, and so of a voxel's edge; rounded, and within the levels."""
    with np.errstate(divide="ignore"):
        doublings = np.rint(np.log2(depth / np.float32(reference)))
    return np.clip(doublings, LOWEST_LEVEL, HIGHEST_LEVEL).astype(np.int64)


def coarse_to_fine(count: int) -> Iterator[int]:
    """0 to `count` - 1, each once, so that any beginning of it is spread evenly: van der Corput's order."""
    bits = max(count - 1, 0).bit_length()
    for number in range(1 << bits):
        reversed_bits = int(format(number, f"0{bits}b")[::-1], 2) if bits else 0
        if reversed_bits < count:
            yield reversed_bits


def reduced(points: Points, budget: int, *, reference_depth: float) -> Points:
    """At most `budget` of the points, spread evenly."""
    if len(points) <= budget:
        return points
    cloud = VoxelCloud(budget, reference_depth=reference_depth, edge=1e-3 * reference_depth)
    cloud.add(points)
    return cloud.points


def nearest(
    centres: Float[np.ndarray, "frame 3"], focus: Float[np.ndarray, " 3"], *, count: int
) -> Int[np.ndarray, " nearest"]:
    """The `count` frames whose centres are nearest to the focus, ascending; those without a centre (NaN) never."""
    distance = np.linalg.norm(centres - focus, axis=1)
    known = np.flatnonzero(np.isfinite(distance))
    count = min(count, len(known))
    return np.sort(known[np.argpartition(distance[known], count - 1)[:count]]) if count else known[:0]
