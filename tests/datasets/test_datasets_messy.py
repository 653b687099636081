"""Datasets as they lie on people's disks: clutter, other line ends, frames without cameras."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from datasets import official_layouts as layouts
from datasets import parts
from datasets.official_layouts import LAYOUTS
from datasets.parts import Made, assert_same, read_all

from openloger.datasets import open_dataset, read_timed_truth, read_truth
from openloger.datasets.kitti import scan_depth
from openloger.datasets.text import read_rows
from openloger.errors import InputError

TUM = "rgbd_dataset_freiburg2_desk"
TEXTS = (".txt", ".csv", ".yaml")


@pytest.fixture(params=LAYOUTS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Made]:
    dataset, make = LAYOUTS[request.param]
    return dataset, make(tmp_path)


# What systems and editors leave behind


def test_clutter_is_no_data(made: tuple[str, Made]) -> None:
    """Every file has an AppleDouble beside it, every folder Finder's and Explorer's files, and an archive's twin."""
    dataset, truth = made
    before = read_all(dataset, truth)
    for path in list(truth.folder.rglob("*")):
        if path.is_dir():
            (path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
            (path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
            (path / "desktop.ini").write_bytes(b"[.ShellClassInfo]")
        else:
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
            twin = truth.folder / "__MACOSX" / path.relative_to(truth.folder)
            twin.parent.mkdir(parents=True, exist_ok=True)
            twin.write_bytes(path.read_bytes())
    assert list(open_dataset(dataset, truth.folder)) == [truth.name]
    assert_same(read_all(dataset, truth), before)


@pytest.mark.parametrize("change", ["bom", "crlf", "cr", "blank"])
def test_text_from_other_editors(made: tuple[str, Made], change: str) -> None:
    dataset, truth = made
    before = read_all(dataset, truth)
    for path in truth.folder.rglob("*"):
        if path.suffix in TEXTS:
            data = path.read_bytes().replace(b"\r", b"")
            match change:
                case "bom":
                    data = b"\xef\xbb\xbf" + data
                case "crlf":
                    data = data.replace(b"\n", b"\r\n")
                case "cr":
                    data = data.replace(b"\n", b"\r")
                case _:
                    data = data.rstrip(b"\n") + b" \n\n"
            path.write_bytes(data)
    if change == "cr" and dataset in {"vbr", "euroc"}:
        pytest.skip("YAML of old Macs")
    assert_same(read_all(dataset, truth), before)


def test_decimal_commas_are_never_other_numbers(made: tuple[str, Made]) -> None:
    dataset, truth = made
    texts = [path for path in truth.folder.rglob("*") if path.suffix in (*TEXTS, ".traj", ".pincam")]
    changed = {path: re.sub(r"(?<=\d)\.(?=\d)", ",", path.read_text()) for path in texts}
    if all(path.read_text() == text for path, text in changed.items()):
        pytest.skip("its fractions are in other files")
    for path, text in changed.items():
        path.write_text(text)
    with pytest.raises(InputError):
        read_all(dataset, truth)


@pytest.mark.parametrize("damage", ["utf16", "binary", "nul", "words", "cut", "empty", "ragged", "folder", "device"])
def test_damaged_text_is_one_line_that_names_the_file(made: tuple[str, Made], damage: str) -> None:
    """Each text file of each dataset, one after the other, is damaged; what still reads is fine, a traceback is not."""
    dataset, truth = made
    for path in [one for one in sorted(truth.folder.rglob("*")) if one.suffix in TEXTS]:
        data = path.read_bytes()
        path.unlink()
        match damage:
            case "utf16":
                path.write_bytes(data.decode().encode("utf-16"))
            case "binary":
                path.write_bytes(bytes(range(256)) * 3)
            case "nul":
                path.write_bytes(b"\0" * len(data))
            case "words":
                path.write_bytes(b"once upon a time\n" * 5)
            case "cut":
                path.write_bytes(data[: len(data) * 2 // 3])
            case "empty":
                path.write_bytes(b"")
            case "ragged":
                path.write_bytes(b"1 2 3\n" + data + b"\n4 5\n")
            case "folder":
                path.mkdir()
            case _:
                path.symlink_to("/dev/zero")
        said = ""
        try:
            opened = open_dataset(dataset, truth.folder)
            for name in opened:
                sequence = opened[name]
                _ = [sequence[number].depth for number in range(sequence.length or 0)]
        except InputError as error:
            said = str(error)
        assert "\n" not in said
        assert said or damage not in {"utf16", "nul", "device"}, path
        assert not said or str(truth.folder) in said or truth.name in said, said
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes(data)


def test_decimal_commas_are_named(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("0,000\n0,033\n")
    with pytest.raises(InputError, match=r"times\.txt, line 1: '0,000'.*0\.5"):
        read_rows(path, columns=1, what="times")
    path.write_text("0,1 1 1,5e-3\n")
    with pytest.raises(InputError, match="decimal commas"):
        read_rows(path, columns=3, what="numbers")
    path.write_text("0,1,2\n0.5, 1.5, 2.5 # a comma between numbers\n1e3,-1,+2\n")
    assert read_rows(path, columns=3, what="numbers").tolist() == [[0, 1, 2], [0.5, 1.5, 2.5], [1000, -1, 2]]


@pytest.mark.parametrize("word", ["1_000", "0x10", "1.#FOO", "--1", "½"])
def test_what_only_python_takes_for_a_number_is_none(tmp_path: Path, word: str) -> None:
    (tmp_path / "a.txt").write_text(f"{word}\n")
    with pytest.raises(InputError, match=r"a\.txt, line 1"):
        read_rows(tmp_path / "a.txt", columns=1, what="numbers")


def test_numbers_that_are_not_finite_as_every_library_prints_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nan -inf 1.#INF -1.#INF00 -1.#IND 1.#QNAN0 NaN Infinity # 1\n")
    row = read_rows(tmp_path / "a.txt", columns=8, what="numbers")[0]
    np.testing.assert_array_equal(row, [np.nan, -np.inf, np.inf, -np.inf, np.nan, np.nan, np.nan, np.inf])


# Frames without a camera

LOST = {
    "NaN": ["nan"] * 16,
    "infinite": ["-inf"] * 16,
    "one NaN": ["1", "0", "0", "0", "0", "1", "0", "nan", "0", "0", "1", "0", "0", "0", "0", "1"],
    "Microsoft": ["-1.#IND"] * 16,
    "zeros": ["0"] * 16,
}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize(
    ("dataset", "make", "pose"),
    [
        ("7scenes", layouts.seven_scenes, "chess/seq-01/frame-000003.pose.txt"),
        ("scannet", layouts.scannet, "scans/scene0000_00/pose/3.txt"),
    ],
)
def test_a_pose_that_is_not_finite_or_zero_is_no_camera(
    tmp_path: Path, dataset: str, make, pose: str, lost: str
) -> None:
    truth = make(tmp_path)
    words = LOST[lost]
    (tmp_path / pose).write_text("\n".join(" ".join(words[row : row + 4]) for row in range(0, 16, 4)))
    sequence = open_dataset(dataset, tmp_path)[truth.name]
    assert sequence.world_from_cam(3) is None
    assert sequence[3].depth is not None
    assert sequence.world_from_cam(4) is not None
    (tmp_path / pose).unlink()
    assert open_dataset(dataset, tmp_path)[truth.name].world_from_cam(3) is None


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize(
    ("dataset", "make", "poses", "columns"),
    [
        ("folder", layouts.plain, "walk/world_from_cam.txt", 16),
        ("kitti", layouts.kitti, "dataset/poses/04.txt", 12),
        ("tum", layouts.tum, f"{TUM}/groundtruth.txt", 8),
        ("tartanair", layouts.tartanair, "abandonedfactory/Easy/P000/pose_left.txt", 7),
        ("vkitti2", layouts.vkitti2, "Scene01/clone/extrinsic.txt", 16),
    ],
)
def test_a_row_that_is_not_finite_or_zero_is_no_camera(
    tmp_path: Path, dataset: str, make, poses: str, columns: int, lost: str
) -> None:
    truth = make(tmp_path)
    lines = (tmp_path / poses).read_text().splitlines()
    number = {"tum": 3 + 3, "vkitti2": 1 + 2 * 3}.get(dataset, 3)
    kept = {"tum": 1, "vkitti2": 2}.get(dataset, 0)
    words = lines[number].split()
    lines[number] = " ".join([*words[:kept], *LOST[lost][: columns - (kept == 1)]][: len(words)])
    (tmp_path / poses).write_text("\n".join(lines) + "\n")
    sequence = open_dataset(dataset, tmp_path)[truth.name]
    cameras = [sequence.world_from_cam(frame) for frame in range(5)]
    assert [frame for frame, camera in enumerate(cameras) if camera is None] == (
        [3] if is_lost(lines[number].split()[kept:]) else []
    )


def is_lost(words: list[str]) -> bool:
    return set(words) == {"0"} or any("nan" in word or "inf" in word or "#" in word for word in words)


@pytest.mark.parametrize(("dataset", "make"), [("tum", layouts.tum), ("bonn", layouts.bonn), ("eth3d", layouts.eth3d)])
def test_a_zero_quaternion_is_no_camera(tmp_path: Path, dataset: str, make) -> None:
    truth = make(tmp_path)
    path = tmp_path / truth.name / "groundtruth.txt"
    lines = path.read_text().splitlines()
    lines[5] = f"{lines[5].split()[0]} 0 0 0 0 0 0 0"
    path.write_text("\n".join(lines))
    sequence = open_dataset(dataset, tmp_path)[truth.name]
    assert [sequence.world_from_cam(frame) is None for frame in range(5)] == [False, False, True, False, False]


def test_truth_files_have_frames_without_a_camera(tmp_path: Path) -> None:
    rows = [f"{time} 0 0 {time} 0 0 0 1" for time in range(4)]
    rows[1], rows[2] = "1 nan nan nan nan nan nan nan", "2 0 0 0 0 0 0 0"
    (tmp_path / "truth.txt").write_text("\n".join(rows))
    truth = read_timed_truth(tmp_path / "truth.txt", np.arange(4.0), np.arange(4))
    assert [truth.world_from_cam(frame) is None for frame in range(4)] == [False, True, True, False]
    matrix = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
    (tmp_path / "cameras.txt").write_text(f"{matrix}\n{'nan ' * 16}\n{matrix}\n")
    truth = read_truth(tmp_path / "cameras.txt")
    assert [truth.world_from_cam(frame) is None for frame in range(3)] == [False, True, False]


def test_vbr_and_euroc_pass_over_rows_that_are_lost(tmp_path: Path) -> None:
    made = layouts.vbr(tmp_path)
    path = tmp_path / made.name / "campus_train0_gt.txt"
    lines = path.read_text().splitlines()
    lines[3] = f"{lines[3].split()[0]} nan nan nan 0 0 0 0"
    path.write_text("\n".join(lines))
    cameras = [open_dataset("vbr", tmp_path)[made.name].world_from_cam(frame) for frame in range(5)]
    assert all(camera is not None and np.isfinite(camera).all() for camera in cameras)
    path.write_text("\n".join(f"{line.split()[0]} nan nan nan 0 0 0 0" for line in lines[1:]))
    assert open_dataset("vbr", tmp_path)[made.name].world_from_cam(2) is None


def test_sixteen_bits_full_are_no_depth_in_a_plain_folder(tmp_path: Path) -> None:
    layouts.plain(tmp_path)
    (tmp_path / "walk" / "depth" / "000001.npy").unlink()
    parts.save(tmp_path / "walk" / "depth" / "000001.png", np.array([[65535, 65534], [0, 1500]], dtype=np.uint16))
    depth = open_dataset("folder", tmp_path)["walk"][1].depth
    np.testing.assert_allclose(depth, [[0, 65.534], [0, 1.5]], rtol=1e-6)


# Lists of pictures


def associate(folder: Path, *, depth_first: bool) -> None:
    """TUM's `associate.py`, whose two arguments people give in either order."""
    rgb, depth = (
        [line for line in (folder / name).read_text().splitlines() if line[0] != "#"]
        for name in ("rgb.txt", "depth.txt")
    )
    pairs = zip(depth, rgb, strict=True) if depth_first else zip(rgb, depth, strict=True)
    (folder / "associations.txt").write_text("\n".join(f"{a} {b}" for a, b in pairs))
    (folder / "rgb.txt").unlink()
    (folder / "depth.txt").unlink()


@pytest.mark.parametrize("depth_first", [False, True])
def test_associations_in_either_order(tmp_path: Path, depth_first: bool) -> None:
    truth = layouts.tum(tmp_path)
    before = read_all("tum", truth)
    associate(tmp_path / TUM, depth_first=depth_first)
    assert_same(read_all("tum", truth), before)


@pytest.mark.parametrize("line", ["1 a.png 2 b.png", "1 depth/a.png 2 depth/b.png", "1 rgb/a.png", "x rgb/a 2 depth/a"])
def test_associations_that_do_not_tell_are_refused(tmp_path: Path, line: str) -> None:
    layouts.tum(tmp_path)
    associate(tmp_path / TUM, depth_first=False)
    (tmp_path / TUM / "associations.txt").write_text(line)
    with pytest.raises(InputError, match=r"associations\.txt, line 1"):
        open_dataset("tum", tmp_path)[TUM]


def test_a_list_of_relative_and_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = layouts.tum(tmp_path)
    before = read_all("tum", truth)
    monkeypatch.chdir(tmp_path)
    for name in ("rgb.txt", "depth.txt"):
        path = tmp_path / TUM / name
        lines = path.read_text().splitlines()
        first, _, rest = lines[4].partition(" ")
        lines[4] = f"{first} {tmp_path / TUM / rest}"
        path.write_text("\n".join(lines))
    relative = Made(Path(os.curdir), *list(vars(truth).values())[1:])
    assert_same(read_all("tum", relative), before)


# The readers' own formats


def test_scannet_as_its_newer_tool_names_the_files(tmp_path: Path) -> None:
    truth = layouts.scannet(tmp_path)
    before = read_all("scannet", truth)
    scene = tmp_path / truth.name
    for path in list((scene / "color").iterdir()):
        path.rename(path.with_name(f"frame-{int(path.stem):06d}.color.jpg"))
    for path in list((scene / "depth").iterdir()):
        path.rename(path.with_name(f"frame-{int(path.stem):06d}.depth.png"))
    for path in list((scene / "pose").iterdir()):
        path.rename(path.with_name(f"frame-{int(path.stem):06d}.pose.txt"))
    assert_same(read_all("scannet", truth), before)
    (scene / "color" / "last.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"last\.jpg.*ScanNet"):
        open_dataset("scannet", tmp_path)[truth.name]


@pytest.mark.parametrize("cut", [1, 15, 17])
def test_a_cut_scan_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "000000.bin"
    path.write_bytes(np.ones(8, dtype=np.float32).tobytes()[:-cut])
    with pytest.raises(InputError, match=r"000000\.bin.*cut off"):
        scan_depth(path, np.eye(4), np.eye(3), height=4, width=4)
    with pytest.raises(InputError, match=r"none\.bin"):
        scan_depth(tmp_path / "none.bin", np.eye(4), np.eye(3), height=4, width=4)


@pytest.mark.parametrize(("width", "height"), [(-8, -6), (0, 6), (8, 7), (2**31 - 1, 2**31 - 1)])
def test_sintel_depth_of_another_size_is_named(tmp_path: Path, width: int, height: int) -> None:
    truth = layouts.sintel(tmp_path)
    path = tmp_path / "training" / "depth" / "alley_1" / "frame_0001.dpt"
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack("<ii", width, height) + data[12:])
    with pytest.raises(InputError, match=r"frame_0001\.dpt.*cut off"):
        _ = open_dataset("sintel", tmp_path)[truth.name][0].depth


@pytest.mark.parametrize("cut", [1, 8, 90, 172])
def test_a_cut_camera_of_sintel_is_named(tmp_path: Path, cut: int) -> None:
    truth = layouts.sintel(tmp_path)
    path = tmp_path / "training" / "camdata_left" / "alley_1" / "frame_0002.cam"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"frame_0002\.cam"):
        open_dataset("sintel", tmp_path)[truth.name]
    path.unlink()
    assert open_dataset("sintel", tmp_path)[truth.name].world_from_cam(1) is None


def test_vkitti_that_lost_a_row_keeps_the_others_in_their_place(tmp_path: Path) -> None:
    truth = layouts.vkitti2(tmp_path)
    path = tmp_path / truth.name / "extrinsic.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:3] + lines[5:]))  # frame 1, both cameras
    sequence = open_dataset("vkitti2", tmp_path)[truth.name]
    assert sequence.world_from_cam(1) is None
    np.testing.assert_allclose(sequence.world_from_cam(2), truth.world_from_cam[2], atol=1e-9)


@pytest.mark.parametrize(
    "line", ["2023-13-01T00:00:00", "yesterday", "2023-02-15", "1676473272.25", "9999-01-01T00:00:00"]
)
def test_vbr_times_that_are_none_are_named(tmp_path: Path, line: str) -> None:
    truth = layouts.vbr(tmp_path)
    path = tmp_path / truth.name / "camera_left" / "timestamps.txt"
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:]]))
    with pytest.raises(InputError, match=r"timestamps\.txt"):
        open_dataset("vbr", tmp_path)[truth.name]


