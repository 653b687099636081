"""Camera models and their undistorted views: OpenCV's own maps, and laws."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from openloger.errors import InputError
from openloger.geometry import pixel_grid, unproject
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import WIDEST_DEG, view_intrinsics, view_map, view_size

SIZE = (48, 64)
OPENCV = {
    "barrel": CameraModel("opencv", (50.0, 51.0, 33.0, 23.6, -0.28, 0.07, 0.001, -0.0005)),
    "cushion": CameraModel("opencv", (50.0, 51.0, 33.0, 23.6, 0.1, 0.07, 0.001, -0.0005, 0.01)),
    "rational": CameraModel("opencv", (50.0, 51.0, 33.0, 23.6, -0.28, 0.07, 0.001, -0.0005, 0.01, 0.02, 0.01, 0.003)),
}
FISHEYE = {
    "wide": CameraModel("opencv_fisheye", (23.0, 23.1, 33.0, 23.6, 0.02, 0.01, -0.005, 0.001)),
    "past a half space": CameraModel("opencv_fisheye", (15.0, 15.0, 32.0, 24.0, 0.0, 0.0, 0.0, 0.0)),
    "long": CameraModel("opencv_fisheye", (60.0, 60.0, 31.0, 24.5, -0.02, 0.0, 0.0, 0.0)),
}
LENSES = OPENCV | FISHEYE


def in_opencv(camera: CameraModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Its matrix, its coefficients, and its view's matrix, with pixel centres at whole numbers."""
    fx, fy, cx, cy = camera.params[:4]
    view = view_intrinsics(camera, SIZE).numpy().copy()
    view[:2, 2] -= 0.5
    return np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]), np.array(camera.params[4:]), view


@pytest.mark.parametrize("camera", OPENCV.values(), ids=OPENCV)
def test_view_maps_are_those_of_opencv(camera: CameraModel) -> None:
    matrix, coefficients, view = in_opencv(camera)
    theirs = np.stack(cv2.initUndistortRectifyMap(matrix, coefficients, None, view, SIZE[::-1], cv2.CV_32FC1), -1)
    np.testing.assert_allclose(view_map(camera, SIZE).numpy() - 0.5, theirs, atol=1e-3)


@pytest.mark.parametrize("camera", FISHEYE.values(), ids=FISHEYE)
def test_fisheye_view_maps_are_those_of_opencv(camera: CameraModel) -> None:
    matrix, coefficients, view = in_opencv(camera)
    rows = cv2.fisheye.initUndistortRectifyMap(matrix, coefficients, np.eye(3), view, SIZE[::-1], cv2.CV_32FC1)
    np.testing.assert_allclose(view_map(camera, SIZE).numpy() - 0.5, np.stack(rows, -1), atol=1e-3)


@pytest.mark.parametrize("camera", LENSES.values(), ids=LENSES)
def test_opencv_finds_the_way_back(camera: CameraModel) -> None:
    matrix, coefficients, view = in_opencv(camera)
    seen = view_map(camera, SIZE).numpy().reshape(-1, 1, 2) - 0.5
    if camera.name == "opencv_fisheye":
        back = cv2.fisheye.undistortPoints(seen, matrix, coefficients, P=view)
    else:
        enough = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        back = cv2.undistortPoints(seen, matrix, coefficients, R=np.eye(3), P=view, criteria=enough)
    np.testing.assert_allclose(back.reshape(*SIZE, 2) + 0.5, pixel_grid(*SIZE).numpy(), atol=0.05)


PINHOLE = CameraModel("pinhole", (9.0, 8.0, 5.0, 6.0))


@pytest.mark.parametrize("camera", [*LENSES.values(), CameraModel("equirect"), PINHOLE])
def test_unproject_is_the_inverse_of_project(camera: CameraModel) -> None:
    size = (32, 64)
    pixels = pixel_grid(*size, dtype=torch.float64)
    rays = camera.unproject(pixels, size=size)
    torch.testing.assert_close(rays.norm(dim=-1), torch.ones(size, dtype=torch.float64))
    torch.testing.assert_close(camera.project(rays, size=size), pixels, atol=1e-6, rtol=0)


def test_unproject_stops_where_a_distortion_folds_back() -> None:
    camera = CameraModel("opencv", (50.0, 50.0, 32.0, 24.0, -0.3, 0.0, 0.0, 0.0))
    far = camera.unproject(torch.tensor([[3000.0, 24.0]]).double(), size=SIZE)[0]
    assert float(far[0] / far[2]) == pytest.approx(1 / math.sqrt(0.9), abs=0.01)  # r (1 - 0.3 r²) grows up to there
    assert float(far[1]) == 0


