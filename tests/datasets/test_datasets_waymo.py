"""Waymo and UnrealStereo4K beyond their layouts: lenses, several cameras, what is missing, worlds of either hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import official_layouts as layouts
from datasets import parts

from openloger.datasets import open_dataset
from openloger.errors import BadFrameError, InputError
from openloger.geometry.camera_models import CameraModel

LENS = (-0.3, 0.1, 0.001, -0.0005, 0.0)  # ten times stronger than Waymo's


def segment(root: Path) -> Path:
    return next(path for path in root.iterdir() if path.name.startswith("segment-"))


def test_each_camera_of_waymo_is_a_sequence(tmp_path: Path) -> None:
    made = layouts.waymo(tmp_path)
    folder = segment(tmp_path)
    for path in list(folder.iterdir()):
        number = int(path.name[:5])
        shutil.copy(path, folder / path.name.replace("_1.", "_4."))
        path.rename(path.with_name(f"{100 + number:05d}{path.name[5:]}"))
    (folder / "00000_6.jpg").write_bytes(b"no camera of Waymo's")
    opened = open_dataset("waymo", tmp_path)
    assert list(opened) == [f"{folder.name}/1", f"{folder.name}/4"]
    assert list(open_dataset("waymo", folder)) == ["1", "4"]
    late = [frame.timestamp_s for frame in opened[made.name]]
    np.testing.assert_allclose(late, made.timestamps_s + 10)
    np.testing.assert_array_equal(opened[f"{folder.name}/4"].world_from_cam(2), made.world_from_cam[2])


def test_depth_of_waymo_lies_where_its_points_are_seen(tmp_path: Path) -> None:
    """Points are projected by the distorted lens; what the reader gives puts each back by the view's pinhole."""
    made = layouts.waymo(tmp_path, distortion=LENS)
    fx, fy, cx, cy = np.array(parts.CAMERA) * 20
    size = (parts.HEIGHT * 20, parts.WIDTH * 20)
    lens = CameraModel("opencv", (fx, fy, cx + 0.5, cy + 0.5, *LENS))
    points = np.random.default_rng(1).uniform((-2, -1.5, 5), (2, 1.5, 9), (40, 3))
    pixels = np.floor(lens.project(torch.from_numpy(points), size=size).numpy()).astype(int)
    depth = np.zeros(size, dtype=np.float32)
    depth[pixels[:, 1], pixels[:, 0]] = points[:, 2]
    stem = segment(tmp_path) / "00000_1"
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    for number in range(parts.FRAMES):
        stem = segment(tmp_path) / f"{number:05d}_1"
        parts.save(stem.with_suffix(".jpg"), np.full((*size, 3), 90, np.uint8))
        parts.exr(stem.with_suffix(".exr"), depth)
        np.savez(stem.with_suffix(".npz"), intrinsics=K, cam2world=made.world_from_cam[number], distortion=LENS)
    sequence = open_dataset("waymo", tmp_path)[made.name]
    frame = sequence[2]
    assert frame.rgb.shape[:2] == frame.depth.shape == size
    row, column = np.nonzero(frame.depth)
    assert len(row) > 30
    z = frame.depth[row, column].astype(np.float64)
    focal, centre = np.diag(frame.intrinsics)[:2], frame.intrinsics[:2, 2]
    found = np.column_stack([(np.stack([column, row], 1) + 0.5 - centre) / focal * z[:, None], z])
    off = np.linalg.norm(found[:, None] - points, axis=-1).min(axis=1)
    assert off.max() < 2 * 9 / focal.min(), "two pixels at nine metres"


def test_waymo_without_a_lens_file_or_depth(tmp_path: Path) -> None:
    made = layouts.waymo(tmp_path)
    folder = segment(tmp_path)
    (folder / "00002_1.npz").unlink()
    (folder / "00003_1.exr").unlink()
    np.savez(folder / "00001_1.npz", intrinsics=made.intrinsics, cam2world=np.full((4, 4), np.nan))
    sequence = open_dataset("waymo", tmp_path)[made.name]
    assert [sequence.world_from_cam(frame) is None for frame in range(5)] == [False, True, True, False, False]
    assert sequence[3].depth is None
    assert sequence[2].depth is not None
    np.savez(folder / "00001_1.npz", intrinsics=np.eye(4), cam2world=np.eye(4))
    with pytest.raises(InputError, match=r"00001_1\.npz: 'intrinsics' is float64 \(4, 4\)"):
        open_dataset("waymo", tmp_path)[made.name]
    (folder / "00001_1.npz").write_bytes(b"PK\3\4 cut")
    with pytest.raises(InputError, match=r"00001_1\.npz cannot be read"):
        open_dataset("waymo", tmp_path)[made.name]


def test_damage_of_waymo_names_its_file(tmp_path: Path) -> None:
    made = layouts.waymo(tmp_path)
    folder = segment(tmp_path)
    (folder / "00001_1.exr").write_bytes((folder / "00001_1.exr").read_bytes()[:-9])
    parts.exr(folder / "00002_1.exr", np.ones((3, 4)))
    (folder / "00004_1.jpg").write_bytes(b"no picture")
    sequence = open_dataset("waymo", tmp_path)[made.name]
    with pytest.raises(InputError, match=r"00001_1\.exr cannot be read"):
        _ = sequence[1].depth
    with pytest.raises(InputError, match=r"00002_1\.exr has 4×3 pixels"):
        _ = sequence[2].depth
    with pytest.raises(BadFrameError) as caught:
        list(sequence)
    assert caught.value.index == 4


def test_an_unreal_world_of_either_hand_is_the_same(tmp_path: Path) -> None:
    made = layouts.unrealstereo4k(tmp_path)
    for path in tmp_path.rglob("Extrinsics*/*.txt"):
        K, motion = path.read_text().splitlines()
        turned = np.array(motion.split(), dtype=float).reshape(3, 4) * (1, -1, 1, 1)
        assert np.linalg.det(turned[:, :3]) > 0
        parts.text(path, K, parts.numbers(turned))
    sequence = open_dataset("unrealstereo4k", tmp_path)[made.name]
    for number in range(parts.FRAMES):
        np.testing.assert_allclose(sequence.world_from_cam(number), made.world_from_cam[number], atol=1e-9)


def test_what_is_missing_of_an_unreal_scene(tmp_path: Path) -> None:
    made = layouts.unrealstereo4k(tmp_path)
    scene = tmp_path / made.name
    (scene / "Extrinsics1" / "00001.txt").unlink()
    (scene / "Extrinsics0" / "00002.txt").unlink()
    (scene / "Disp0" / "00003.npy").unlink()
    sequence = open_dataset("unrealstereo4k", tmp_path)[made.name]
    assert [sequence[frame].depth is None for frame in range(5)] == [False, True, True, True, False]
    assert [sequence.world_from_cam(frame) is None for frame in range(5)] == [False, False, True, False, False]
    path = scene / "Extrinsics0" / "00004.txt"
    lines = path.read_text().splitlines()
    for damaged, said in (
        ([lines[0]], "1 lines, where two"),
        ([lines[1], lines[0]], r"line 1: 12 numbers, where 9"),
        ([lines[0], lines[1].rpartition(" ")[0] + " two"], "line 2.*is not a row of numbers"),
        ([lines[0], "2 " * 12], "camera 0 is not a rigid motion"),
    ):
        parts.text(path, *damaged)
        with pytest.raises(InputError, match=rf"00004\.txt.*{said}"):
            open_dataset("unrealstereo4k", tmp_path)[made.name]
