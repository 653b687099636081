from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from geometry_values import DEVICES, DTYPES, LAW, normal, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from openloger.errors import InputError
from openloger.geometry import (
    fit_intrinsics,
    intrinsics_matrix,
    pixel_grid,
    project,
    scale_intrinsics,
    unproject,
    weighted_median,
)

HEIGHT, WIDTH = 48, 64
CENTRE = (WIDTH / 2, HEIGHT / 2)


def camera(fx: float, fy: float, cx: float, cy: float) -> Tensor:
    return intrinsics_matrix(torch.tensor([fx, fy], dtype=torch.float64), torch.tensor([cx, cy], dtype=torch.float64))


def cameras() -> st.SearchStrategy[Tensor]:
    """Square pixels, 40° to 120° over the width, a principal point up to a tenth of the image off."""
    fov_deg = st.floats(40, 120)
    off = st.floats(-0.1, 0.1)
    focal = fov_deg.map(lambda fov: WIDTH / 2 / math.tan(math.radians(fov) / 2))
    return st.builds(lambda f, x, y: camera(f, f, (0.5 + x) * WIDTH, (0.5 + y) * HEIGHT), focal, off, off)


def depths(frames: int, seed: int) -> Tensor:
    """Uneven everywhere, 0.5 to 8."""
    return torch.exp(normal(frames, HEIGHT, WIDTH, seed=seed).clamp(-2, 2)) + 0.4


def with_outliers(points: Tensor, share: float, seed: int) -> Tensor:
    """That share of the points replaced by others that have nothing to do with their pixel."""
    replaced = torch.rand(points.shape[:-1], generator=torch.Generator().manual_seed(seed)) < share
    return torch.where(replaced[..., None], 3 * normal(*points.shape, seed=seed), points)


def test_pixels_have_their_centres_at_the_half() -> None:
    grid = pixel_grid(2, 3)
    assert grid.tolist() == [[[0.5, 0.5], [1.5, 0.5], [2.5, 0.5]], [[0.5, 1.5], [1.5, 1.5], [2.5, 1.5]]]


@LAW
@given(cameras(), seeds())
def test_projection_undoes_unprojection(intrinsics: Tensor, seed: int) -> None:
    depth = depths(2, seed)
    points = unproject(depth, intrinsics)
    assert_close(points[..., 2], depth)
    assert_close(project(points, intrinsics), pixel_grid(HEIGHT, WIDTH, dtype=torch.float64).expand(2, -1, -1, -1))


def test_a_point_on_the_axis_falls_on_the_principal_point() -> None:
    intrinsics = camera(50, 60, 30, 20)
    assert project(torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64), intrinsics).tolist() == [30, 20]
    assert project(torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64), intrinsics).tolist() == [55, 50]


def test_batch_axes_of_cameras_lead() -> None:
    intrinsics = torch.stack([camera(50, 60, 30, 20), camera(40, 40, 33, 22)])
    depth = depths(2, seed=0)
    points = unproject(depth, intrinsics)
    for frame in range(2):
        assert_close(points[frame], unproject(depth[frame], intrinsics[frame]))
        assert_close(project(points, intrinsics)[frame], project(points[frame], intrinsics[frame]))


@LAW
@given(cameras(), st.tuples(st.integers(1, 500), st.integers(1, 500)), seeds())
def test_intrinsics_scale_with_the_image(intrinsics: Tensor, size: tuple[int, int], seed: int) -> None:
    scaled = scale_intrinsics(intrinsics, from_size=(HEIGHT, WIDTH), to_size=size)
    points = unproject(depths(1, seed), intrinsics)
    factor = torch.tensor([size[1] / WIDTH, size[0] / HEIGHT], dtype=torch.float64)
    assert_close(project(points, scaled), project(points, intrinsics) * factor)
    assert_close(scale_intrinsics(scaled, from_size=size, to_size=(HEIGHT, WIDTH)), intrinsics)


@LAW
@given(cameras(), seeds(), st.floats(0.001, 1000), st.booleans(), st.booleans())
def test_fit_finds_the_camera_of_exact_points(
    intrinsics: Tensor, seed: int, size: float, shared: bool, square: bool
) -> None:
    points = size * unproject(depths(2, seed), intrinsics)
    fit = fit_intrinsics(points, shared=shared, pixel_aspect=1.0 if square else None)
    assert_close(fit.intrinsics, intrinsics.expand(2, 3, 3), rtol=1e-9, atol=1e-9)
    assert float(fit.residual_px.max()) < 1e-9


