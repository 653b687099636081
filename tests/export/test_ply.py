from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from stand_in import StandIn, pixels_of, project

from openloger.export import PointSelection, export_recording, select_points


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    cloud = trimesh.load(path, process=False)
    assert isinstance(cloud, trimesh.PointCloud)
    return np.asarray(cloud.vertices), np.asarray(cloud.colors)[:, :3]


def test_trimesh_reads_back_the_selected_points(tmp_path: Path) -> None:
    recording = StandIn()
    selection = PointSelection(pixel_stride=3)
    assert export_recording(recording, "ply", tmp_path / "cloud.ply", selection=selection) == [tmp_path / "cloud.ply"]
    points, rgb = read(tmp_path / "cloud.ply")
    chunks = list(select_points(recording, selection))
    np.testing.assert_allclose(points, np.concatenate([c.points_world for c in chunks]), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(rgb, np.concatenate([c.rgb for c in chunks]))


def test_the_recordings_cameras_project_the_points_to_their_pixels(tmp_path: Path) -> None:
    recording = StandIn()
    export_recording(recording, "ply", tmp_path / "cloud.ply")
    points, rgb = read(tmp_path / "cloud.ply")
    frames, xy = pixels_of(rgb)
    back = project(points, recording.intrinsics[frames], recording.world_from_cam[frames])
    np.testing.assert_allclose(back, xy, atol=1e-4)


@pytest.mark.parametrize("most", [1, 9, 10, 1000])
def test_the_header_has_one_length_for_any_count(tmp_path: Path, most: int) -> None:
    export_recording(StandIn(), "ply", tmp_path / "cloud.ply", selection=PointSelection(max_points=most))
    data = (tmp_path / "cloud.ply").read_bytes()
    header_bytes = data.index(b"end_header\n") + len(b"end_header\n")
    assert len(data) == header_bytes + 15 * most
    assert f"\nelement vertex {most}\n".encode() in data[:header_bytes]
    assert header_bytes == 233
