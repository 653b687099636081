"""Missing or damaged parts of a dataset give one clear line that names the file; clocks are tied by stated rules."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import official_layouts as layouts
from datasets import parts
from hypothesis import given, settings
from hypothesis import strategies as st

from openloger.datasets import cameras_at, co3d, colmap, kitti, nearest_in_time, open_dataset, read_truth, sintel
from openloger.datasets.exr import read_exr
from openloger.datasets.files import read_depth_npy, read_hdf5
from openloger.datasets.rgbd import bonn_world_from_cam
from openloger.errors import BadFrameError, InputError

TIMES = st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True)


def test_kitti_without_poses_has_no_cameras(tmp_path: Path) -> None:
    made = layouts.kitti(tmp_path)
    (tmp_path / "dataset" / "poses" / "04.txt").unlink()
    sequence = open_dataset("kitti", tmp_path)["04"]
    assert sequence.world_from_cam(0) is None
    np.testing.assert_allclose(sequence[0].intrinsics, made.intrinsics)


def test_kitti_that_lost_a_picture(tmp_path: Path) -> None:
    layouts.kitti(tmp_path)
    (tmp_path / "dataset" / "sequences" / "04" / "image_2" / "000002.png").unlink()
    with pytest.raises(InputError, match="4 pictures, 5 times"):
        open_dataset("kitti", tmp_path)["04"]


def test_kitti_scan_keeps_the_nearest_point(tmp_path: Path) -> None:
    from openloger.datasets.kitti import scan_depth

    points = np.array([[0.1, 0.1, 5, 0], [0.05, 0.05, 2.5, 0], [0, 0, -1, 0], [9, 9, 1, 0]], dtype=np.float32)
    points.tofile(tmp_path / "scan.bin")
    K = np.array([[10.0, 0, 2], [0, 10, 2], [0, 0, 1]])
    depth = scan_depth(tmp_path / "scan.bin", np.eye(4), K, height=4, width=4)
    assert depth[2, 2] == 2.5
    assert np.count_nonzero(depth) == 1


def test_scannet_lost_tracking_is_no_camera(tmp_path: Path) -> None:
    layouts.scannet(tmp_path)
    lost = tmp_path / "scans" / "scene0000_00" / "pose" / "3.txt"
    lost.write_text("-inf -inf -inf -inf\n" * 4)
    sequence = open_dataset("scannet", tmp_path)["scans/scene0000_00"]
    assert sequence.world_from_cam(3) is None
    assert sequence.world_from_cam(4) is not None


def test_tum_needs_its_folder_name(tmp_path: Path) -> None:
    layouts.tum(tmp_path)
    (tmp_path / "rgbd_dataset_freiburg2_desk").rename(tmp_path / "desk")
    with pytest.raises(InputError, match="desk"):
        open_dataset("tum", tmp_path)["desk"]


def test_vbr_interpolates_and_does_not_extrapolate(tmp_path: Path) -> None:
    made = layouts.vbr(tmp_path)
    path = tmp_path / made.name / "campus_train0_gt.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:1] + lines[2:3] + lines[4:]) + "\n")  # rows 0 and 2 are gone
    sequence = open_dataset("vbr", tmp_path)[made.name]
    assert sequence.world_from_cam(0) is None
    between = sequence.world_from_cam(2)
    ends = (sequence.world_from_cam(1), sequence.world_from_cam(3))
    assert between is not None
    angle = [np.arccos((np.trace(end[:3, :3].T @ between[:3, :3]) - 1) / 2) for end in ends]
    assert angle[0] == pytest.approx(angle[1], abs=1e-6)


def test_bonn_cameras_are_rigid() -> None:
    cameras = bonn_world_from_cam(parts.cameras())[:, :3, :3]
    np.testing.assert_allclose(cameras @ cameras.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=2e-4)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("world_from_cam.txt", "1 2 3", "line 1: 3 numbers.*12 or 16"),
        ("world_from_cam.txt", "one " * 16, "line 1.*'one "),
        ("world_from_cam.txt", "", "no numbers"),
        ("world_from_cam.txt", "2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1", "camera 0.*rigid"),
        ("world_from_cam.txt", "1 0 0 0 0 1 0 0 0 0 -1 0 0 0 0 1", "camera 0.*rigid"),
        ("world_from_cam.txt", "1 0 0 0 0 1 0 0 0 0 1 0 0 0 1 1", "camera 0.*rigid"),
        ("timestamps.txt", "0\n1", "5 cameras.*2 times"),
        ("intrinsics.txt", "1 2 3 4\n1 2 3 4", "5 frames"),
        ("intrinsics.txt", "0 1 2 3", "focal lengths"),
    ],
)
def test_a_plain_folder_with_a_fault(tmp_path: Path, file: str, content: str, said: str) -> None:
    layouts.plain(tmp_path)
    (tmp_path / "walk" / file).write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        open_dataset("folder", tmp_path)["walk"]
    assert "walk" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_pictures_than_cameras(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    parts.save(tmp_path / "walk" / "rgb" / "000005.png", parts.pictures()[0])
    with pytest.raises(InputError, match="5 frames"):
        list(open_dataset("folder", tmp_path)["walk"])


def test_a_damaged_picture_is_a_bad_frame(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    (tmp_path / "walk" / "rgb" / "000002.png").write_bytes(b"not a picture")
    with pytest.raises(BadFrameError) as caught:
        list(open_dataset("folder", tmp_path)["walk"])
    assert caught.value.index == 2


def test_sparse_depth_lands_on_its_pixels(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    stored = np.arange(2 * 2 * 3, dtype=np.uint16).reshape(2, 2, 3) * 100
    np.savez(tmp_path / "depth_mm.npz", frame=np.array([0, 3]), depth_mm=stored)
    truth = read_truth(tmp_path / "walk" / "world_from_cam.txt", depth=tmp_path / "depth_mm.npz")
    assert truth[1].depth is None
    depth = truth[3].depth
    assert depth is not None
    assert depth.shape == (8, 12)
    for i in range(2):
        for j in range(3):
            assert depth[4 * i + 2, 4 * j + 2] == pytest.approx(stored[1, i, j] / 1000)
    assert np.count_nonzero(depth) == 6
    with pytest.raises(InputError, match="no picture"):
        next(iter(truth))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"depth_mm": np.ones((1, 2, 2))}, "'frame'"),
        ({"frame": np.array([0])}, "'depth_mm'"),
        ({"frame": np.array([5]), "depth_mm": np.ones((1, 2, 2))}, "depth of frame 5"),
        ({"frame": np.array([0.5]), "depth_mm": np.ones((1, 2, 2))}, "whole numbers"),
        ({"frame": np.array([0, 1]), "depth_mm": np.ones((1, 2, 2))}, "\\(frames, rows, columns\\)"),
    ],
)
def test_sparse_depth_with_a_fault(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    layouts.plain(tmp_path)
    np.savez(tmp_path / "depth_mm.npz", **arrays)
    with pytest.raises(InputError, match=said):
        _ = read_truth(tmp_path / "walk" / "world_from_cam.txt", depth=tmp_path / "depth_mm.npz")[0].depth


def _archive(path: Path, shape: tuple[int, ...]) -> None:
    """Depth that declares a shape, and holds less."""
    np.savez(path, frame=np.array([0]))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("depth_mm.npy", header.getvalue() + bytes(64))


def test_depth_that_declares_more_than_memory_is_refused(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    _archive(tmp_path / "depth_mm.npz", (1, 2_000_000, 4_000_000))
    with pytest.raises(InputError, match=r"depth_mm\.npz is not an \.npz of depth: Unable to allocate"):
        _ = read_truth(tmp_path / "walk" / "world_from_cam.txt", depth=tmp_path / "depth_mm.npz")[0].depth


def test_arrays_have_a_ceiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    layouts.plain(tmp_path)
    monkeypatch.setenv("OPENLOGER_MAX_ARRAY_BYTES", "9000")
    np.savez_compressed(tmp_path / "depth_mm.npz", frame=np.array([0]), depth_mm=np.zeros((1, 30, 40)))
    np.save(tmp_path / "a.npy", np.zeros((30, 40)))
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("dataset", shape=(30, 40), dtype="f8", chunks=(1, 40))
    said = r"{}.* has 9,\d* bytes.*OPENLOGER_MAX_ARRAY_BYTES=9\d*"
    with pytest.raises(InputError, match=said.format(r"depth_mm\.npz: 'depth_mm'")):
        _ = read_truth(tmp_path / "walk" / "world_from_cam.txt", depth=tmp_path / "depth_mm.npz")[0].depth
    with pytest.raises(InputError, match=said.format(r"a\.npy")):
        read_depth_npy(tmp_path / "a.npy")
    with pytest.raises(InputError, match=said.format(r"a\.hdf5")):
        read_hdf5(tmp_path / "a.hdf5", "dataset", axes=2)


def test_sparse_depth_makes_no_picture_beyond_the_ceiling(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    np.savez(tmp_path / "depth_mm.npz", frame=np.array([0]), depth_mm=np.ones((1, 30, 40)), pixel_step=np.array(1024))
    with pytest.raises(InputError, match=r"depth_mm\.npz: a frame has 1,258,291,200 pixels.*OPENLOGER_MAX_PIXELS"):
        _ = read_truth(tmp_path / "walk" / "world_from_cam.txt", depth=tmp_path / "depth_mm.npz")[0].depth


def test_depth_that_is_no_depth(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    (tmp_path / "depth_mm.npz").write_text("words")
    with pytest.raises(InputError, match=r"depth_mm\.npz.*not an \.npz"):
        read_truth(tmp_path / "walk" / "world_from_cam.txt", depth=tmp_path / "depth_mm.npz")
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        read_truth(tmp_path / "nowhere.txt")


@settings(derandomize=True, deadline=None)
@given(wanted=TIMES, given_times=TIMES, within=st.integers(0, 40))
def test_nearest_in_time_is_tums_rule(wanted: list[int], given_times: list[int], within: int) -> None:
    """Against the rule written out: all pairs, closest first, none used twice."""
    a, b = np.array(wanted) + 0.25, np.array(given_times, dtype=np.float64)  # no two pairs equally close on both sides
    pairs = sorted((abs(x - y), i, j) for i, x in enumerate(a) for j, y in enumerate(b) if abs(x - y) <= within)
    expected = np.full(len(a), -1)
    used: set[int] = set()
    for _, i, j in pairs:
        if expected[i] < 0 and j not in used:
            expected[i] = j
            used.add(j)
    found = nearest_in_time(a, b, within_s=float(within))
    gaps = [abs(a[i] - b[j]) for i, j in enumerate(found) if j >= 0]
    assert sorted(gaps) == pytest.approx(sorted(abs(a[i] - b[j]) for i, j in enumerate(expected) if j >= 0))
    assert len({j for j in found if j >= 0}) == sum(found >= 0)


def test_cameras_at_given_times_are_the_given_ones() -> None:
    truth, times = parts.cameras(), np.array([0.0, 0.1, 0.25, 0.3, 1.0])
    cameras, known = cameras_at(times, times, truth, within_s=10.0)
    np.testing.assert_allclose(cameras, truth, atol=1e-12)
    assert known.all()
    _, known = cameras_at(np.array([-0.1, 0.05, 0.6, 1.1]), times, truth, within_s=0.5)
    assert known.tolist() == [False, True, False, False]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
@pytest.mark.timeout(20)
def test_what_a_reader_requires_is_a_file(tmp_path: Path) -> None:
    """A laser scan that is a named pipe was waited for."""
    from openloger.datasets.text import require

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(InputError, match=r"is not a file \(a laser scan\)"):
            require(tmp_path / name, "a laser scan")
    assert require(tmp_path, "a folder") == tmp_path


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.exr", read_exr),
        ("a.dpt", sintel.read_depth),
        ("a.bin", lambda path: kitti.scan_depth(path, np.eye(4), np.eye(3), height=8, width=8)),
        ("points3D.bin", lambda path: list(colmap._binary_points(path))),
    ],
)
def test_a_file_of_a_terabyte_is_not_read(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    """Sparse, so it takes no place on the disk; MemoryError is no line."""
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="OPENLOGER_MAX_ARRAY_BYTES"):
        read(tmp_path / name)


def test_annotations_that_unpack_to_more_than_text_has_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(co3d, "MOST_BYTES", 1000)
    with gzip.open(tmp_path / "frame_annotations.jgz", "wb") as file:
        file.write(b"[" + b" " * 2000 + b"]")
    with pytest.raises(InputError, match="unpacked it has more than"):
        co3d.read_annotations(tmp_path / "frame_annotations.jgz")
