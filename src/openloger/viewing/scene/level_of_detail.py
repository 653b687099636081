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
_SHORT_RUN = 1 << 15  # keys


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
        self._points = _PointStore(budget)
        self._index = _Index()

    def __len__(self) -> int:
        return self._points.count

    @property
    def points(self) -> Points:
        """A copy of the points kept so far; later additions do not change it."""
        return self._points.copy()

    @property
    def nbytes(self) -> int:
        return self._points.nbytes + self._index.nbytes

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
        rows = self._index.find(keys)
        while len(self) + np.count_nonzero(rows < 0) > self.budget:
            self._coarsen()
            keys, best = _one_a_voxel(self.keys(best), best)
            rows = self._index.find(keys)
        held = rows >= 0
        self._points.improve(rows[held], best[held])
        self._index.add(keys[~held], self._points.append(best[~held]))

    def _coarsen(self) -> None:
        self._edges[self._coarsenings % 3] *= 2
        self._coarsenings += 1
        kept = self._points.view()
        keys, best = _one_a_voxel(self.keys(kept), kept)
        self._points, self._index = _PointStore(self.budget), _Index()
        self._index.add(keys, self._points.append(best))


class _PointStore:
    """Points in columns with room for more, so that adding some costs what they are, not what is there."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self._most = most
        self._columns = NO_POINTS.columns

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for column in self._columns)

    def view(self) -> Points:
        return Points(*(column[: self.count] for column in self._columns))

    def copy(self) -> Points:
        return Points(*(column[: self.count].copy() for column in self._columns))

    def append(self, points: Points) -> Int[np.ndarray, " point"]:
        """The rows that they took."""
        start, self.count = self.count, self.count + len(points)
        room = len(self._columns[0])
        if self.count > room:
            room = min(max(self.count, 2 * room), self._most)
            self._columns = tuple(_lengthened(column, room) for column in self._columns)
        for column, more in zip(self._columns, points.columns, strict=True):
            column[start : self.count] = more
        return np.arange(start, self.count)

    def improve(self, rows: np.ndarray, rivals: Points) -> None:
        """More confident rivals take the places of the points in `rows`; the first frames are kept."""
        mine = self.view()
        first = np.minimum(mine.frame[rows], rivals.frame)
        wins = rivals.confidence > mine.confidence[rows]
        for column, rival in zip(mine.columns, rivals.columns, strict=True):
            column[rows[wins]] = rival[wins]
        mine.frame[rows] = first


def _lengthened(column: np.ndarray, length: int) -> np.ndarray:
    longer = np.empty((length, *column.shape[1:]), column.dtype)
    longer[: len(column)] = column
    return longer


class _Index:
    """From keys to rows: a long sorted run, and a short one that takes in what is new."""

    def __init__(self) -> None:
        none = np.zeros(0, np.int64)
        self._runs = [(none, none), (none, none)]  # keys, ascending, and rows

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for run in self._runs for part in run)

    def find(self, keys: np.ndarray) -> Int[np.ndarray, " key"]:
        """The row of each of the ascending keys; −1: it has none."""
        found = np.full(len(keys), -1, np.int64)
        for known, rows in self._runs:
            if len(known):
                at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
                found = np.where(known[at] == keys, rows[at], found)
        return found

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Ascending keys that have no row yet."""
        long, short = self._runs
        short = _merged(short, (keys, rows))
        if len(short[0]) > max(_SHORT_RUN, len(long[0]) // 16):
            long, short = _merged(long, short), (short[0][:0], short[1][:0])
        self._runs = [long, short]


def _merged(run: tuple[np.ndarray, np.ndarray], more: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    at = np.searchsorted(run[0], more[0])
    return np.insert(run[0], at, more[0]), np.insert(run[1], at, more[1])


def _one_a_voxel(keys: np.ndarray, points: Points) -> tuple[np.ndarray, Points]:
    """The distinct keys, ascending, and the best point of each: the most confident, of those the first frame's."""
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    if len(starts) == 0:
        return keys, points
    frame = points.frame[order]
    rank = (points.confidence[order].astype(np.int64) << 32) - frame
    highest = np.repeat(np.maximum.reduceat(rank, starts), np.diff(starts, append=len(keys)))
    chosen = np.minimum.reduceat(np.where(rank == highest, order, len(keys)), starts)  # of equals the first one
    best = points[chosen]
    best.frame[:] = np.minimum.reduceat(frame, starts)
    return keys[starts], best


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
