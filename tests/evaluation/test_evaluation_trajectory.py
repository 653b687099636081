"""Trajectory metrics: against evo, against KITTI's rule written out, and by their laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import cameras, loop, moved, noisy, turned, wander

from openloger.errors import InputError
from openloger.evaluation.trajectory import (
    KITTI_LENGTHS_M,
    AlignedPath,
    Alignment,
    absolute_error,
    align,
    distance_along,
    loop_closure,
    relative_error,
    scale_drift,
    segment_errors,
)

SEEDS = st.integers(0, 10_000)
GAUGE = (st.floats(0.05, 20), st.integers(0, 10_000))
laws = settings(derandomize=True, deadline=None, max_examples=25)


def regauged(path: np.ndarray, scale: float, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return moved(path, scale, draw.normal(size=3), draw.normal(size=3) * 30)


# evo as the oracle


def evo_paths(estimated: np.ndarray, truth: np.ndarray) -> tuple:
    from evo.core.trajectory import PosePath3D

    return PosePath3D(poses_se3=list(truth)), PosePath3D(poses_se3=list(estimated))


@pytest.mark.parametrize(("how", "align_it", "scale_it"), [("none", 0, 0), ("se3", 1, 0), ("sim3", 1, 1)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_absolute_errors_are_evos(how: Alignment, align_it: bool, scale_it: bool, seed: int) -> None:
    from evo.core import metrics

    truth = wander(seed)
    estimated = regauged(noisy(truth, seed), 1.7, seed)
    reference, other = evo_paths(estimated, truth)
    if align_it:
        other.align(reference, correct_scale=bool(scale_it))
    found = absolute_error(align(estimated, truth, how=how), truth)
    for relation, summary in (
        (metrics.PoseRelation.translation_part, found.translation),
        (metrics.PoseRelation.rotation_angle_deg, found.rotation_deg),
    ):
        ape = metrics.APE(relation)
        ape.process_data((reference, other))
        for ours, theirs in ((summary.rmse, "rmse"), (summary.mean, "mean"), (summary.median, "median")):
            assert ours == pytest.approx(ape.get_all_statistics()[theirs], rel=1e-9, abs=1e-9)
        assert summary.maximum == pytest.approx(ape.get_all_statistics()["max"], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("step", [1, 7])
def test_relative_errors_are_evos(step: int) -> None:
    from evo.core import metrics

    truth = wander(5)
    estimated = noisy(truth, 5)
    found = relative_error(align(estimated, truth, how="none"), truth, step=step)
    for relation, summary in (
        (metrics.PoseRelation.translation_part, found.translation),
        (metrics.PoseRelation.rotation_angle_deg, found.rotation_deg),
    ):
        rpe = metrics.RPE(relation, delta=step, delta_unit=metrics.Unit.frames, all_pairs=True)
        rpe.process_data(evo_paths(estimated, truth))
        assert summary.rmse == pytest.approx(rpe.get_statistic(metrics.StatisticsType.rmse), rel=1e-9)
        assert summary.count == len(truth) - step


# KITTI's rule, written out


def kitti_segments(estimated: np.ndarray, truth: np.ndarray) -> tuple[list[float], list[float]]:
    """As the benchmark's development kit describes it: frame by frame, length by length."""
    along = [0.0]
    for before, after in itertools.pairwise(truth):
        along.append(along[-1] + float(np.linalg.norm(after[:3, 3] - before[:3, 3])))
    translation, rotation = [], []
    for first in range(0, len(truth), 10):
        for length in KITTI_LENGTHS_M:
            last = next((i for i in range(first, len(truth)) if along[i] > along[first] + length), None)
            if last is None:
                continue
            delta_truth = np.linalg.inv(truth[first]) @ truth[last]
            delta = np.linalg.inv(estimated[first]) @ estimated[last]
            error = np.linalg.inv(delta) @ delta_truth
            angle = np.arccos(np.clip((np.trace(error[:3, :3]) - 1) / 2, -1, 1))
            translation.append(float(np.linalg.norm(error[:3, 3])) / length)
            rotation.append(float(angle) / length)
    return translation, rotation


