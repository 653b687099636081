from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from stand_in import HEIGHT, WIDTH, StandIn, WithDepth, pixels_of

from openloger.export import PointSelection, export_recording


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "transforms.json").read_text())


def project_opengl(points: np.ndarray, transforms: dict[str, Any], frame: dict[str, Any]) -> np.ndarray:
    """nerfstudio's camera: looks along -z, y up; a frame's own intrinsics go before the shared ones."""
    camera = {**transforms, **frame}
    right, up, back = (np.linalg.inv(np.array(camera["transform_matrix"])) @ np.c_[points, np.ones(len(points))].T)[:3]
    assert (back < 0).all()
    x = camera["cx"] + camera["fl_x"] * right / -back
    y = camera["cy"] - camera["fl_y"] * up / -back
    return np.stack([x, y], -1)


@pytest.mark.parametrize("fixed_lens", [False, True])
def test_the_cameras_project_the_initial_cloud_to_its_pixels(tmp_path: Path, fixed_lens: bool) -> None:
    export_recording(StandIn(fixed_lens=fixed_lens), "nerfstudio", tmp_path / "scene")
    transforms = read(tmp_path / "scene")
    assert ("fl_x" in transforms) == fixed_lens
    cloud = trimesh.load(tmp_path / "scene" / transforms["ply_file_path"], process=False)
    frames, xy = pixels_of(np.asarray(cloud.colors))
    for number, frame in enumerate(transforms["frames"]):
        assert (frame | transforms)["w"] == WIDTH
        assert (frame | transforms)["h"] == HEIGHT
        back = project_opengl(np.asarray(cloud.vertices)[frames == number], transforms, frame)
        np.testing.assert_allclose(back, xy[frames == number], atol=1e-4)


def test_depth_maps_are_16_bit_millimetres_and_0_where_distrusted(tmp_path: Path) -> None:
    recording = StandIn()
    export_recording(recording, "nerfstudio", tmp_path / "scene", selection=PointSelection(frame_stride=2))
    transforms = read(tmp_path / "scene")
    assert transforms["depth_unit_scale_factor"] == 0.001
    assert [frame["depth_file_path"] for frame in transforms["frames"]] == [
        f"depth/frame_{i:06d}.png" for i in (0, 2, 4)
    ]
    for number, frame in zip((0, 2, 4), transforms["frames"], strict=True):
        with Image.open(tmp_path / "scene" / frame["depth_file_path"]) as picture:
            assert picture.mode == "I;16"
            depth = np.asarray(picture) * 0.001
        assert (depth[0] == 0).all()  # little confidence
        np.testing.assert_allclose(depth[1:], recording.depth(number)[1:], atol=0.00051)
        with Image.open(tmp_path / "scene" / frame["file_path"]) as picture:
            assert picture.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(("depth_scale", "unit"), [(0.01, 1e-6), (1, 1e-3), (15, 1e-3), (100, 1e-2), (1e4, 1.0)])
def test_the_unit_of_depth_suits_the_scene(tmp_path: Path, depth_scale: float, unit: float) -> None:
    recording = StandIn(depth_scale=float(depth_scale))
    export_recording(recording, "nerfstudio", tmp_path / "scene")
    transforms = read(tmp_path / "scene")
    assert transforms["depth_unit_scale_factor"] == pytest.approx(unit, rel=1e-9)
    with Image.open(tmp_path / "scene" / "depth" / "frame_000001.png") as picture:
        depth = np.asarray(picture) * unit
    np.testing.assert_allclose(depth[1:], recording.depth(1)[1:], atol=0.51 * unit)
    assert unit < 0.002 * depth.max()


def test_depth_beyond_16_bits_is_unknown(tmp_path: Path) -> None:
    depth = np.full((HEIGHT, WIDTH), 5, np.float32)
    depth[-1, -1] = 70
    recording = WithDepth(2, depth_map=depth, height=HEIGHT, width=WIDTH)
    selection = PointSelection(confidence_min=0.0, depth_edge=None)
    export_recording(recording, "nerfstudio", tmp_path / "scene", selection=selection)
    unit = read(tmp_path / "scene")["depth_unit_scale_factor"]
    with Image.open(tmp_path / "scene" / "depth" / "frame_000000.png") as picture:
        steps = np.asarray(picture)
    assert steps[0, 0] * unit == pytest.approx(5, abs=unit)
    assert steps[-1, -1] == 0 or steps[-1, -1] * unit == pytest.approx(70, abs=unit)


def test_source_pictures_are_referred_to_at_their_size(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        Image.new("RGB", (2 * WIDTH, 3 * HEIGHT)).save(source / f"shot_{number:03d}.png")
    export_recording(StandIn(), "nerfstudio", tmp_path / "scene", images=source)
    transforms = read(tmp_path / "scene")
    assert not (tmp_path / "scene" / "images").exists()
    assert transforms["frames"][3]["file_path"] == str((source / "shot_003.png").resolve())
    cloud = trimesh.load(tmp_path / "scene" / "sparse_pc.ply", process=False)
    frames, xy = pixels_of(np.asarray(cloud.colors))
    back = project_opengl(np.asarray(cloud.vertices)[frames == 3], transforms, transforms["frames"][3])
    np.testing.assert_allclose(back, xy[frames == 3] * [2, 3], atol=3e-4)
