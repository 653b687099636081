"""The bounded cloud: never over its budget, one point a voxel, no part of what was added without a kept point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openloger.errors import InputError
from openloger.viewing.scene.level_of_detail import LEAST_BUDGET, VoxelCloud, coarse_to_fine, nearest, reduced
from openloger.viewing.scene.points import Points

LAWS = settings(derandomize=True, deadline=None, max_examples=25)


def points_at(position: np.ndarray, seed: int = 0, frame: int = 0) -> Points:
    generator, count = np.random.default_rng(seed), len(position)
    return Points(
        position=position.astype(np.float32),
        rgb=generator.integers(0, 256, (count, 3), dtype=np.uint8),
        frame=np.full(count, frame, np.int32),
        depth=generator.uniform(0.2, 50, count).astype(np.float32),
        confidence=generator.integers(0, 256, count, dtype=np.uint8),
        edge=generator.integers(0, 256, count, dtype=np.uint8),
        normal=generator.integers(-127, 128, (count, 3), dtype=np.int8),
    )


def scattered(seed: int, count: int, extent: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, extent, (count, 3))


@LAWS
@given(
    seed=st.integers(0, 10**6),
    counts=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
    extent=st.floats(1e-3, 1e6),
    budget=st.integers(LEAST_BUDGET, 4000),
)
def test_bounds_hold_whatever_is_added(seed: int, counts: list[int], extent: float, budget: int) -> None:
    cloud = VoxelCloud(budget, reference_depth=5.0, edge=0.01)
    added = []
    for number, count in enumerate(counts):
        added.append(points_at(scattered(seed + number, count, extent), seed + number, number))
        cloud.add(added[-1])
        assert len(cloud) <= budget
    everything = Points.joined(added)
    assert cloud.seen == len(everything)
    kept, given_keys = cloud.keys(cloud.points), cloud.keys(everything)
    assert len(np.unique(kept)) == len(kept), "two points in one voxel"
    assert set(given_keys.tolist()) == set(kept.tolist()), "a part of what was added has no point"


@LAWS
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4000))
def test_a_kept_point_is_an_added_one_of_its_voxel_the_most_confident(seed: int, count: int) -> None:
    cloud = VoxelCloud(LEAST_BUDGET, reference_depth=5.0, edge=0.01)
    added = [points_at(scattered(seed + k, count, 3.0), seed + k, frame=3 - k) for k in range(3)]
    for part in added:
        cloud.add(part)
    everything = Points.joined(added)
    keys = cloud.keys(everything)
    rows = {tuple(row): k for k, row in enumerate(everything.position.tolist())}
    for kept, key in zip(range(len(cloud)), cloud.keys(cloud.points).tolist(), strict=True):
        source = rows[tuple(cloud.points.position[kept].tolist())]
        assert everything.rgb[source].tolist() == cloud.points.rgb[kept].tolist()
        voxel = keys == key
        assert cloud.points.confidence[kept] == everything.confidence[voxel].max()
        assert cloud.points.frame[kept] == everything.frame[voxel].min()


@LAWS
@given(seed=st.integers(0, 10**6), counts=st.lists(st.integers(0, 900), min_size=1, max_size=8))
def test_the_cloud_is_that_of_a_slow_twin(seed: int, counts: list[int]) -> None:
    """A dictionary of voxels, filled point by point; of points equally confident, either may be kept."""
    cloud = VoxelCloud(LEAST_BUDGET, reference_depth=5.0, edge=0.05)
    cells = VoxelCloud(LEAST_BUDGET, reference_depth=5.0, edge=0.05)  # for its grid alone
    parts = [points_at(scattered(seed + k, n, 1.0), seed + k, frame=(7 * k) % 11) for k, n in enumerate(counts)]
    voxels: dict[int, tuple[int, int]] = {}  # confidence and first frame
    added: list[Points] = []
    for part in parts:
        cloud.add(part)
        added.append(part)
        while True:
            voxels.clear()
            everything = Points.joined(added)
            for key, confidence, frame in zip(
                cells.keys(everything).tolist(), everything.confidence.tolist(), everything.frame.tolist(), strict=True
            ):
                best, first = voxels.get(key, (confidence, frame))
                voxels[key] = max(best, confidence), min(first, frame)
            if len(voxels) <= LEAST_BUDGET:
                break
            cells._coarsen()
    kept = cloud.points
    found = zip(cloud.keys(kept).tolist(), zip(kept.confidence.tolist(), kept.frame.tolist(), strict=True), strict=True)
    assert dict(found) == voxels
    assert cloud.edge == pytest.approx(cells.edge)


def test_what_is_near_stays_finer_than_what_is_far() -> None:
    position = np.random.default_rng(0).uniform(0, 1, (20_000, 3))
    near, far = points_at(position), points_at(position)
    near.depth[:], far.depth[:] = 1.0, 8.0
    cloud = VoxelCloud(50_000, reference_depth=1.0, edge=0.05)
    cloud.add(near)
    near_count = len(cloud)
    cloud.add(far)
    assert near_count == pytest.approx(20**3, rel=0.1)
    assert 0 < len(cloud) - near_count <= 27


def test_a_published_cloud_does_not_change() -> None:
    cloud = VoxelCloud(LEAST_BUDGET, reference_depth=5.0, edge=0.01)
    cloud.add(points_at(scattered(0, 400, 1.0)))
    before = cloud.points
    copies = [column.copy() for column in before.columns]
    cloud.add(points_at(scattered(1, 5000, 1.0), seed=1))
    for column, copy in zip(before.columns, copies, strict=True):
        np.testing.assert_array_equal(column, copy)


def test_memory_is_bounded_by_the_budget() -> None:
    cloud = VoxelCloud(2000, reference_depth=5.0, edge=0.01)
    for number in range(30):
        cloud.add(points_at(scattered(number, 3000, 10.0), number))
    assert cloud.nbytes <= 2000 * (28 + 16)


def test_a_budget_that_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match=str(LEAST_BUDGET)):
        VoxelCloud(10, reference_depth=1.0, edge=0.01)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 100])
def test_coarse_to_fine_gives_each_once_and_any_beginning_is_even(count: int) -> None:
    order = list(coarse_to_fine(count))
    assert sorted(order) == list(range(count))
    for beginning in (4, 8, 16):
        if beginning <= count:
            gaps = np.diff(np.sort([*order[:beginning], count]))
            assert gaps.max() <= 2 * -(-count // beginning)


def test_reducing_keeps_what_fits_and_bounds_what_does_not() -> None:
    points = points_at(scattered(0, 6000, 1.0))
    assert reduced(points, 6000, reference_depth=5.0) is points
    assert LEAST_BUDGET / 4 < len(reduced(points, LEAST_BUDGET, reference_depth=5.0)) <= LEAST_BUDGET


def test_the_nearest_are_found_and_the_unknown_never() -> None:
    centres = np.array([[0, 0, 0], [5, 0, 0], [np.nan] * 3, [1, 0, 0], [9, 0, 0]], np.float64)
    assert nearest(centres, np.zeros(3), count=2).tolist() == [0, 3]
    assert nearest(centres, np.array([8.0, 0, 0]), count=10).tolist() == [0, 1, 3, 4]
    assert nearest(np.full((3, 3), np.nan), np.zeros(3), count=2).tolist() == []
