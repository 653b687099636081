"""Corrections of a rig: the views of an instant keep one centre, and measurements are the panorama's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_align import write_csv
from test_exif_gps import taken
from true_recordings import Walk, record

from openloger.corrections import (
    Alignment,
    align_by_camera_height,
    align_by_depth,
    align_by_gps,
    align_by_poses,
    apply,
)
from openloger.errors import InputError
from openloger.export import export_recording
from openloger.recording import Recording
from openloger.viewing.scene.snapshot import load_snapshot

VIEWS = 3


def by_gps(recording: Recording, street: Walk, folder: Path) -> Alignment:
    times_s = np.array([sample.timestamp_s for sample in street.samples])
    return align_by_gps(recording, write_csv(folder / "a.csv", street.true_centres, times_s), drift=True)


def by_poses(recording: Recording, street: Walk, folder: Path) -> Alignment:
    np.savetxt(folder / "poses.txt", street.true_world_from_cam[:, :3].reshape(-1, 12))
    return align_by_poses(recording, folder / "poses.txt", drift=True)


def by_height(recording: Recording, street: Walk, folder: Path) -> Alignment:
    return align_by_camera_height(recording, float(np.median(-street.true_centres[:, 1])), drift=True)


@pytest.mark.parametrize("align", [by_gps, by_poses, by_height])
def test_views_of_an_instant_keep_one_centre_along_a_bent_path(
    street: Walk, tmp_path: Path, align: Callable[[Recording, Walk, Path], Alignment]
) -> None:
    recording = record(street, tmp_path / "street", growth=0.3, swerve=0.1, views=VIEWS)
    found = align(recording, street, tmp_path)
    apply(recording, found)
    centres = recording.world_from_cam.reshape(-1, VIEWS, 4, 4)[..., :3, 3]
    assert np.ptp(centres, axis=1).max() == 0
    off = np.linalg.norm(np.diff(centres[:, 0], axis=0), axis=1) - np.linalg.norm(
        np.diff(street.true_centres, axis=0), axis=1
    )
    assert np.abs(off).max() < 0.4
    path = load_snapshot(recording, budget=2000).recorded_path
    assert path is not None
    assert np.ptp(path.reshape(-1, VIEWS, 3), axis=1).max() < 1e-9


def test_pictures_of_panoramas_name_their_instants(street: Walk, tmp_path: Path) -> None:
    recording = record(street, tmp_path / "street", views=VIEWS)
    found = align_by_gps(recording, taken(street, tmp_path / "pictures", named=True))
    assert found.scale == pytest.approx(3.7, rel=0.01)
    assert found.given == len(street.samples)


def test_depth_by_a_panoramas_number_is_refused_and_by_a_views_name_taken(street: Walk, tmp_path: Path) -> None:
    recording = record(street, tmp_path / "street", views=VIEWS)
    for frame in range(0, len(street.samples), 8):
        (tmp_path / "numbers").mkdir(exist_ok=True)
        (tmp_path / "names").mkdir(exist_ok=True)
        depth = np.where(street.samples[frame].valid, street.samples[frame].depth, 0)
        np.save(tmp_path / "numbers" / f"{frame:06d}.npy", depth)
        np.save(tmp_path / "names" / f"{Path(recording.names[VIEWS * frame + 1]).stem}.npy", depth)
    with pytest.raises(InputError, match=r"name maps as .*_view0 is"):
        align_by_depth(recording, tmp_path / "numbers")
    assert align_by_depth(recording, tmp_path / "names").scale == pytest.approx(3.7, rel=0.03)


@pytest.mark.parametrize("kind", ["tum", "kitti"])
def test_a_path_that_is_exported_has_a_line_an_instant_and_aligns_the_same_rig(
    street: Walk, tmp_path: Path, kind: str
) -> None:
    recording = record(street, tmp_path / "street", views=VIEWS)
    export_recording(recording, kind, tmp_path / "path.txt")
    rows = np.loadtxt(tmp_path / "path.txt")
    assert len(rows) == len(street.samples)
    if kind == "tum":
        assert (np.diff(rows[:, 0]) > 0).all()
    found = align_by_poses(recording, tmp_path / "path.txt")
    assert (found.scale, found.used) == (pytest.approx(1.0, abs=1e-9), len(street.samples))