@LAW
@given(st.floats(30, 100), st.floats(30, 100), seeds())
def test_fit_finds_oblong_pixels_where_asked(fx: float, fy: float, seed: int) -> None:
    intrinsics = camera(fx, fy, 30, 25)
    fit = fit_intrinsics(unproject(depths(1, seed), intrinsics), pixel_aspect=None)
    assert_close(fit.intrinsics[0], intrinsics, rtol=1e-9, atol=1e-9)


@LAW
@given(cameras(), seeds(), st.floats(0.8, 1.25), st.booleans())
def test_fit_undoes_the_stretch_of_a_resize(intrinsics: Tensor, seed: int, aspect: float, shared: bool) -> None:
    """A camera of square pixels, whose image was stretched to fx = aspect * fy."""
    stretched = torch.diag(torch.tensor([aspect, 1.0, 1.0], dtype=torch.float64)) @ intrinsics
    points = unproject(depths(2, seed), stretched)
    fit = fit_intrinsics(points, shared=shared, pixel_aspect=aspect)
    assert_close(fit.intrinsics, stretched.expand(2, 3, 3), rtol=1e-9, atol=1e-9)
    assert float(fit.residual_px.max()) < 1e-9
    noisy = points + 0.02 * points[..., 2:] * normal(*points.shape, seed=seed)
    fitted = fit_intrinsics(noisy, shared=shared, pixel_aspect=aspect).intrinsics
    assert_close(fitted[:, 0, 0], aspect * fitted[:, 1, 1])


def test_a_fit_without_points_has_the_stretched_fallback() -> None:
    blind = fit_intrinsics(torch.full((1, HEIGHT, WIDTH, 3), torch.nan), pixel_aspect=1.25)
    assert blind.intrinsics[0, 0, 0] == pytest.approx(1.25 * blind.intrinsics[0, 1, 1])
    assert blind.residual_px.isinf().all()


@pytest.mark.parametrize("aspect", [0.0, -1.0, math.inf, math.nan])
def test_an_aspect_that_no_pixel_has(aspect: float) -> None:
    with pytest.raises(InputError, match="pixel_aspect"):
        fit_intrinsics(torch.ones(1, HEIGHT, WIDTH, 3), pixel_aspect=aspect)


@LAW
@given(cameras(), seeds(), st.floats(0, 0.35))
def test_fit_bears_outliers(intrinsics: Tensor, seed: int, share: float) -> None:
    points = with_outliers(unproject(depths(1, seed), intrinsics), share, seed + 1)
    fit = fit_intrinsics(points)
    assert_close(fit.intrinsics[0], intrinsics, rtol=1e-3, atol=0.02)
    assert float(fit.residual_px[0]) < 0.05


@LAW
@given(cameras(), seeds(), st.floats(0, 0.3))
def test_fit_bears_noise_and_outliers_together(intrinsics: Tensor, seed: int, share: float) -> None:
    exact = unproject(depths(8, seed), intrinsics)
    noise = 0.02 * exact[..., 2:] * normal(8, HEIGHT, WIDTH, 3, seed=seed + 1)
    fit = fit_intrinsics(with_outliers(exact + noise, share, seed + 2), shared=True)
    assert_close(fit.intrinsics[0, 0, 0], intrinsics[0, 0], rtol=0.01, atol=0)
    assert_close(fit.intrinsics[0, :2, 2], intrinsics[:2, 2], rtol=0, atol=0.4)