def test_vbr_times_with_a_blank_and_a_zone(tmp_path: Path) -> None:
    truth = layouts.vbr(tmp_path)
    path = tmp_path / truth.name / "camera_left" / "timestamps.txt"
    path.write_text("\n".join(f"{line.replace('T', ' ')}Z" for line in path.read_text().splitlines()))
    times = [frame.timestamp_s for frame in open_dataset("vbr", tmp_path)[truth.name]]
    np.testing.assert_allclose(times, truth.timestamps_s, atol=1e-6)


@pytest.mark.parametrize("step", [0, -1, 2_000_000, 2.5, [4, 4], "four"])
def test_a_pixel_step_that_is_none_is_named(tmp_path: Path, step: object) -> None:
    layouts.plain(tmp_path)
    np.savez(tmp_path / "d.npz", frame=np.array([0]), depth_mm=np.ones((1, 2, 2)), pixel_step=np.array(step))
    with pytest.raises(InputError, match=r"d\.npz.*`pixel_step`"):
        _ = read_truth(tmp_path / "walk" / "world_from_cam.txt", depth=tmp_path / "d.npz")[0].depth


@pytest.mark.parametrize("seed", range(60))
def test_a_mutated_file_of_depth_is_one_line(tmp_path: Path, seed: int) -> None:
    """Bytes of .npz, .npy and .png flipped, cut or doubled: other numbers or one line, never a traceback."""
    draw = np.random.default_rng(seed)
    layouts.plain(tmp_path)
    walk = tmp_path / "walk"
    kind = ("npz", "npy", "png")[seed % 3]
    if kind == "npz":
        path = walk / "depth_mm.npz"
        np.savez_compressed(path, frame=np.arange(2), depth_mm=np.ones((2, 4, 4), np.uint16))
    else:
        path = walk / "depth" / f"000000.{kind}"
        np.save(path, np.ones((6, 8), np.float32)) if kind == "npy" else parts.save(path, np.ones((6, 8), np.uint16))
    data = bytearray(path.read_bytes())
    for _ in range(int(draw.integers(1, 5))):
        data[int(draw.integers(len(data)))] = int(draw.integers(256))
    if seed % 4 == 0:
        data = data[: int(draw.integers(len(data)))]
    path.write_bytes(data)
    depth = path if kind == "npz" else path.parent
    said = ""
    try:
        truth = read_truth(walk / "world_from_cam.txt", depth=depth)
        _ = [truth[frame].depth for frame in range(2)]
    except InputError as error:
        said = str(error)
    assert "\n" not in said


