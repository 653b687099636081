"""Cameras as text and from calibration files, and frames undistorted as they stream."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from frames.calibrations import KALIBR, OPENCV

from openloger.errors import InputError
from openloger.frames import open_frames, resize_rgb, resized
from openloger.frames.lenses import read_camera, undistorted
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import CameraRig, view_map
from openloger.values import Frame

SIZE = (60, 80)
BARREL = CameraModel("opencv", (60.0, 60.0, 41.0, 29.0, -0.2, 0.03, 0.001, -0.001))


def smooth(size: tuple[int, int]) -> np.ndarray:
    """A picture that interpolation hardly changes."""
    y, x = np.mgrid[: size[0], : size[1]]
    levels = [128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 8), 128 + 90 * np.sin((x + y) / 14)]
    return np.stack(levels, -1).astype(np.uint8)


def model(name: str, *params: float) -> CameraModel:
    """Of pictures of 480 × 640 pixels."""
    return CameraModel(name, tuple(map(float, params)), (480, 640))


def test_frames_are_undistorted_as_by_opencv() -> None:
    picture = smooth(SIZE)
    (frame,) = undistorted(open_frames([picture]), BARREL)
    x, y = (view_map(BARREL, SIZE).numpy() - 0.5).astype(np.float32).transpose(2, 0, 1)
    theirs = cv2.remap(picture, x, y, cv2.INTER_LINEAR)
    assert np.abs(frame.rgb.astype(int) - theirs).max() <= 2
    assert (frame.native_size, frame.index, frame.name) == (SIZE, 0, "frame_000000")


def test_pictures_shrunk_first_give_the_same_views() -> None:
    picture = smooth((240, 320))
    camera = CameraModel("opencv", (240.0, 240.0, 162.0, 118.0, -0.2, 0.03, 0.001, -0.001))
    frames = open_frames([picture])
    slow = next(iter(resized(undistorted(frames, camera), (30, 40))))
    fast = next(iter(resized(undistorted(frames, camera, then_size=lambda *_: (30, 40)), (30, 40))))
    assert slow.native_size == fast.native_size == (240, 320)
    assert np.abs(slow.rgb.astype(int) - fast.rgb).mean() < 1.5


def test_a_panoramas_seam_is_no_edge() -> None:
    x = np.arange(200)
    row = 128 + 100 * np.cos(2 * np.pi * (x + 0.5) / 200)
    panorama = np.repeat(np.repeat(row[None, :, None], 100, 0), 3, 2).astype(np.uint8)
    (frame,) = undistorted(open_frames([panorama]), CameraModel("equirect", (180.0, 0.0)))
    across = frame.rgb[frame.rgb.shape[0] // 2, :, 0].astype(int)
    assert np.abs(np.diff(across)).max() <= 4
    assert np.abs(across - across[::-1]).max() <= 1
    assert across.max() == across[len(across) // 2]


def test_a_rig_gives_all_views_of_each_panorama() -> None:
    panoramas = [Frame(smooth((100, 200)), index, index / 10, f"pano_{index}.png") for index in range(2)]
    rig = CameraRig.ring(5)
    source = undistorted(open_frames(panoramas), rig)
    views = list(source)
    assert source.length == len(views) == 10
    assert [view.index for view in views] == [0] * 5 + [1] * 5
    assert [view.name for view in views[:2]] == ["pano_0_view0.png", "pano_0_view1.png"]
    assert [view.index for view in source.frames(1)] == [1] * 5
    for view, camera in zip(views, rig.views, strict=False):
        (alone,) = undistorted(open_frames(panoramas[:1]), camera)
        assert np.array_equal(view.rgb, alone.rgb)
        assert view.native_size == alone.native_size


def test_a_rigs_views_look_where_their_rotations_say() -> None:
    """The middle of each view shows what the panorama has in that direction."""
    rig = read_camera("equirect:0,0/120,20/-90,-40")
    assert isinstance(rig, CameraRig)
    size = (360, 720)
    panorama = np.zeros((*size, 3), np.uint8)
    for number, axis in enumerate(rig.rig_from_view[:, :, 2]):
        x, y = CameraModel("equirect").project(axis, size=size).round().int().tolist()
        panorama[y - 9 : y + 10, x - 9 : x + 10, number] = 255
    for number, view in enumerate(undistorted(open_frames([panorama]), rig)):
        height, width = view.rgb.shape[:2]
        middle = view.rgb[height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2]
        assert (middle == 255 * np.eye(3, dtype=np.uint8)[number]).all()


def test_a_rigs_masks_are_those_of_its_views() -> None:
    mask = np.ones((100, 200), bool)
    mask[:, :100] = False  # all to the left
    frame = Frame(smooth((100, 200)), 0, 0.0, "0", mask=mask)
    ahead, right, behind, left = undistorted(
        open_frames([frame]), read_camera("equirect:0,0,60/90,0,60/180,0,60/270,0,60")
    )
    assert right.mask is not None
    assert right.mask.all()
    assert left.mask is not None
    assert not left.mask.any()
    assert ahead.mask is not None
    assert behind.mask is not None
    assert 0.4 < ahead.mask.mean() < 0.6
    assert 0.4 < behind.mask.mean() < 0.6


def test_rigs_as_text() -> None:
    assert read_camera("equirect:rig") == CameraRig.ring(5, 90.0)
    assert read_camera("equirect:rig,4") == CameraRig.ring(4, 108.0)
    assert read_camera("equirect:rig,6,75") == CameraRig.ring(6, 75.0)
    both = read_camera("equirect:0,0/180,0")
    assert both == CameraRig((CameraModel("equirect", (0.0, 0.0)), CameraModel("equirect", (180.0, 0.0))))
    for rig in (both, CameraRig.ring(7)):
        again = read_camera(rig.text)
        assert isinstance(again, CameraRig)
        assert again.text == rig.text
        assert torch.equal(again.rig_from_view, rig.rig_from_view)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("equirect:rig,2", "a ring of 2 views: give 3 to 12"),
        ("equirect:rig,", "give equirect:rig, equirect:rig,VIEWS"),
        ("equirect:rig,4.5", "give equirect:rig, equirect:rig,VIEWS"),
        ("equirect:rig,4,90,1", "give equirect:rig, equirect:rig,VIEWS"),
        ("equirect:rig,four", "give numbers with commas"),
        ("equirect:rig,3,170", "fov from 10 to 150"),
        ("equirect:0,0,90/90,0,80", "one field, not 80 and 90"),
        ("equirect:0,0/360,0", "two views look in the same direction"),
        ("equirect:0/90,0", "has 1 values"),
        ("equirect:" + "/".join(f"{20 * n},0" for n in range(13)), "a rig of 13 views: give 2 to 12"),
    ],
)
def test_text_that_is_no_rig(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_camera(text)


def test_a_pinholes_frames_stay_as_they_are() -> None:
    given = open_frames([smooth(SIZE)])
    (frame,) = undistorted(given, CameraModel("pinhole", (60.0, 50.0, 41.0, 29.0)))
    assert np.array_equal(frame.rgb, smooth(SIZE))


def test_frames_that_were_resized_are_undistorted_alike() -> None:
    (frame,) = undistorted(resized(open_frames([smooth(SIZE)]), (30, 40)), BARREL)
    (whole,) = undistorted(open_frames([smooth(SIZE)]), BARREL)
    assert (frame.rgb.shape, frame.native_size) == ((30, 40, 3), SIZE)
    assert np.abs(frame.rgb.astype(int) - resize_rgb(whole.rgb, (30, 40))).mean() < 2


@pytest.mark.parametrize(
    ("camera", "size", "said"),
    [
        (CameraModel("pinhole", (60.0, 60.0, 400.0, 29.0)), SIZE, "principal point outside pictures of 80×60"),
        (CameraModel("pinhole", (60.0, 60.0, 40.0, 29.0), (120, 160)), SIZE, "for pictures of 160×120 pixels"),
        (CameraModel("equirect"), SIZE, "no panoramas"),
    ],
)
def test_a_camera_of_other_pictures_is_refused(camera: CameraModel, size: tuple[int, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        next(iter(undistorted(open_frames([smooth(size)]), camera)))


def test_text_is_read_back_digit_by_digit() -> None:
    for camera in (BARREL, CameraModel("equirect"), CameraModel("equirect", (1 / 3, -20.0))):
        assert read_camera(camera.text) == camera
    assert read_camera("pinhole: 600,601, 320,240").params == (600, 601, 320, 240)


def test_colmaps_cameras(tmp_path: Path) -> None:
    file = tmp_path / "cameras.txt"
    file.write_text("# CAMERA_ID, MODEL, ...\n1 SIMPLE_RADIAL 640 480 500.5 320 240 -0.1\n")
    assert read_camera(file) == model("opencv", 500.5, 500.5, 320, 240, -0.1, 0, 0, 0)
    file.write_text("3 OPENCV_FISHEYE 640 480 1 2 3 4 5 6 7 8\n4 OPENCV_FISHEYE 640 480 1 2 3 4 5 6 7 8\n")
    assert read_camera(file) == model("opencv_fisheye", 1, 2, 3, 4, 5, 6, 7, 8)


def test_kalibrs_cameras(tmp_path: Path) -> None:
    file = tmp_path / "camchain.yaml"
    file.write_text(KALIBR.format(model="radtan"))
    pinhole = (460.0, 459.0, 367.5, 248.5)
    assert read_camera(file) == CameraModel("opencv", (*pinhole, -0.28, 0.07, 2e-4, 2e-5), (480, 752))
    file.write_text(KALIBR.format(model="equidistant") + KALIBR.format(model="none").replace("cam0", "cam1"))
    assert read_camera(f"{file}#cam0").name == "opencv_fisheye"
    with pytest.raises(InputError, match=r"has cam0, cam1: name one, as .*#cam0"):
        read_camera(file)


def test_opencvs_and_ross_cameras(tmp_path: Path) -> None:
    file = tmp_path / "calibration.yml"
    file.write_text(OPENCV)
    camera = read_camera(file)
    assert camera == model("opencv", 500, 501, 320, 240, -0.1, 0.02, 0.001, 0.002, 0.003)
    ros = OPENCV.replace("!!opencv-matrix", "").replace("%YAML:1.0", "distortion_model: plumb_bob").replace("---", "")
    file.write_text(ros)
    assert read_camera(file) == camera


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "0 different cameras"),
        ("1 PINHOLE 640 480 1 1 2 2\n2 PINHOLE 640 480 3 3 2 2\n", "2 different cameras"),
        ("1 FOV 640 480 1 1 2 2 3\n", "'FOV' is none of"),
        ("1 PINHOLE 640 480 1 1 2\n", "has 4 parameters, and 3"),
        ("1 PINHOLE 640 x 1 1 2 2\n", "no line of a camera"),
    ],
)
def test_a_cameras_txt_that_cannot_be_used(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text(content)
    with pytest.raises(InputError, match=said):
        read_camera(tmp_path / "cameras.txt")


TENFOLD = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 10)]
SIZELESS = ("[.inf, 480]", "[.nan, 480]", "[640, -480]", "[640, 0.5]", "[640]")
BILLION = "x0: &x0 [0]\n" + "".join(TENFOLD)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2", "is no YAML"),
        ("- 1", "holds no calibration"),
        ("a: 1", "has no intrinsics"),
        ("camera_model: omni\nintrinsics: [1, 2, 3, 4]", "'omni' is not supported"),
        ("distortion_model: fov\nintrinsics: [1, 2, 3, 4]", "'fov' is none of"),
        ("intrinsics: [1, 2, 3, x]", "should be numbers"),
        ("a: &a [1, 1]\nintrinsics: *a", "has aliases"),
        (BILLION + "distortion_model: *x9\nintrinsics: [1, 2, 3, 4]", "has aliases"),  # its name would fill the memory
        *((f"intrinsics: [1, 2, 3, 4]\nresolution: {size}", "of no size") for size in SIZELESS),
        ("intrinsics: [1, 2, 3, 4]\nD: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "12 distortion coefficients"),
    ],
)
def test_a_yaml_that_cannot_be_used(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(InputError, match=said):
        read_camera(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fisheye:1,2,3,4", "is no model"),
        ("pinhole:1,2,3", "has 3 values"),
        ("pinhole", "has 0 values"),
        ("opencv:1;2;3", "give numbers with commas"),
        ("missing.yaml", "cannot be read"),
    ],
)
def test_text_that_is_no_camera(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_camera(text)


def test_a_calibration_of_any_kind_of_distortion_is_projected() -> None:
    assert torch.isfinite(view_map(read_camera("opencv_fisheye:40,40,40,30,0,0,0,0"), SIZE)).all()


@pytest.mark.parametrize("upper", [True, False])
def test_a_camera_info_message_as_ros_prints_it(tmp_path: Path, upper: bool) -> None:
    """`rostopic echo -n 1` has K and D, `ros2 topic echo --once` k and d; both end in a separator."""
    matrix, distortion = ("K", "D") if upper else ("k", "d")
    text = f"""header:
  stamp: {{sec: 1, nanosec: 5}}
  frame_id: camera
height: 480
width: 640
distortion_model: plumb_bob
{distortion}: [-0.2, 0.05, 0.001, -0.001, 0.0]
{matrix}: [500.0, 0.0, 319.5, 0.0, 501.0, 239.5, 0.0, 0.0, 1.0]
---
"""
    (tmp_path / "camera.yaml").write_text(text)
    camera = read_camera(str(tmp_path / "camera.yaml"))
    assert camera.params[:4] == (500.0, 501.0, 320.0, 240.0)
    assert camera.params[4:8] == (-0.2, 0.05, 0.001, -0.001)
    assert camera.size == (480, 640)