def test_segment_errors_are_kittis() -> None:
    truth = wander(3, count=400, step=1.6)
    estimated = noisy(truth, 3, centre=1.5, angle=0.02)
    found = segment_errors(align(estimated, truth, how="none"), truth)
    translation, rotation = kitti_segments(estimated, truth)
    assert len(found.lengths) == len(KITTI_LENGTHS_M)
    assert sum(row.count for row in found.lengths) == len(translation)
    assert found.rotation_deg_per_100 == pytest.approx(100 * np.degrees(np.mean(rotation)), rel=1e-9)
    assert found.translation_percent == pytest.approx(
        100 * np.mean(translation), rel=0.05
    )  # measured from the other end


def test_a_path_too_long_by_a_hundredth_is_off_by_one_percent() -> None:
    truth = cameras(np.stack([np.arange(900.0), np.sin(np.arange(900.0) / 50), np.zeros(900)], 1), np.zeros((900, 3)))
    estimated = moved(truth, 1.01, np.zeros(3), np.zeros(3))
    found = segment_errors(align(estimated, truth, how="none"), truth)
    assert found.translation_percent == pytest.approx(1.0, rel=0.02)
    assert found.rotation_deg_per_100 == pytest.approx(0.0, abs=1e-9)
    assert segment_errors(align(truth[:90], truth[:90]), truth[:90]).translation_percent is None


# laws


@laws
@given(seed=SEEDS, scale=GAUGE[0], gauge=GAUGE[1])
def test_alignment_undoes_a_gauge(seed: int, scale: float, gauge: int) -> None:
    truth = wander(seed)
    aligned = align(regauged(truth, scale, gauge), truth)
    np.testing.assert_allclose(aligned.world_from_cam, truth, atol=1e-8)
    assert float(aligned.truth_from_estimate.scale) == pytest.approx(1 / scale, rel=1e-9)
    error = absolute_error(aligned, truth)
    assert error.translation.rmse < 1e-8
    assert error.rotation_deg.maximum < 1e-6


@laws
@given(seed=SEEDS, scale=GAUGE[0], gauge=GAUGE[1])
def test_errors_do_not_depend_on_the_estimates_gauge(seed: int, scale: float, gauge: int) -> None:
    truth = wander(seed)
    estimated = noisy(truth, seed)
    plain, other = align(estimated, truth), align(regauged(estimated, scale, gauge), truth)
    for measure in (absolute_error, relative_error):
        a, b = measure(plain, truth), measure(other, truth)
        assert a.translation.rmse == pytest.approx(b.translation.rmse, rel=1e-7)
        assert a.rotation_deg.rmse == pytest.approx(b.rotation_deg.rmse, rel=1e-7)
    drift, other_drift = scale_drift(plain, truth), scale_drift(align(estimated, truth, how="none"), truth)
    assert drift is not None
    assert other_drift is not None
    np.testing.assert_allclose(drift.scale, other_drift.scale, rtol=1e-9)


@laws
@given(seed=SEEDS, gauge=GAUGE[1])
def test_errors_do_not_depend_on_the_worlds_frame(seed: int, gauge: int) -> None:
    truth = wander(seed)
    estimated = noisy(truth, seed)
    elsewhere = regauged(truth, 1.0, gauge)
    a, b = (absolute_error(align(estimated, one), one) for one in (truth, elsewhere))
    assert a.translation.rmse == pytest.approx(b.translation.rmse, rel=1e-7)
    doubled = regauged(truth, 2.0, gauge)
    assert absolute_error(align(estimated, doubled), doubled).translation.rmse == pytest.approx(
        2 * a.translation.rmse, rel=1e-7
    )


@laws
@given(seed=SEEDS)
def test_more_freedom_fits_no_worse(seed: int) -> None:
    truth = wander(seed)
    estimated = regauged(noisy(truth, seed), 1.2, seed)
    rmse = [absolute_error(align(estimated, truth, how=how), truth).translation.rmse for how in ("none", "se3", "sim3")]
    assert rmse[0] + 1e-9 >= rmse[1] >= rmse[2] - 1e-9


