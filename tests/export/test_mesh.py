"""Meshes: near the true surface both ways, the same in every format, and none where nothing was seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from stand_in import StandIn

from openloger.benchmarking.inputs import WorldReconstruction
from openloger.errors import InputError
from openloger.export import PointSelection, export_recording, select_points
from openloger.export.tsdf import SIDE, DepthView, DistanceField
from openloger.worlds import World

VOXEL = 0.06


@pytest.fixture(scope="module")
def room() -> WorldReconstruction:
    return WorldReconstruction.without_error(World("rooms", seed=4, size=(96, 128), fps=6, frames=5))


@pytest.fixture(scope="module")
def mesh(room: WorldReconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mesh") / "room.ply"
    export_recording(room, "mesh", path, selection=PointSelection(voxel=VOXEL))
    return path


def test_the_mesh_is_near_the_true_surface_both_ways(room: WorldReconstruction, mesh: Path) -> None:
    surface = trimesh.load(mesh, process=False)
    truth = np.concatenate([chunk.points_world for chunk in select_points(room)])
    seen = truth[:: max(1, len(truth) // 20_000)]
    sampled, _ = trimesh.sample.sample_surface(surface, 20_000, seed=1)
    precision = (cKDTree(truth).query(sampled)[0] < 2 * VOXEL).mean()
    recall = (cKDTree(sampled).query(seen)[0] < 2 * VOXEL).mean()
    assert 2 * precision * recall / (precision + recall) > 0.9
    assert surface.visual.vertex_colors[:, :3].std() > 5


def test_faces_look_at_the_cameras_that_saw_them(room: WorldReconstruction, mesh: Path) -> None:
    surface = trimesh.load(mesh, process=False)
    towards = room.world_from_cam[:, :3, 3].mean(0) - surface.triangles_center
    assert ((surface.face_normals * towards).sum(1) > 0).mean() > 0.9


@pytest.mark.parametrize("ending", ["obj", "glb"])
def test_other_formats_hold_the_same_mesh(room: WorldReconstruction, mesh: Path, ending: str, tmp_path: Path) -> None:
    export_recording(room, "mesh", tmp_path / f"a.{ending}", selection=PointSelection(voxel=VOXEL))
    ours, other = (trimesh.load(path, process=False, force="mesh") for path in (mesh, tmp_path / f"a.{ending}"))
    turned = other.vertices * ([1, -1, -1] if ending == "glb" else 1)
    np.testing.assert_allclose(turned, ours.vertices, atol=1e-5)
    assert np.array_equal(other.faces, ours.faces)


def test_a_plane_is_found_between_the_voxels(tmp_path: Path) -> None:
    recording = StandIn(1, height=24, width=32)
    view = DepthView(
        depth=np.full((24, 32), 2.013, np.float32),
        trusted=np.ones((24, 32), bool),
        confidence=np.ones((24, 32), np.float32),
        rgb=np.full((24, 32, 3), 90, np.uint8),
        intrinsics=recording.intrinsics[0],
        world_from_cam=np.eye(4),
    )
    with DistanceField(tmp_path, voxel=0.05) as field:
        field.add(view)
        field.add(view)
        assert len(field) > 4
        for brick in field.bricks():
            z = (brick.origin[2] + np.arange(SIDE + 1)) * 0.05
            expected = np.broadcast_to(np.clip((2.013 - z) / 0.2, -1, 1), brick.distance.shape)
            np.testing.assert_allclose(brick.distance[brick.known], expected[brick.known], atol=1e-3)
    assert list(tmp_path.iterdir()) == []


def test_what_gives_no_mesh_is_one_line(room: WorldReconstruction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="end it in"):
        export_recording(room, "mesh", tmp_path / "a.stl")
    with pytest.raises(InputError, match="no pixel passes"):
        export_recording(
            room, "mesh", tmp_path / "a.ply", selection=PointSelection(confidence_min=1.0, depth_edge=1e-9)
        )
    with pytest.raises(InputError, match=r"no surface is found with voxels of 1e\+03: give a --voxel near 0\.\d+"):
        export_recording(room, "mesh", tmp_path / "a.ply", selection=PointSelection(voxel=1000.0, frame_stride=8))
    assert list(tmp_path.iterdir()) == []