def test_euroc_without_truth_and_with_lost_lines(tmp_path: Path) -> None:
    made = layouts.euroc(tmp_path)
    mav0 = tmp_path / "MH_01_easy" / "mav0"
    truth = mav0 / "state_groundtruth_estimate0" / "data.csv"
    lines = truth.read_text().splitlines()
    truth.write_text("\n".join([lines[0], *lines[2:]]))
    sequence = open_dataset("euroc", tmp_path)[made.name]
    assert sequence.world_from_cam(0) is None  # before the first row
    assert sequence.world_from_cam(1) is not None
    truth.unlink()
    assert open_dataset("euroc", tmp_path)[made.name].world_from_cam(1) is None
    (mav0 / "cam0" / "data.csv").write_text("1.5,a.png\n")
    with pytest.raises(InputError, match=r"data\.csv, line 1: '1\.5,a\.png'.*nanoseconds"):
        open_dataset("euroc", tmp_path)[made.name]


def test_a_fisheye_is_not_taken_for_a_pinhole(tmp_path: Path) -> None:
    made = layouts.euroc(tmp_path)
    path = tmp_path / "MH_01_easy" / "mav0" / "cam0" / "sensor.yaml"
    path.write_text(path.read_text().replace("radial-tangential", "equidistant"))
    with pytest.raises(InputError, match=r"sensor\.yaml.*fisheye"):
        open_dataset("euroc", tmp_path)[made.name]
