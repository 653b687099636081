"""Depth errors by known perturbations, sampling on planes, and calibration of confidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openloger.errors import InputError
from openloger.evaluation.depth import (
    DepthPairs,
    calibration,
    depth_errors,
    match_depth,
    rank_correlation,
    sample_depth,
)

laws = settings(derandomize=True, deadline=None, max_examples=25)
SEEDS = st.integers(0, 10_000)


def pairs(seed: int, *, noise: float = 0.2, pixels: int = 400) -> DepthPairs:
    draw = np.random.default_rng(seed)
    truth = draw.uniform(1, 10, pixels)
    estimated = truth * np.exp(noise * draw.normal(size=pixels))
    return DepthPairs(estimated.astype(np.float32), truth.astype(np.float32), np.ones(pixels, dtype=np.float32))


def scaled(frame: DepthPairs, by: float) -> DepthPairs:
    return DepthPairs((frame.estimated * by).astype(np.float32), frame.truth, frame.confidence)


def plane(height: int, width: int, *, fx: float, fy: float) -> np.ndarray:
    """Depths of the plane 0.3 X − 0.2 Y + Z = 4 seen by a camera with focal lengths in widths and heights."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width - 0.5, (np.arange(height) + 0.5) / height - 0.5)
    return (4 / (0.3 * x / fx - 0.2 * y / fy + 1)).astype(np.float64)


# errors


def test_errors_of_a_known_perturbation() -> None:
    truth = np.array([1.0, 2.0, 4.0, 8.0], dtype=np.float32)
    estimated = truth * np.array([1.1, 0.9, 1.3, 1.6], dtype=np.float32)
    found = depth_errors([DepthPairs(estimated, truth, np.ones(4, dtype=np.float32))], alignment="none")
    assert found.abs_rel == pytest.approx((0.1 + 0.1 + 0.3 + 0.6) / 4, rel=1e-6)
    assert found.rmse == pytest.approx(np.sqrt((0.1**2 + 0.2**2 + 1.2**2 + 4.8**2) / 4), rel=1e-6)
    assert (found.delta1, found.delta2, found.delta3) == (0.5, 0.75, 1.0)
    assert (found.frames, found.pixels, found.scale) == (1, 4, 1.0)


@laws
@given(seed=SEEDS, by=st.floats(0.05, 20))
def test_aligned_errors_do_not_depend_on_the_estimates_unit(seed: int, by: float) -> None:
    frames = [pairs(seed), pairs(seed + 1)]
    for alignment in ("sequence", "frame"):
        a = depth_errors(frames, alignment=alignment)
        b = depth_errors([scaled(frame, by) for frame in frames], alignment=alignment)
        assert (a.abs_rel, a.rmse, a.delta1) == pytest.approx((b.abs_rel, b.rmse, b.delta1), rel=1e-5)
        assert b.scale == pytest.approx(a.scale / by, rel=1e-5)


@laws
@given(seed=SEEDS)
def test_each_frame_may_have_its_unit_only_when_frames_are_aligned(seed: int) -> None:
    frames = [scaled(pairs(seed + n, noise=0.0), 2.0**n) for n in range(3)]
    assert depth_errors(frames, alignment="frame").abs_rel < 1e-6
    assert depth_errors(frames, alignment="sequence").abs_rel > 0.3
    assert depth_errors(frames, alignment="none").abs_rel > 1.0


def test_there_must_be_pixels() -> None:
    nothing = DepthPairs(*[np.zeros(0, dtype=np.float32)] * 3)
    with pytest.raises(InputError, match="no pixel"):
        depth_errors([nothing, nothing])
    assert depth_errors([nothing, pairs(0)]).frames == 1


# sampling


@pytest.mark.parametrize(
    ("estimated_size", "truth_size"), [((30, 40), (120, 160)), ((96, 128), (24, 20)), ((7, 9), (7, 9))]
)
def test_planes_are_sampled_exactly_whatever_the_sizes(
    estimated_size: tuple[int, int], truth_size: tuple[int, int]
) -> None:
    truth = plane(*truth_size, fx=0.9, fy=1.2)
    found = match_depth(plane(*estimated_size, fx=0.9, fy=1.2), truth)
    inside = np.zeros(truth_size, dtype=bool)
    rows, columns = (int(np.ceil(t / (2 * e))) for t, e in zip(truth_size, estimated_size, strict=True))
    inside[rows : truth_size[0] - rows, columns : truth_size[1] - columns] = True
    inner = inside.ravel()
    np.testing.assert_allclose(found.estimated[inner], found.truth[inner], rtol=1e-6)
    np.testing.assert_allclose(found.estimated, found.truth, rtol=0.05)  # the outermost half pixel takes the nearest


