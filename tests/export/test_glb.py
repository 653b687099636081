from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from stand_in import HEIGHT, WIDTH, StandIn, WithDepth, pixels_of

from openloger.errors import InputError
from openloger.export import PointSelection, export_recording
from openloger.export.colours import linear_from_srgb
from openloger.export.glb import MAX_FRUSTA

EDGES_A_FRUSTUM = 8


def read(path: Path) -> dict[str, Any]:
    """The scene's geometries, whose nodes do not move them."""
    scene = trimesh.load_scene(path)
    for node in scene.graph.nodes_geometry:
        np.testing.assert_array_equal(scene.graph[node][0], np.eye(4))
    return dict(scene.geometry)


def segments(lines: Any) -> np.ndarray:
    """(segment, 2, 3): glTF's lines are pairs of vertices; trimesh strings them up as one."""
    return np.asarray(lines.vertices).reshape(-1, 2, 3)


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def colours(path: Path) -> np.ndarray:
    """sRGB codes from the file's own linear float32; trimesh would round them to eight bits."""
    data = path.read_bytes()
    magic, version, length, json_bytes, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    document = json.loads(data[20 : 20 + json_bytes])
    primitive = document["meshes"][0]["primitives"][0]
    assert [mesh["primitives"][0]["mode"] for mesh in document["meshes"]] == [0, 1, 1]
    accessor = document["accessors"][primitive["attributes"]["COLOR_0"]]
    view = document["bufferViews"][accessor["bufferView"]]
    start = 20 + json_bytes + 8 + view["byteOffset"]
    floats = np.frombuffer(data[start : start + view["byteLength"]], "<f4").reshape(-1, view["byteStride"] // 4)
    return np.rint(255 * srgb(floats[:, accessor["byteOffset"] // 4 :])).astype(np.uint8)


def test_frusta_project_the_points_to_their_pixels(tmp_path: Path) -> None:
    """Pixels are read off each frustum itself: where the ray from its tip meets its base."""
    export_recording(StandIn(), "glb", tmp_path / "scene.glb")
    scene = read(tmp_path / "scene.glb")
    frames, xy = pixels_of(colours(tmp_path / "scene.glb"))
    edges = segments(scene["frusta"]).reshape(5, EDGES_A_FRUSTUM, 2, 3)[frames]
    tip, corner, right, below = edges[:, 0, 0], edges[:, 0, 1], edges[:, 1, 1], edges[:, 3, 1]
    # tip + s (point - tip) = corner + u (right - corner) + v (below - corner)
    columns = np.stack([np.asarray(scene["points"].vertices) - tip, corner - right, corner - below], -1)
    s, u, v = np.linalg.solve(columns, (corner - tip)[..., None])[..., 0].T
    assert (s > 0).all()
    np.testing.assert_allclose(np.stack([u * WIDTH, v * HEIGHT], -1), xy, atol=1e-3)


def test_the_first_camera_stands_upright_and_looks_along_minus_z(tmp_path: Path) -> None:
    recording = WithDepth(1)
    export_recording(recording, "glb", tmp_path / "scene.glb")
    scene = read(tmp_path / "scene.glb")
    points = np.asarray(scene["points"].vertices)
    np.testing.assert_allclose(points[:, 2], -1, atol=1e-6)
    rows = scene["points"].colors[:, 1]  # linear, so only in their order
    top, bottom = points[rows == rows.min()], points[rows == rows.max()]
    assert top[:, 1].min() > bottom[:, 1].max()


def test_the_path_passes_all_cameras(tmp_path: Path) -> None:
    recording = StandIn(20)
    export_recording(recording, "glb", tmp_path / "scene.glb")
    path = segments(read(tmp_path / "scene.glb")["path"])
    centres = recording.world_from_cam[:, :3, 3] * [1, -1, -1]
    np.testing.assert_allclose(path[:, 0], centres[:-1], atol=1e-6)
    np.testing.assert_allclose(path[:, 1], centres[1:], atol=1e-6)


def test_frusta_and_points_are_capped(tmp_path: Path) -> None:
    recording = StandIn(2 * MAX_FRUSTA + 1, height=6, width=8)
    export_recording(recording, "glb", tmp_path / "scene.glb", selection=PointSelection(max_points=100))
    scene = read(tmp_path / "scene.glb")
    assert len(scene["points"].vertices) == 100
    frusta = len(segments(scene["frusta"])) / EDGES_A_FRUSTUM
    assert MAX_FRUSTA / 2 <= frusta <= MAX_FRUSTA
    assert len(segments(scene["path"])) == 2 * MAX_FRUSTA


def test_trimesh_reads_linear_colours(tmp_path: Path) -> None:
    export_recording(StandIn(), "glb", tmp_path / "scene.glb")
    read_back = read(tmp_path / "scene.glb")["points"].colors[:, :3] / 255
    np.testing.assert_allclose(read_back, linear_from_srgb(colours(tmp_path / "scene.glb")), atol=0.51 / 255)
    np.testing.assert_allclose(linear_from_srgb(np.uint8([0, 10, 128, 255])), [0, 0.003035, 0.215861, 1], atol=1e-6)


def test_more_points_than_the_format_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openloger.export.glb._LONGEST", 50_000)
    with pytest.raises(InputError, match=r"2083.*max_points"):
        export_recording(StandIn(), "glb", tmp_path / "scene.glb")