@pytest.mark.parametrize("camera", LENSES.values(), ids=LENSES)
def test_a_view_has_no_blank_border_and_is_as_wide_as_can_be(camera: CameraModel) -> None:
    seen, limit = view_map(camera, SIZE), torch.tensor(SIZE[::-1]) - 0.5
    assert bool((seen >= 0.5 - 1e-9).all())
    assert bool((seen <= limit + 1e-9).all())
    fov_deg = 2 * math.degrees(math.atan(SIZE[1] / 2 / view_intrinsics(camera, SIZE)[0, 0]))
    touches = float(torch.minimum(seen - 0.5, limit - seen).min()) < 1e-3
    assert touches or fov_deg == pytest.approx(WIDEST_DEG)


def test_a_view_does_not_depend_on_the_size_it_is_shown_at() -> None:
    camera = OPENCV["barrel"]
    whole, half = view_map(camera, SIZE), view_map(camera, SIZE, to_size=(24, 32))
    means = whole.unflatten(1, (32, 2)).unflatten(0, (24, 2)).mean((1, 3))
    torch.testing.assert_close(half, means, atol=0.02, rtol=0)


def test_a_lens_without_distortion_is_a_pinhole() -> None:
    plain = CameraModel("opencv", (50.0, 51.0, 33.0, 23.6, 0.0, 0.0, 0.0, 0.0))
    assert plain.is_pinhole
    for camera in (plain, CameraModel("pinhole", plain.params[:4])):
        torch.testing.assert_close(view_map(camera, SIZE), pixel_grid(*SIZE, dtype=torch.float64))
        assert view_intrinsics(camera, SIZE)[0, 2] == 33


def test_what_a_camera_cannot_see_is_nan() -> None:
    behind = torch.tensor([[0.1, 0.0, -1.0]], dtype=torch.float64)
    assert bool(OPENCV["barrel"].project(behind, size=SIZE).isnan().all())
    assert bool(FISHEYE["past a half space"].project(behind, size=SIZE).isfinite().all())
    folding = CameraModel("opencv", (50.0, 50.0, 32.0, 24.0, -0.5, 0.0, 0.0, 0.0))  # r - r³/2 grows up to 0.816
    inside, outside = torch.tensor([[0.80, 0.0, 1.0]]).double(), torch.tensor([[0.83, 0.0, 1.0]]).double()
    assert bool(folding.project(inside, size=SIZE).isfinite().all())
    assert bool(folding.project(outside, size=SIZE).isnan().all())


@pytest.mark.parametrize(
    ("yaw", "pitch", "pixel"), [(0, 0, (100, 50)), (90, 0, (150, 50)), (-90, 0, (50, 50)), (0, 45, (100, 25))]
)
def test_a_panoramas_view_looks_where_it_is_told(yaw: float, pitch: float, pixel: tuple[int, int]) -> None:
    camera = CameraModel("equirect", (float(yaw), float(pitch)))
    height, width = view_size(camera, (100, 200))
    middle = view_map(camera, (100, 200), to_size=(3, 3))[1, 1]
    torch.testing.assert_close(middle, torch.tensor(pixel).double())
    assert height / width == pytest.approx(0.75, abs=0.02)


def test_a_panoramas_view_has_its_field_of_view_and_the_panoramas_detail() -> None:
    camera = CameraModel("equirect", (0.0, 0.0, 120.0))
    size = view_size(camera, (1000, 2000))
    rays = unproject(torch.ones(size).double(), view_intrinsics(camera, size))[size[0] // 2, [0, -1]]
    across = math.degrees(math.acos(torch.nn.functional.normalize(rays, dim=-1).prod(0).sum()))
    assert across == pytest.approx(120, abs=0.1)
    seen = view_map(camera, (1000, 2000))
    step = seen[size[0] // 2, size[1] // 2] - seen[size[0] // 2, size[1] // 2 - 1]
    assert step[0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("pinhole", (1.0, 1.0, 2.0), "has 3 values; give pinhole:fx,fy,cx,cy"),
        ("opencv", (1.0,) * 7, "opencv:fx,fy,cx,cy,k1,k2,p1,p2,k3"),
        ("opencv", (1.0, -1.0, *(1.0,) * 6), "positive"),
        ("opencv_fisheye", (1.0,) * 7 + (math.nan,), "finite"),
        ("equirect", (0.0, 95.0), "pitch"),
        ("equirect", (0.0, 0.0, 179.0), "fov"),
    ],
)
def test_what_is_no_camera_is_refused(name: str, params: tuple[float, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        CameraModel(name, params)


def test_a_lens_for_other_pictures_is_refused() -> None:
    with pytest.raises(InputError, match="pixels of these pictures"):
        view_intrinsics(CameraModel("opencv_fisheye", (600.0, 600.0, 960.0, 540.0, 0.1, 0.0, 0.0, 0.0)), SIZE)