def test_the_pixel_is_the_right_one() -> None:
    """Entry (i, j) of the sparse map is pixel (4i + 2, 4j + 2) of a picture four times as large."""
    height, width = 48, 64
    fine = plane(height, width, fx=0.9, fy=1.2)
    sparse = np.zeros((height, width))
    sparse[2::4, 2::4] = fine[2::4, 2::4]
    found = match_depth(plane(24, 32, fx=0.9, fy=1.2), sparse)
    np.testing.assert_allclose(found.estimated, fine[2::4, 2::4].ravel(), rtol=1e-6)


def test_what_is_unknown_is_left_out() -> None:
    estimated, truth = np.full((4, 4), 2.0), np.full((4, 4), 3.0)
    estimated[0, 0], truth[1, 1], truth[2, 2], truth[3, 3] = np.nan, 0, np.inf, 50
    valid = np.ones((4, 4), dtype=bool)
    valid[0, 3] = False
    found = match_depth(estimated, truth, valid=valid, nearest_and_farthest=(1.0, 40.0))
    assert len(found.truth) == 16 - 5
    assert set(found.truth) == {3.0}
    assert set(found.estimated) == {2.0}
    assert len(match_depth(estimated, truth, most=5).truth) <= 5


def test_next_to_a_hole_the_nearest_pixel_counts() -> None:
    depth = np.array([[1.0, 1.0, 0.0], [1.0, 4.0, 4.0], [1.0, 4.0, 4.0]])
    x, y = np.array([1.6 / 3, 2.4 / 3]), np.array([0.6 / 3, 0.6 / 3])
    np.testing.assert_allclose(sample_depth(depth, x, y), [1.0, 0.0])


def test_confidence_comes_from_the_same_pixel() -> None:
    confidence = np.arange(16.0).reshape(4, 4) / 16
    truth = np.zeros((8, 8))
    truth[5, 2] = 1.0
    found = match_depth(np.ones((4, 4)), truth, confidence=confidence)
    assert found.confidence.tolist() == [confidence[2, 1]]


# calibration


def test_calibration_of_a_perfect_a_useless_and_a_wrong_confidence() -> None:
    draw = np.random.default_rng(0)
    error = draw.exponential(size=4000)
    perfect = calibration(-error, error)
    assert perfect.rank_correlation == pytest.approx(-1)
    assert perfect.sparsification == pytest.approx(0, abs=1e-9)
    assert list(perfect.error) == sorted(perfect.error, reverse=True)
    assert list(perfect.confidence) == sorted(perfect.confidence)
    useless = calibration(draw.uniform(size=4000), error)
    assert useless.rank_correlation == pytest.approx(0, abs=0.05)
    assert useless.sparsification == pytest.approx(1, abs=0.05)
    assert calibration(error, error).sparsification > 1.5
    assert calibration(np.ones(4000), error).sparsification == pytest.approx(1, abs=1e-9)


@laws
@given(values=st.lists(st.integers(-5, 5), min_size=3, max_size=30), seed=SEEDS)
def test_rank_correlation_is_scipys(values: list[int], seed: int) -> None:
    from scipy.stats import spearmanr

    a, b = np.array(values, dtype=np.float64), np.random.default_rng(seed).integers(0, 4, len(values)).astype(float)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert rank_correlation(a, b) == 0
    else:
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_calibration_of_degenerate_input() -> None:
    ones = np.ones(30)
    assert calibration(ones, ones).sparsification == 0
    with pytest.raises(InputError, match=r"\b5\b.*\b10\b"):
        calibration(np.ones(5), np.ones(5))
    with pytest.raises(InputError, match="must be finite"):
        calibration(ones, np.where(np.arange(30) == 3, np.nan, 1.0))
