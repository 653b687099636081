"""Tracks of COLMAP's points: seen where the truth says so, measured in the pictures, of use to a bundle adjustment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from openloger.benchmarking.inputs import WorldReconstruction
from openloger.export import PointSelection, export_recording
from openloger.export.sightings import FARTHEST_PX, Searcher, Sightings, SparsePoints, measured
from openloger.export.track_file import TrackFile
from openloger.geometry import SE3
from openloger.worlds import World

SIZE = (96, 128)
FRAMES = 5


@pytest.fixture(scope="module")
def world() -> WorldReconstruction:
    return WorldReconstruction.without_error(World("clutter", seed=3, size=SIZE, fps=8, frames=FRAMES))


def off_by(world: WorldReconstruction, *, angle: float, distance: float) -> WorldReconstruction:
    """Every camera but the first moved at random."""
    twist = np.random.default_rng(5).normal(size=(FRAMES, 6)) * ([distance] * 3 + [angle] * 3)
    twist[0] = 0
    wrong = SE3.from_matrix(torch.from_numpy(world.world_from_cam)) @ SE3.exp(torch.from_numpy(twist))
    return replace(world, world_from_cam=wrong.matrix().numpy())


def test_points_are_seen_where_the_truth_sees_them_and_nowhere_else(world: WorldReconstruction) -> None:
    selection = PointSelection(pixel_stride=4)
    points = SparsePoints.of(world, selection)
    searcher = Searcher(world, points, selection)
    for frame, sample in enumerate(world.samples):
        seen = searcher.sightings(frame)
        assert np.array_equal(seen.points, np.unique(seen.points))
        own = points.frame[seen.points] == frame
        assert own.sum() == (points.frame == frame).sum()
        assert np.abs(seen.error_px[own]).max() < 1e-9
        cam = (points.points_world - sample.world_from_cam[:3, 3]) @ sample.world_from_cam[:3, :3]
        xy = cam[:, :2] / cam[:, 2:] * sample.intrinsics[[0, 1], [0, 1]] + sample.intrinsics[:2, 2]
        inside = (cam[:, 2] > 0) & (xy >= 0).all(1) & (xy < SIZE[::-1]).all(1)
        column, row = np.where(inside[:, None], xy, 0).astype(int).T
        hidden = inside & (sample.depth[row, column] < 0.9 * cam[:, 2])
        plain = inside & (np.abs(sample.depth[row, column] - cam[:, 2]) < 0.005 * cam[:, 2])
        others = points.frame != frame
        assert not np.isin(np.flatnonzero(hidden & others), seen.points).any()
        assert np.isin(np.flatnonzero(plain & others), seen.points).mean() > 0.8  # edges are not trusted
        assert np.median(seen.error_px[~own]) < 0.3


def test_a_patch_is_found_again_where_it_was_moved_to() -> None:
    rows, columns = np.mgrid[:60, :80].astype(np.float32)

    def picture(x: float, y: float) -> np.ndarray:
        x, y = columns - x, rows - y
        return 120 + 40 * np.sin(x / 1.8) + 40 * np.sin(y / 1.7) + 40 * np.sin((x - y) / 2.9)

    at = np.stack(np.meshgrid(np.arange(12, 70, 7), np.arange(12, 50, 7)), -1).reshape(-1, 2) + 0.5
    whole = picture(0, 0)
    patches = np.stack([whole[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5] for x, y in at])
    found = measured(1.2 * picture(1.3, -0.7) - 20, patches, at.astype(np.float64))
    right = np.abs(found - at - [1.3, -0.7]).max(1) < 0.1
    assert (right | (found == at).all(1)).all()
    assert right.mean() > 0.8
    flat = np.full_like(patches, 90.0)
    assert np.array_equal(measured(whole, flat, at.astype(np.float64)), at)
    other = np.random.default_rng(0).uniform(0, 255, (60, 80)).astype(np.float32)
    lost = measured(other, patches, at.astype(np.float64))
    assert np.linalg.norm(lost - at, axis=1).max() <= FARTHEST_PX
    assert (lost == at).all(1).mean() > 0.9


def test_tracks_on_disk_are_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openloger.export.track_file._BATCH", 7)
    dice, expected = np.random.default_rng(1), [[] for _ in range(20)]
    with TrackFile(tmp_path, points=20) as file:
        for image_id in range(1, 9):
            seen = np.flatnonzero(dice.random(20) < 0.4)
            file.add(image_id, Sightings(seen, np.zeros((len(seen), 2)), np.full(len(seen), 0.5)), pixels=2.0)
            for index, point in enumerate(seen):
                expected[point].append((image_id, index))
        found = {point: [tuple(row) for row in track.tolist()] for point, track in file.tracks()}
    assert [found[point] for point in range(20)] == expected
    assert set(file.mean_errors_px) <= {0.0, 1.0}
    assert list(tmp_path.iterdir()) == []


def test_bundle_adjustment_lowers_the_error_and_mends_the_cameras(world: WorldReconstruction, tmp_path: Path) -> None:
    wrong = off_by(world, angle=0.008, distance=0.02)
    export_recording(wrong, "colmap", tmp_path / "model", selection=PointSelection(pixel_stride=6))
    model = pycolmap.Reconstruction(str(tmp_path / "model" / "sparse" / "0"))
    assert model.num_reg_images() == FRAMES
    before = rms_px(model)
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_principal_point = options.refine_extra_params = False
    pycolmap.bundle_adjustment(model, options)
    assert rms_px(model) < 0.8 * before
    cameras = np.stack(
        [np.vstack([model.images[i + 1].cam_from_world().inverse().matrix(), [0, 0, 0, 1]]) for i in range(FRAMES)]
    )
    assert turn(cameras, world.world_from_cam) < 0.6 * turn(wrong.world_from_cam, world.world_from_cam)


def rms_px(model: pycolmap.Reconstruction) -> float:
    """Of the distances between all sightings and the projections of their points."""
    off = [
        image.project_point(model.points3D[seen.point3D_id].xyz) - seen.xy
        for image in model.images.values()
        for seen in image.points2D
    ]
    return float(np.sqrt(np.square(off).sum(1).mean()))


def turn(cameras: np.ndarray, truth: np.ndarray) -> float:
    """The median error of the rotations between neighbours, which no gauge changes; radians."""
    relative, true = (np.linalg.inv(one[:-1]) @ one[1:] for one in (cameras, truth))
    cosine = (np.einsum("fij,fij->f", relative[:, :3, :3], true[:, :3, :3]) - 1) / 2
    return float(np.median(np.arccos(np.clip(cosine, -1, 1))))
