"""Cameras that stand still or move exactly straight: the rotation that their centres leave free costs no number."""

from __future__ import annotations

from pathlib import Path

import known
import numpy as np
import pytest
import torch
from paths import cameras, moved, turned, wander

from openloger.evaluation import evaluate_recording
from openloger.evaluation.page import Section, page
from openloger.evaluation.trajectory import absolute_error, align
from openloger.geometry import align_cameras, umeyama

AXIS_ANGLE, SHIFT = np.array([0.4, -1.1, 0.7]), np.array([5.0, -2.0, 100.0])


def path(kind: str, count: int = 40) -> np.ndarray:
    """Cameras that look about."""
    looks = np.random.default_rng(1).normal(size=(count, 3)).cumsum(axis=0) / 10
    along = np.linspace(0, 7, count)[:, None]
    steps = {
        "still": np.zeros((count, 3)),
        "still, far away": np.tile([1e6, 2e6, 3.3], (count, 1)),
        "along an axis": along * [0, 0, 1.0],
        "straight": along * [0.3, -0.5, 0.81],
        "straight, far away": along * [0.3, -0.5, 0.81] + [5e5, 5e6, 100],
        "straight, to and fro": np.sin(along) * [0.3, -0.5, 0.81],
        "straight, in tenths of a millimetre": np.round(along * [0.3, -0.5, 0.81], 4),
    }
    return cameras(steps[kind], looks)


KINDS = [
    "still",
    "still, far away",
    "along an axis",
    "straight",
    "straight, far away",
    "straight, to and fro",
    "straight, in tenths of a millimetre",
]


@pytest.mark.parametrize("how", ["sim3", "se3"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_frame_and_unit_is_no_error(kind: str, how: str) -> None:
    truth = path(kind)
    scale = 3.0 if how == "sim3" and "still" not in kind else 1.0
    estimated = moved(truth, scale, AXIS_ANGLE, SHIFT)
    error = absolute_error(align(estimated, truth, how=how), truth)
    assert error.translation.rmse < 2e-4
    assert error.rotation_deg.rmse < 1e-2
    assert error.scale == pytest.approx(1 / scale, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_free_rotation_is_the_best_one(kind: str) -> None:
    """No other rotation about the line brings the cameras' own rotations closer, and the centres stay as close."""
    truth = path(kind)
    estimated = moved(truth, 1.0, AXIS_ANGLE, SHIFT)
    estimated[:, :3, :3] = estimated[:, :3, :3] @ turned(np.random.default_rng(2).normal(size=(40, 3)) * 0.2)
    best = align_cameras(torch.from_numpy(estimated), torch.from_numpy(truth), with_scale=False).rotation.numpy()

    def agreement(rotation: np.ndarray) -> float:
        return float(np.einsum("nij,nij->", rotation @ estimated[:, :3, :3], truth[:, :3, :3]))

    line = truth[-1, :3, 3] - truth[0, :3, 3]
    axes = [line / np.linalg.norm(line)] if "still" not in kind else list(np.eye(3))
    for axis in axes:
        for angle in (-0.5, -1e-3, 1e-3, 0.5):
            assert agreement(turned(axis * angle) @ best) < agreement(best) + 1e-5


def test_an_estimate_that_wanders_beside_a_still_truth_keeps_its_size() -> None:
    truth = path("still")
    estimated = wander(3, 40)
    aligned = align(estimated, truth)
    assert float(aligned.truth_from_estimate.scale) == 1
    spread = estimated[:, :3, 3] - estimated[:, :3, 3].mean(axis=0)
    error = absolute_error(aligned, truth).translation.rmse
    assert error == pytest.approx(float(np.sqrt(np.square(spread).sum(axis=1).mean())))


def test_a_path_that_spreads_is_aligned_by_umeyama_alone() -> None:
    truth, estimated = wander(4), moved(wander(5), 2.0, AXIS_ANGLE, SHIFT)
    both = [torch.from_numpy(one) for one in (estimated, truth)]
    expected = umeyama(both[0][:, :3, 3], both[1][:, :3, 3])
    found = align_cameras(*both)
    assert torch.equal(found.rotation, expected.rotation)
    assert torch.equal(found.scale, expected.scale)


@pytest.mark.parametrize("kind", ["still", "straight"])
def test_a_recording_keeps_its_depth_and_its_page(kind: str, tmp_path: Path) -> None:
    recording = known.recording(tmp_path / "out")
    folder = known.write_truth(tmp_path / "wall")
    known.write_cameras(folder / "world_from_cam.txt", path(kind, known.FRAMES))
    measured = evaluate_recording(recording, folder, depth=folder / "depth")
    numbers = measured.numbers()
    assert numbers["ate_rmse"] is not None
    assert numbers["rotation_deg_rmse"] is not None
    assert numbers["depth_abs_rel"] is not None
    assert "nan" not in page("still", [Section("still", measured)], tables=[], made_with="").lower()
