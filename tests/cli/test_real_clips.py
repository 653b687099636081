"""The real command on the real clips, and every export of the result in its own reader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import openloger
from openloger.cli import main

FRAMES = {"kitchen": 300, "street": 151}


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def reconstruct(clip: str, data: Path, out: Path, *options: str) -> openloger.Recording:
    assert run("reconstruct", data / clip / "video.mp4", "-o", out, "--device", "cpu", *options) == 0
    recording = openloger.open_recording(out)
    assert recording.complete
    assert np.isfinite(recording.world_from_cam).all()
    assert all((recording.depth(i) > 0).all() for i in range(len(recording)))
    return recording


@pytest.mark.parametrize("clip", FRAMES)
def test_the_model_in_the_box(clip, real_data, tmp_path):
    options = ("--network", "pocket", "--stride", "3")
    assert len(reconstruct(clip, real_data, tmp_path / clip, *options)) == -(-FRAMES[clip] // 3)


@pytest.mark.parametrize("clip", FRAMES)
def test_compact_and_all_exports(clip, real_data, tmp_path):
    rec = tmp_path / clip
    recording = reconstruct(clip, real_data, rec, "--network", "compact", "--weights", "random", "--stop", "20")
    for name in ("ply", "glb", "colmap", "nerfstudio", "tum", "kitti"):
        out = tmp_path / f"export-{name}"
        loose = ("--confidence-min", "0", "--depth-edge", "None", "--max-points", "2000")
        assert run("export", rec, "--to", name, "--out", out, *loose) == 0, name
    assert_cameras(tmp_path, recording)
    assert_points(tmp_path)


def assert_cameras(folder: Path, recording: openloger.Recording) -> None:
    import pycolmap
    from evo.tools import file_interface

    tum = file_interface.read_tum_trajectory_file(folder / "export-tum")
    kitti = file_interface.read_kitti_poses_file(folder / "export-kitti")
    assert np.allclose(tum.positions_xyz, recording.world_from_cam[:, :3, 3], atol=1e-6)
    assert np.allclose(np.stack(kitti.poses_se3), recording.world_from_cam, atol=1e-6)
    (sparse,) = {path.parent for path in (folder / "export-colmap").rglob("cameras.*")}
    images = sorted(pycolmap.Reconstruction(sparse).images.values(), key=lambda image: image.image_id)
    centres = np.stack([image.projection_center() for image in images])
    assert np.allclose(centres, recording.world_from_cam[:, :3, 3], atol=1e-6)
    transforms = json.loads((folder / "export-nerfstudio" / "transforms.json").read_text())
    assert len(transforms["frames"]) == len(recording)


def assert_points(folder: Path) -> None:
    import trimesh

    ply = trimesh.load(folder / "export-ply", file_type="ply")
    assert len(ply.vertices) == 2000
    scene = trimesh.load(folder / "export-glb", file_type="glb")
    assert sum(len(g.vertices) for g in scene.geometry.values() if isinstance(g, trimesh.PointCloud)) == 2000


@pytest.mark.slow
def test_full_width_loger_with_random_weights(real_data, tmp_path):
    options = ("--network", "loger", "--weights", "random", "--stop", "4", "--window", "3", "--overlap", "1")
    recording = reconstruct("street", real_data, tmp_path / "street", *options, "--size", "70", "140")
    assert len(recording) == 4
