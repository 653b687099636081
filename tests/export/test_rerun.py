"""Rerun's own reader finds in the file what went in: cameras, pictures, depth and points at their moments."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stand_in import HEIGHT, WIDTH, StandIn, WithDepth, pixels_of, project

from openloger.errors import InputError
from openloger.export import PointSelection, export_recording

needs_rerun = pytest.mark.skipif(
    importlib.util.find_spec("rerun") is None, reason="rerun-sdk is not installed (openloger[rerun])"
)


def read(path: Path) -> dict[str, dict[int | None, dict[str, Any]]]:
    """entity -> frame (None: static) -> component -> value."""
    chunk = pytest.importorskip("rerun.chunk", reason="this rerun-sdk has no reader of .rrd files (0.41 has)")
    found: dict[str, dict[int | None, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for part in chunk.RrdReader(str(path)).stream():
        rows = part.to_record_batch().to_pylist()
        for row in rows:
            frame = row.get("frame")
            values = {name: value for name, value in row.items() if ":" in name and value is not None}
            found[part.entity_path][frame].update(values | {"time": row.get("time")})
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int | None, dict[str, Any]]]:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed (openloger[rerun])")
    path = tmp_path_factory.mktemp("rerun") / "scene.rrd"
    assert export_recording(StandIn(), "rerun", path) == [path]
    return read(path)


def test_the_files_own_cameras_project_the_points_to_their_pixels(scene: dict[str, Any]) -> None:
    seen = 0
    for frame, points in scene["/world/points"].items():
        positions = np.array(points["Points3D:positions"])
        packed = np.array(points["Points3D:colors"], np.uint32)
        rgb = np.stack([packed >> 24, packed >> 16 & 255, packed >> 8 & 255], -1).astype(np.uint8)
        frames, xy = pixels_of(rgb)
        assert (frames == frame).all()
        camera = scene["/world/camera"][frame]
        world_from_cam = np.eye(4)
        world_from_cam[:3, :3] = np.array(camera["Transform3D:mat3x3"]).reshape(3, 3).T
        world_from_cam[:3, 3] = np.ravel(camera["Transform3D:translation"])
        intrinsics = np.array(camera["Pinhole:image_from_camera"]).reshape(3, 3).T
        assert np.ravel(camera["Pinhole:resolution"]).tolist() == [WIDTH, HEIGHT]
        cameras = np.broadcast_to(intrinsics, (len(xy), 3, 3)), np.broadcast_to(world_from_cam, (len(xy), 4, 4))
        np.testing.assert_allclose(project(positions, *cameras), xy, atol=1e-3)
        seen += len(xy)
    assert seen > 5 * 0.8 * HEIGHT * WIDTH


def test_pictures_depth_and_confidence_come_back(scene: dict[str, Any]) -> None:
    source = StandIn()
    for frame in range(5):
        depth = np.frombuffer(_bytes(scene["/world/camera/depth"][frame]["DepthImage:buffer"]), np.float16)
        np.testing.assert_allclose(depth.reshape(HEIGHT, WIDTH), source.depth(frame), rtol=1e-3)
        image = Image.open(io.BytesIO(_bytes(scene["/world/camera/image"][frame]["EncodedImage:blob"])))
        assert np.abs(np.asarray(image).astype(int) - source.rgb(frame)).mean() < 4
        grey = Image.open(io.BytesIO(_bytes(scene["/world/camera/confidence"][frame]["EncodedImage:blob"])))
        assert np.abs(np.asarray(grey) / 255 - source.confidence(frame)).mean() < 0.02
        mean = np.ravel(scene["/confidence"][frame]["Scalars:scalars"])
        assert mean == pytest.approx(source.confidence(frame).mean())


def test_time_runs_as_in_the_video(scene: dict[str, Any]) -> None:
    times_s = [scene["/world/camera"][frame]["time"].total_seconds() for frame in range(5)]
    assert times_s == pytest.approx(np.arange(5) / 30, abs=1e-4)
    assert None in scene["/world"], "the axes hold at all times"


def test_the_path_leads_from_camera_to_camera(scene: dict[str, Any]) -> None:
    centres = StandIn().world_from_cam[:, :3, 3]
    assert sorted(scene["/world/path"]) == [1, 2, 3, 4]
    for frame, strips in scene["/world/path"].items():
        np.testing.assert_allclose(strips["LineStrips3D:strips"][0], centres[frame - 1 : frame + 1], atol=1e-6)


@needs_rerun
def test_the_selection_holds_and_frames_are_read_one_by_one(tmp_path: Path) -> None:
    source = StandIn(frame_count=9)
    export_recording(source, "rerun", tmp_path / "some.rrd", selection=PointSelection(frame_stride=4, pixel_stride=3))
    reads = source.reads[1:]  # the first asks for the size
    assert reads == sorted(reads)
    assert set(reads) == {0, 4, 8}
    scene = read(tmp_path / "some.rrd")
    assert sorted(scene["/world/camera"]) == sorted(scene["/world/points"]) == [0, 4, 8]
    assert len(scene["/world/points"][4]["Points3D:positions"]) <= (HEIGHT // 3) * (WIDTH // 3 + 1)


@needs_rerun
def test_depth_that_is_none_is_zero(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[0, 0], depth[1, 1], depth[2, 2] = np.nan, -1, 1e9
    nothing = np.zeros((HEIGHT, WIDTH), np.float32)
    export_recording(WithDepth(2, depth_map=depth, confidence_map=nothing), "rerun", tmp_path / "holes.rrd")
    assert "no pixel passes the selection" in caplog.text
    scene = read(tmp_path / "holes.rrd")
    stored = np.frombuffer(_bytes(scene["/world/camera/depth"][1]["DepthImage:buffer"]), np.float16)
    stored = stored.reshape(HEIGHT, WIDTH)
    assert [float(stored[n, n]) for n in range(4)] == [0, 0, 65504, 2]
    assert "/world/points" not in scene


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(InputError, match=r"pip install '.*\[rerun\]'"):
        export_recording(StandIn(), "rerun", tmp_path / "scene.rrd")
    assert list(tmp_path.iterdir()) == []


@needs_rerun
def test_a_name_that_rerun_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scene\.blend.*Rerun"):
        export_recording(StandIn(), "rerun", tmp_path / "scene.blend")


def _bytes(value: Any) -> bytes:
    """A blob, however deep in lists."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return bytes(value)
