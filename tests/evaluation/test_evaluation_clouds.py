"""Clouds against planes whose distances are known, the grid against all pairs, and the drift meter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import wander

from openloger.errors import InputError
from openloger.evaluation import cloud
from openloger.evaluation.cloud import Cloud, cloud_errors
from openloger.evaluation.trajectory import absolute_error, align
from openloger.recording.windows import drift_meter
from openloger.values import Disagreement

laws = settings(derandomize=True, deadline=None, max_examples=25)


def square(side: int, *, z: float = 0.0, normal: tuple[float, float, float] = (0, 0, 1)) -> Cloud:
    """Points 0.1 apart."""
    x, y = np.meshgrid(np.arange(side) * 0.1, np.arange(side) * 0.1)
    points = np.stack([x.ravel(), y.ravel(), np.full(side * side, z)], axis=1)
    return Cloud(points, np.tile(np.array(normal, dtype=np.float64), (side * side, 1)))


@pytest.mark.parametrize("spread", ["surface", "line", "clusters", "apart"])
def test_the_grid_finds_what_all_pairs_find(spread: str) -> None:
    draw = np.random.default_rng(1)
    query, target = draw.normal(size=(3000, 3)), draw.normal(size=(2500, 3))
    if spread == "surface":
        query[:, 2] = target[:, 2] = 0
    elif spread == "line":
        query[:, 1:] = target[:, 1:] = 0
    elif spread == "clusters":
        target[:2400] = target[:2400] * 1e-3 + 5
    else:
        target += 300
    a, b = torch.from_numpy(query), torch.from_numpy(target)
    distance, index = cloud.nearest_points(a, b)
    plain, _ = cloud.nearest_points_plain(a, b)
    np.testing.assert_allclose(distance, plain, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose((a - b[index]).norm(dim=1), plain, rtol=1e-9, atol=1e-12)


def test_the_grid_in_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "MOST_CANDIDATES", 500)
    draw = np.random.default_rng(2)
    a, b = (torch.from_numpy(draw.uniform(size=(1500, 3))) for _ in range(2))
    np.testing.assert_allclose(cloud.nearest_points(a, b)[0], cloud.nearest_points_plain(a, b)[0])


def test_a_shifted_plane() -> None:
    found = cloud_errors(square(40, z=0.03), square(40), thresholds=(0.02, 0.05))
    for value in (found.accuracy_mean, found.completeness_median, found.chamfer):
        assert value == pytest.approx(0.03)
    assert found.normal_consistency == pytest.approx(1)
    assert [row.f_score for row in found.thresholds] == [0.0, 1.0]


def test_half_of_a_plane_is_accurate_and_not_complete() -> None:
    whole = square(40)
    half = Cloud(whole.points[whole.points[:, 0] < 1.95], None)
    found = cloud_errors(half, whole, thresholds=(0.05,))
    assert found.accuracy_mean == pytest.approx(0, abs=1e-12)
    assert found.completeness_mean == pytest.approx(np.mean([0] * 20 + [0.1 * n for n in range(1, 21)]))
    row = found.thresholds[0]
    assert (row.precision, row.recall, row.f_score) == pytest.approx((1.0, 0.5, 2 / 3))
    assert found.normal_consistency is None


def test_normals_count_by_their_line_and_not_when_they_are_missing() -> None:
    tilted = square(20, normal=(0, np.sin(0.5), -np.cos(0.5)))
    assert tilted.normals is not None
    tilted.normals[:100] = 0
    found = cloud_errors(tilted, square(20))
    assert found.normal_consistency == pytest.approx(np.cos(0.5))


@laws
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10))
def test_distances_scale_with_the_unit_and_swap_with_the_clouds(seed: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=(50, 3)), draw.normal(size=(70, 3))
    found = cloud_errors(Cloud(a), Cloud(b))
    larger = cloud_errors(Cloud(scale * a + 3), Cloud(scale * b + 3))
    swapped = cloud_errors(Cloud(b), Cloud(a))
    assert larger.chamfer == pytest.approx(scale * found.chamfer)
    assert swapped.accuracy_mean == pytest.approx(found.completeness_mean)
    assert swapped.chamfer == pytest.approx(found.chamfer)


def test_degenerate_clouds_are_refused() -> None:
    some = square(3)
    with pytest.raises(InputError, match=r"estimated.*empty"):
        cloud_errors(Cloud(np.zeros((0, 3))), some)
    with pytest.raises(InputError, match=r"true.*not finite"):
        cloud_errors(some, Cloud(np.full((1, 3), np.nan)))
    assert cloud_errors(Cloud(np.zeros((1, 3))), Cloud(np.zeros((1, 3)))).chamfer == 0


def test_the_drift_meter_adds_squares() -> None:
    path = wander(0)
    meter = drift_meter([Disagreement(0.1, 3.0, 0.3), Disagreement(0.3, 4.0, 0.4)], path)
    assert meter is not None
    assert (meter.overlaps, meter.depth_relative, meter.rotation_deg, meter.translation) == pytest.approx(
        (2, 0.2, 5, 0.5)
    )
    assert meter.translation_percent == pytest.approx(
        100 * 0.5 / np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1).sum()
    )
    assert drift_meter([], path) is None
    still = drift_meter([Disagreement(0.0, 0.0, 0.0)], np.tile(np.eye(4), (3, 1, 1)))
    assert still is not None
    assert still.translation_percent is None


def test_the_drift_meter_follows_ate_where_windows_err_by_chance() -> None:
    """Runs whose windows are each displaced by noise of another size: where the meter is larger, so is ATE."""
    draw = np.random.default_rng(4)
    meters, errors = [], []
    for run in range(16):
        truth, size = wander(run, count=160), float(draw.uniform(0.01, 1))
        jumps = draw.normal(size=(10, 3)) * size
        estimated = truth.copy()
        estimated[:, :3, 3] += np.repeat(jumps.cumsum(axis=0), 16, axis=0)
        meter = drift_meter([Disagreement(0.0, 0.0, float(np.linalg.norm(jump))) for jump in jumps[1:]], estimated)
        assert meter is not None
        meters.append(meter.translation)
        errors.append(absolute_error(align(estimated, truth, how="se3"), truth).translation.rmse)
    from scipy.stats import spearmanr

    assert spearmanr(meters, errors).statistic > 0.8