@laws
@given(seed=SEEDS, angle=st.floats(0.01, 3.0))
def test_a_known_turn_of_every_camera_is_found(seed: int, angle: float) -> None:
    truth = wander(seed)
    axis = np.random.default_rng(seed).normal(size=3)
    estimated = truth.copy()
    estimated[:, :3, :3] = truth[:, :3, :3] @ turned(angle * axis / np.linalg.norm(axis))
    error = absolute_error(align(estimated, truth), truth)
    assert error.rotation_deg.median == pytest.approx(np.degrees(angle), rel=1e-6)
    assert error.translation.rmse < 1e-8


def test_inputs_are_left_alone() -> None:
    truth, estimated = wander(1), noisy(wander(1), 1)
    before = truth.copy(), estimated.copy()
    aligned = align(estimated, truth)
    absolute_error(aligned, truth)
    loop_closure(aligned, truth)
    np.testing.assert_array_equal(truth, before[0])
    np.testing.assert_array_equal(estimated, before[1])


# the shape of a path


def test_scale_drift_finds_a_growing_scale() -> None:
    truth = wander(8, count=400)
    estimated = truth.copy()
    growth = np.linspace(1, 2, len(truth) - 1)[:, None]
    estimated[1:, :3, 3] = truth[0, :3, 3] + (np.diff(truth[:, :3, 3], axis=0) * growth).cumsum(axis=0)
    drift = scale_drift(align(estimated, truth), truth)
    assert drift is not None
    assert len(drift.scale) == 10
    assert list(drift.scale) == sorted(drift.scale)
    assert drift.last_over_first == pytest.approx(1.95 / 1.05, rel=0.05)
    assert drift.spread == pytest.approx(drift.last_over_first)
    assert scale_drift(align(truth, truth), truth).spread == pytest.approx(1)  # type: ignore[union-attr]


def test_a_loop_that_does_not_close_has_its_gap() -> None:
    truth = loop()
    drifting = truth.copy()
    drifting[:, 1, 3] += np.linspace(0, 3, len(truth))  # climbs 1.5 a lap
    gap = loop_closure(align(drifting, truth, how="none"), truth)
    assert gap is not None
    assert gap.count == pytest.approx(len(truth) / 2, abs=6)
    assert gap.gap == pytest.approx(1.5, rel=0.02)
    assert gap.gap_percent == pytest.approx(100 * 1.5 / (2 * np.pi * 10), rel=0.03)
    assert gap.rotation_deg == pytest.approx(0, abs=1e-6)
    closed = loop_closure(align(truth, truth, how="none"), truth)
    assert closed is not None
    assert closed.gap < 1e-9


def test_a_path_that_never_comes_back_has_no_loop() -> None:
    straight = cameras(np.stack([np.arange(200.0)] * 3, 1), np.zeros((200, 3)))
    assert loop_closure(AlignedPath(straight, align(loop(200), loop(200)).truth_from_estimate), straight) is None
    still = np.tile(np.eye(4), (9, 1, 1))
    assert loop_closure(align(still, still, how="none"), still) is None
    assert scale_drift(align(still, still, how="none"), still) is None


def test_distance_along_a_circle() -> None:
    assert distance_along(loop(count=2000, laps=1))[-1] == pytest.approx(2 * np.pi * 10, rel=1e-5)


# degenerate input


@pytest.mark.parametrize("how", ["none", "se3", "sim3"])
def test_degenerate_paths_are_refused(how: Alignment) -> None:
    truth = wander(0)
    with pytest.raises(InputError, match=r"\b60\b.*\b59\b"):
        align(truth, truth[:-1], how=how)
    with pytest.raises(InputError, match=r"\b3\b.*\b2\b"):
        align(truth[:2], truth[:2], how=how)
    lost = truth.copy()
    lost[7, 0, 3] = np.nan
    with pytest.raises(InputError, match=r"not finite.*\b7\b"):
        align(lost, truth, how=how)
    with pytest.raises(InputError, match="1 true cameras"):
        align(truth, lost, how=how)


def test_what_cannot_be_measured_is_refused() -> None:
    truth = wander(0)
    with pytest.raises(InputError, match="step of 60"):
        relative_error(align(truth, truth), truth, step=60)
    with pytest.raises(InputError, match="at least 2 parts"):
        scale_drift(align(truth, truth), truth, parts=1)