CONSPIRACIES = {
    "sky on one ray": (slice(0, HEIGHT // 3), slice(None), lambda points: 0 * points + torch.tensor([0.3, -0.2, 1.0])),
    "far out on one ray": (slice(None), slice(-28, None), lambda points: 0 * points + torch.tensor([1e3, 3e2, 1.0])),
    "half the focal length": (slice(None), slice(-16, None), lambda points: points * torch.tensor([2.0, 2.0, 1.0])),
    "no depth": (slice(0, HEIGHT // 3), slice(None), lambda points: points * torch.tensor([1.0, 1.0, 1e-9])),
}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", CONSPIRACIES)
def test_fit_bears_outliers_that_agree_with_each_other(name: str, shared: bool) -> None:
    rows, columns, spoil = CONSPIRACIES[name]
    intrinsics = camera(50, 50, 30, 25)
    exact = unproject(depths(4, seed=0), intrinsics)
    points = exact + 0.02 * exact[..., 2:] * normal(4, HEIGHT, WIDTH, 3, seed=1)
    points[:, rows, columns] = spoil(points[:, rows, columns]).double()
    fit = fit_intrinsics(points, shared=shared)
    assert_close(fit.intrinsics[:, 0, 0], torch.full((4,), 50, dtype=torch.float64), rtol=0.01, atol=0)
    assert_close(fit.intrinsics[:, :2, 2], intrinsics[:2, 2].expand(4, 2), rtol=0, atol=0.3)


def test_residual_is_the_median_distance_in_pixels() -> None:
    intrinsics = camera(50, 50, *CENTRE)
    depth = depths(1, seed=0)[..., None]
    off_px = 0.5 * normal(1, HEIGHT, WIDTH, 2, seed=1)
    points = unproject(depth[..., 0], intrinsics) + torch.cat([off_px / 50 * depth, 0 * depth], -1)
    assert float(fit_intrinsics(points).residual_px[0]) == pytest.approx(0.5 * math.sqrt(2 * math.log(2)), rel=0.05)


def test_confidence_decides_whom_to_believe() -> None:
    intrinsics = camera(50, 50, 30, 25)
    points = unproject(depths(1, seed=0), intrinsics)
    points[:, :, 20:] = 2 * normal(1, HEIGHT, WIDTH - 20, 3, seed=1)  # two thirds of the picture are wrong
    weight = torch.ones(1, HEIGHT, WIDTH, dtype=torch.float64)
    weight[:, :, 20:] = 0.01
    assert_close(fit_intrinsics(points, weight).intrinsics[0], intrinsics, rtol=2e-3, atol=0.05)
    weight[:, :, 20:] = 0
    assert_close(fit_intrinsics(points, weight).intrinsics[0], intrinsics, rtol=1e-9, atol=1e-9)
    assert_close(fit_intrinsics(points, 1e-6 * weight).intrinsics, fit_intrinsics(points, weight).intrinsics)


@pytest.mark.parametrize("void", [math.nan, math.inf, -math.inf])
def test_unusable_points_and_weights_do_not_count(void: float) -> None:
    intrinsics = camera(50, 50, 30, 25)
    points, weight = unproject(depths(1, seed=0), intrinsics), torch.ones(1, HEIGHT, WIDTH, dtype=torch.float64)
    points[:, :10] = void
    points[:, 10:20] *= -1
    points[:, 20:25, :, 2] = 0
    points[:, 25:30] = 7
    weight[:, 25:30] = void
    assert_close(fit_intrinsics(points, weight).intrinsics[0], intrinsics, rtol=1e-9, atol=1e-9)


def test_fixed_principal_holds_the_centre() -> None:
    points = unproject(depths(3, seed=0), camera(50, 50, *CENTRE))
    noisy = points + 0.05 * normal(*points.shape, seed=1)
    for shared in (False, True):
        fit = fit_intrinsics(noisy, fixed_principal=True, shared=shared)
        assert_close(fit.intrinsics[:, :2, 2], torch.tensor([CENTRE] * 3, dtype=torch.float64))
        assert_close(fit.intrinsics[:, 0, 0], torch.full((3,), 50, dtype=torch.float64), rtol=0.02, atol=0)
        exact = fit_intrinsics(points, fixed_principal=True, shared=shared)
        assert_close(exact.intrinsics, camera(50, 50, *CENTRE).expand(3, 3, 3))


def test_shared_is_one_camera_and_otherwise_each_its_own() -> None:
    intrinsics = torch.stack([camera(f, f, *CENTRE) for f in (45, 50, 60)])
    points = unproject(depths(3, seed=0), intrinsics)
    assert_close(fit_intrinsics(points).intrinsics, intrinsics)
    shared = fit_intrinsics(points, shared=True)
    assert torch.equal(shared.intrinsics[0], shared.intrinsics[2])
    assert 45 < float(shared.intrinsics[0, 0, 0]) < 60
    assert float(shared.residual_px.max()) > 1


@LAW
@given(cameras(), st.integers(1, 4), st.floats(0, 0.3), seeds())
def test_fit_scales_with_the_image(intrinsics: Tensor, factor: int, share: float, seed: int) -> None:
    """The same scene seen at another size gives the scaled camera, outliers or not."""
    size = (HEIGHT * factor, WIDTH * factor)
    depth = depths(1, seed)
    larger = scale_intrinsics(intrinsics, from_size=(HEIGHT, WIDTH), to_size=size)
    points = unproject(depth.repeat_interleave(factor, 1).repeat_interleave(factor, 2), larger)
    expected = scale_intrinsics(
        fit_intrinsics(unproject(depth, intrinsics)).intrinsics, from_size=(HEIGHT, WIDTH), to_size=size
    )
    assert_close(fit_intrinsics(points).intrinsics, expected, rtol=1e-9, atol=1e-9)


def test_a_frame_without_points_borrows_the_median_camera_and_says_so() -> None:
    intrinsics = torch.stack([camera(f, f, 30, 25) for f in (45, 50, 60, 40)])
    points = unproject(depths(4, seed=0), intrinsics)
    points[3] = math.nan
    fit = fit_intrinsics(points)
    assert_close(fit.intrinsics[3], intrinsics[1])
    assert fit.residual_px.isinf().tolist() == [False, False, False, True]
    shared = fit_intrinsics(points, shared=True)
    assert torch.equal(shared.intrinsics[3], shared.intrinsics[0])
    assert shared.residual_px.isinf().tolist() == [False, False, False, True]


def _no_points(points: Tensor) -> Tensor:
    return torch.full_like(points, math.nan)


def _few_points(points: Tensor) -> Tensor:
    few = torch.full_like(points, math.nan)
    few[:, :3, :5] = points[:, :3, :5]
    return few


def _one_point(points: Tensor) -> Tensor:
    return torch.ones_like(points)


def _mirrored(points: Tensor) -> Tensor:
    return points * points.new_tensor([-1.0, -1.0, 1.0])


def _parallel_rays(points: Tensor) -> Tensor:
    return points * points.new_tensor([1e-3, 1e-3, 1.0])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("spoil", [_no_points, _few_points, _one_point, _mirrored, _parallel_rays])
def test_without_any_camera_the_fallback_is_60_degrees_and_says_so(
    spoil: Callable[[Tensor], Tensor], shared: bool
) -> None:
    points = spoil(unproject(depths(2, seed=0), camera(50, 50, 30, 25)))
    fit = fit_intrinsics(points, shared=shared)
    focal = WIDTH / 2 / math.tan(math.radians(30))
    assert_close(fit.intrinsics, camera(focal, focal, *CENTRE).expand(2, 3, 3))
    assert fit.residual_px.isinf().all()


def test_a_map_of_one_row_is_refused() -> None:
    with pytest.raises(InputError, match="1 × 64 pixels"):
        fit_intrinsics(torch.ones(1, 1, 64, 3))


@pytest.mark.parametrize("size", [(2, 4000), (4000, 2), (4, 4), (37, 211), (500, 3)])
def test_any_shape_of_image_will_do(size: tuple[int, int]) -> None:
    intrinsics = camera(max(size), max(size), size[1] / 2, size[0] / 2 + 0.1)
    points = unproject(torch.full((1, *size), 2.0, dtype=torch.float64), intrinsics)
    assert_close(fit_intrinsics(points).intrinsics[0], intrinsics, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", [False, True])
def test_dtype_and_device_stay_and_inputs_are_left_alone(dtype: torch.dtype, device: str, shared: bool) -> None:
    intrinsics = camera(50, 50, 30, 25).to(device, dtype)
    points = unproject(depths(3, seed=0).to(device, dtype), intrinsics)
    points[0, 0, 0] = math.nan
    weight = torch.rand(3, HEIGHT, WIDTH, device=device)  # float32 beside float64 points is welcome
    before = points.clone(), weight.clone()
    fit = fit_intrinsics(points, weight, shared=shared)
    assert_close(points, before[0], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(weight, before[1])
    assert_close(fit.intrinsics, intrinsics.expand(3, 3, 3), rtol=1e-5, atol=1e-5)
    for tensor in (
        fit.residual_px,
        project(points, fit.intrinsics),
        scale_intrinsics(intrinsics, from_size=(4, 4), to_size=(2, 2)),
    ):
        assert tensor.dtype == dtype
        assert tensor.device.type == device


@LAW
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 4)), min_size=1, max_size=12))
def test_weighted_median_is_the_median_of_repeated_values(pairs: list[tuple[int, int]]) -> None:
    values = torch.tensor([value for value, _ in pairs], dtype=torch.float64)
    weight = torch.tensor([count for _, count in pairs], dtype=torch.float64)
    repeated = [float(value) for value, count in pairs for _ in range(count)]
    slow = torch.tensor(repeated).median().item() if repeated else float(values.min())
    assert float(weighted_median(values, weight)) == slow


@LAW
@given(st.lists(st.tuples(st.floats(width=32, allow_nan=False), st.floats(0, 1, width=32)), min_size=1, max_size=40))
def test_weighted_median_of_float32_is_that_of_float64(pairs: list[tuple[float, float]]) -> None:
    """Numbers of both signs, infinite and tiny ones, are sorted as integers."""
    values, weight = torch.tensor(pairs, dtype=torch.float32).T
    slow = weighted_median(values.double(), weight)
    assert torch.equal(weighted_median(values[None], weight[None])[0].double(), slow)
