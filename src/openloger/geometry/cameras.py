"""Pinhole cameras: pixels, points, and the intrinsics that a point map implies.

Pixel (row i, column j) has its centre at x = j + 0.5, y = i + 0.5. A camera without skew sees (X, Y, Z) at
x = fx X / Z + cx, y = fy Y / Z + cy. Intrinsics broadcast as transforms do: their batch axes lead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from openloger.errors import InputError
from openloger.geometry.transforms import lead
from openloger.shapes import Float, Float64, Int, Tensor

FALLBACK_FOV_DEG = 60.0  # over the longer side
FOV_RANGE_DEG = (1.0, 175.0)  # over the longer side; a fit outside is no pinhole camera
FIT_PIXELS = 2048  # sampled on a regular grid, at most, from each frame
FIT_PIXELS_LEAST = 16  # fewer usable points than this give no fit
FIT_STEPS = 6  # more change nothing where fewer than 40 % of the points are outliers
WELSCH = 2.985  # in σ: 95 % efficiency on Gaussian residuals
RAYLEIGH_MEDIAN = 1.1774  # median of the length of a 2-D Gaussian residual, in σ
LEAST_SIGMA_PX = 1e-3


def pixel_grid(
    height: int, width: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "height width 2"]:
    """(x, y) of every pixel's centre."""
    y = torch.arange(height, dtype=dtype or torch.get_default_dtype(), device=device) + 0.5
    x = torch.arange(width, dtype=dtype or torch.get_default_dtype(), device=device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def intrinsics_matrix(
    focal_px: Float[Tensor, "*batch 2"], principal_px: Float[Tensor, "*batch 2"]
) -> Float[Tensor, "*batch 3 3"]:
    """K of (fx, fy) and (cx, cy)."""
    zero, one = torch.zeros_like(focal_px[..., 0]), torch.ones_like(focal_px[..., 0])
    rows = [
        torch.stack([focal_px[..., 0], zero, principal_px[..., 0]], -1),
        torch.stack([zero, focal_px[..., 1], principal_px[..., 1]], -1),
        torch.stack([zero, zero, one], -1),
    ]
    return torch.stack(rows, -2)


def unproject(
    depth: Float[Tensor, "*batch height width"], intrinsics: Float[Tensor, "*intrinsics 3 3"]
) -> Float[Tensor, "*batch height width 3"]:
    """Camera-frame points of a map of depths along z."""
    height, width = depth.shape[-2:]
    pixels = pixel_grid(height, width, dtype=depth.dtype, device=depth.device)
    focal, principal = _focal_principal(intrinsics, depth[..., None])
    return torch.cat([(pixels - principal) / focal * depth[..., None], depth[..., None]], -1)


def project(
    points_cam: Float[Tensor, "*axes 3"], intrinsics: Float[Tensor, "*intrinsics 3 3"]
) -> Float[Tensor, "*axes 2"]:
    """The pixel (x, y) that each camera-frame point falls on. It means nothing where z ≤ 0: mask those."""
    focal, principal = _focal_principal(intrinsics, points_cam)
    return focal * points_cam[..., :2] / points_cam[..., 2:] + principal


def centred_intrinsics(focal_px: Float[Tensor, " *batch"], *, size: tuple[int, int]) -> Float[Tensor, "*batch 3 3"]:
    """K of square pixels with the principal point in the middle of a picture of (height, width).

    Raises InputError for a focal length that is not positive.
    """
    if not bool((focal_px > 0).all()):
        raise InputError(f"a focal length is {focal_px.min().item():g} px; it must be positive")
    middle = focal_px.new_tensor([size[1] / 2, size[0] / 2]).expand(*focal_px.shape, 2)
    return intrinsics_matrix(focal_px[..., None].expand(*focal_px.shape, 2), middle)


def scale_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"], *, from_size: tuple[int, int], to_size: tuple[int, int]
) -> Float[Tensor, "*batch 3 3"]:
    """K of the image resized from (height, width) to (height, width)."""
    (from_height, from_width), (to_height, to_width) = from_size, to_size
    factors = intrinsics.new_tensor([to_width / from_width, to_height / from_height, 1.0])
    return factors[:, None] * intrinsics


@dataclass(frozen=True, eq=False)
class IntrinsicsFit:
    """Pinhole cameras fitted to point maps."""

    intrinsics: Float[Tensor, "frame 3 3"]
    residual_px: Float[Tensor, " frame"]  # weighted median distance of pixel and projected point; inf: not measured
    sums: Callable[[], Float64[Tensor, "frame 8"]] | None = None  # computes `statistics`

    @cached_property
    def statistics(self) -> Float64[Tensor, "frame 8"] | None:
        """What `fit_lens` takes, zeros where nothing was fitted; None for a camera that is shared or known."""
        return None if self.sums is None else self.sums()


def fit_intrinsics(
    points_cam: Float[Tensor, "frame height width 3"],
    weight: Float[Tensor, "frame height width"] | None = None,
    *,
    shared: bool = False,
    fixed_principal: bool = False,
    pixel_aspect: float | None = 1.0,
) -> IntrinsicsFit:
    """The camera of every frame, or with `shared` one for all, that best explains which pixel saw which point.

    The pixel is exact and the point is noisy, so the ray is the response: (X/Z, Y/Z) = (pixel − principal) / focal,
    linear in 1/focal and unbiased by noise. Start: the weighted median slope over pairs of pixels half an image apart
    and the weighted median offset. Then iteratively reweighted least squares with Welsch's weights exp(-(r / cσ)²), σ
    from the weighted median residual: points that agree on a wrong camera (a sky, a wall seen too near) end without a
    say, where Cauchy's or Huber's weights would leave them a pull of several times the noise. `fixed_principal` holds
    the principal point at the image's centre. fx = `pixel_aspect` · fy, which is 1 for square pixels and the ratio of
    the resize where square pixels were stretched by one; None fits both focal lengths.

    Points that are not finite or have z ≤ 0, and pixels whose weight is not finite and positive, are left out. A frame
    whose points give no pinhole camera (too few, or a field of view outside 1° to 175°) has `residual_px` inf and
    takes the median camera of the frames that do, or, where none does, 60° over the longer side with the principal
    point at the centre. With `shared`, a frame without points has the shared camera and `residual_px` inf.
    No gradient flows through the fit. Raises InputError for maps of fewer than 2 × 2 pixels.
    """
    height, width = points_cam.shape[1:3]
    if min(height, width) < 2:
        raise InputError(f"a point map of {height} × {width} pixels gives no camera; it needs at least 2 × 2")
    if pixel_aspect is not None and not (math.isfinite(pixel_aspect) and pixel_aspect > 0):
        raise InputError(f"pixel_aspect={pixel_aspect:g}: give fx / fy, a positive number, or None to fit both")
    aspect = pixel_aspect or 1.0
    samples = _sample(points_cam, weight, aspect=aspect)
    pooled = samples.pooled() if shared else samples
    model = _fit(pooled, fixed_principal=fixed_principal, square_pixels=pixel_aspect is not None)
    fitted = _is_pinhole(model, pooled, size=(height * aspect, float(width)))
    sums = None if shared else partial(_statistics, model, samples, fitted)
    if shared:
        model, fitted = model.expand(len(points_cam), 2, 2), fitted.expand(len(points_cam))
    model = torch.where(fitted[:, None, None], model, _fallback(model[fitted], size=(height * aspect, float(width))))
    per_row = model.new_tensor([1.0, 1 / aspect])  # pixels of the map for one of the fit's, along x and y
    residual = weighted_median(_residual_px(model, samples, per_row), samples.weight)
    focal, offset = per_row / model[..., 0], model[..., 1]
    centre = model.new_tensor([width / 2, height / 2])
    return IntrinsicsFit(
        intrinsics=intrinsics_matrix(focal, centre - offset * focal),
        residual_px=torch.where(fitted & (samples.weight > 0).any(-1), residual, torch.inf),
        sums=sums,
    )


def known_camera(
    points_cam: Float[Tensor, "frame height width 3"],
    intrinsics: Float[Tensor, "3 3"],
    weight: Float[Tensor, "frame height width"],
) -> IntrinsicsFit:
    """A camera that is known, for every frame, and by how much the points miss it; inf for a frame without weight."""
    height, width = points_cam.shape[1:3]
    grid = pixel_grid(height, width, dtype=points_cam.dtype, device=points_cam.device)
    miss = (project(points_cam, intrinsics.to(points_cam)) - grid).norm(dim=-1).flatten(1)
    weight = torch.where(points_cam[..., 2].flatten(1) > 0, weight.flatten(1).to(miss), 0.0)
    weight = torch.where(miss.isfinite(), weight, 0.0)
    residual_px = weighted_median(torch.where(weight > 0, miss, torch.inf), weight)
    return IntrinsicsFit(intrinsics.expand(len(points_cam), 3, 3), residual_px)


def weighted_median(
    values: Float[Tensor, "*batch sample"], weight: Float[Tensor, "*batch sample"]
) -> Float[Tensor, "*batch"]:
    """The least value with at least half of the weight at or below it; the smallest value where all weights are 0."""
    order = _order(values.detach())
    below = weight.gather(-1, order).cumsum(-1)
    middle = torch.searchsorted(below, below[..., -1:] / 2).clamp_max(values.shape[-1] - 1)
    return values.gather(-1, order.gather(-1, middle)).squeeze(-1)


def _order(values: Float[Tensor, "*batch sample"]) -> Int[Tensor, "*batch sample"]:
    """The indices that sort the last axis. On a CPU numpy takes a sixth of torch's time, but lacks bfloat16.

    It sorts numbers in half the time of their indices, so those of float32 are sorted with their indices behind them:
    as integers, its bits are in the numbers' order, where the rest of a negative number's is flipped.
    """
    if values.device.type != "cpu" or values.dtype == torch.bfloat16:
        return values.argsort(-1)
    numbers = values.numpy()
    if numbers.dtype != np.float32:
        return torch.from_numpy(np.argsort(numbers, axis=-1))
    bits = numbers.view(np.int32)
    keys = (bits ^ ((bits >> 31) & np.int32(2**31 - 1))).astype(np.int64) << 32
    keys |= np.arange(numbers.shape[-1])
    keys.sort(axis=-1)
    return torch.from_numpy(keys & (2**32 - 1))


# A camera below is a pair of lines, "frame 2 2": for x and for y, slope 1/focal and offset, with
# ray = slope * pixel + offset and pixels counted from the image's centre; along y in units of a pixel's width, so that
# one slope serves both where the pixels' aspect is known.


@dataclass(frozen=True, eq=False)
class _Samples:
    ray: Tensor  # (frame, sample, 2): X/Z, Y/Z; 0 where the weight is 0
    weight: Tensor  # (frame, sample): at most 1
    pixel: Tensor  # (sample or frame·sample, 2), from the image's centre
    grid: tuple[int, int]  # rows and columns of one frame's samples

    def pooled(self) -> _Samples:
        frames = len(self.ray)
        return _Samples(
            self.ray.flatten(0, 1)[None], self.weight.flatten()[None], self.pixel.repeat(frames, 1), self.grid
        )


def _sample(points_cam: Tensor, weight: Tensor | None, *, aspect: float) -> _Samples:
    height, width = points_cam.shape[1:3]
    step = max(1, math.ceil(math.sqrt(height * width / FIT_PIXELS)))
    rows, columns = (slice(s // 2, None, s) for s in (min(step, max(1, size // 2)) for size in (height, width)))
    points = points_cam.detach()[:, rows, columns].contiguous()
    weights = torch.ones_like(points[..., 0]) if weight is None else weight.detach()[:, rows, columns].to(points.dtype)
    pixel = pixel_grid(height, width, dtype=points.dtype, device=points.device)[rows, columns]
    ray = points[..., :2] / points[..., 2:]
    usable = (points[..., 2] > 0) & (points[..., 2] < torch.inf)  # so X and Y are finite where the ray is
    usable &= ray[..., 0].isfinite() & ray[..., 1].isfinite()
    usable &= weights.isfinite() & (weights > 0)
    weights = torch.where(usable, weights, 0.0)
    largest = weights.flatten(1).amax(1)[:, None, None]
    return _Samples(
        ray=torch.where(usable[..., None], ray, 0.0).flatten(1, 2),
        weight=(weights / torch.where(largest > 0, largest, 1.0)).flatten(1, 2),
        pixel=((pixel - pixel.new_tensor([width / 2, height / 2])) * pixel.new_tensor([1.0, aspect])).flatten(0, 1),
        grid=(points.shape[1], points.shape[2]),
    )


def _fit(samples: _Samples, *, fixed_principal: bool, square_pixels: bool) -> Tensor:
    model = _start(samples, fixed_principal=fixed_principal, square_pixels=square_pixels)
    for _ in range(FIT_STEPS):
        weight = _robust_weight(model, samples)
        model = _least_squares(samples, weight, fixed_principal=fixed_principal, square_pixels=square_pixels)
    return model


def _robust_weight(model: Tensor, samples: _Samples) -> Tensor:
    residual = _residual_px(model, samples)
    sigma = weighted_median(residual, samples.weight)[:, None] / RAYLEIGH_MEDIAN
    return samples.weight * (-(residual / (WELSCH * sigma.clamp_min(LEAST_SIGMA_PX))).square()).exp()


def _statistics(model: Tensor, samples: _Samples, fitted: Tensor) -> Tensor:
    """The weighted sums named by `lens.STATISTICS`, (frame, 8), with the fit's last weights; 0 but where `fitted`."""
    weight, pixel, ray = _robust_weight(model, samples).double(), samples.pixel.double(), samples.ray.double()
    each = torch.cat(
        [
            torch.ones_like(ray[..., :1]),
            pixel.expand_as(ray),
            ray,
            pixel.square().sum(-1, keepdim=True).expand_as(ray[..., :1]),
            (pixel * ray).sum(-1, keepdim=True),
            ray.square().sum(-1, keepdim=True),
        ],
        -1,
    )
    return torch.where(fitted[:, None], (weight[..., None] * each).sum(1), 0.0)


def _start(samples: _Samples, *, fixed_principal: bool, square_pixels: bool) -> Tensor:
    """Weighted median slope over pairs of samples half an image apart, then the weighted median offset."""
    slopes = [_pair_slopes(samples, axis=0), _pair_slopes(samples, axis=1)]
    if square_pixels:
        slopes = [tuple(torch.cat(both, -1) for both in zip(*slopes, strict=True))]
    slope = torch.stack([weighted_median(values, weight) for values, weight in slopes], -1).expand(-1, 2)
    if fixed_principal:
        return torch.stack([slope, torch.zeros_like(slope)], -1)
    offsets = samples.ray - _each_sample(slope, samples) * samples.pixel
    offset = [weighted_median(offsets[..., axis], samples.weight) for axis in (0, 1)]
    return torch.stack([slope, torch.stack(offset, -1)], -1)


def _pair_slopes(samples: _Samples, *, axis: int) -> tuple[Tensor, Tensor]:
    """Difference of rays over difference of pixels along x (axis 0) or y (axis 1), and the lesser weight."""
    frames, along = len(samples.ray), (-1, -2)[axis]
    ray = samples.ray[..., axis].reshape(frames, -1, *samples.grid)
    pixel = samples.pixel[..., axis].reshape(-1, *samples.grid)
    weight = samples.weight.reshape(frames, -1, *samples.grid)
    size = samples.grid[along]
    half, rest = size // 2, size - size // 2
    slope = (ray.narrow(along, rest, half) - ray.narrow(along, 0, half)) / (
        pixel.narrow(along, rest, half) - pixel.narrow(along, 0, half)
    )
    lesser = torch.minimum(weight.narrow(along, rest, half), weight.narrow(along, 0, half))
    return slope.flatten(1), lesser.flatten(1)


def _least_squares(samples: _Samples, weight: Tensor, *, fixed_principal: bool, square_pixels: bool) -> Tensor:
    tiny = torch.finfo(weight.dtype).tiny
    both = torch.view_as_real(torch.complex(weight, weight))  # along x and y
    if fixed_principal:
        pixel_mean = ray_mean = torch.zeros_like(samples.ray[:, 0])
        pixel, ray = samples.pixel, samples.ray
    else:
        total = weight.sum(1, keepdim=True).clamp_min(tiny)
        pixel_mean = (both * samples.pixel).sum(1) / total
        ray_mean = (both * samples.ray).sum(1) / total
        pixel, ray = samples.pixel - _each_sample(pixel_mean, samples), samples.ray - _each_sample(ray_mean, samples)
    weighted_pixel = both * pixel
    covariance, variance = (weighted_pixel * ray).sum(1), (weighted_pixel * pixel).sum(1)
    if square_pixels:
        covariance, variance = covariance.sum(-1, keepdim=True), variance.sum(-1, keepdim=True)
    slope = (covariance / variance.clamp_min(tiny)).expand(-1, 2)
    return torch.stack([slope, ray_mean - slope * pixel_mean], -1)


def _residual_px(model: Tensor, samples: _Samples, per_row: Tensor | float = 1.0) -> Tensor:
    """Distance of each sample's pixel from its projected point, along x and y in units of 1 / `per_row`."""
    slope, offset = model[..., 0], model[..., 1]
    error = _each_sample(slope, samples) * samples.pixel + _each_sample(offset, samples) - samples.ray
    least = slope.abs().clamp_min(torch.finfo(error.dtype).eps ** 2)
    return torch.linalg.vector_norm(error / _each_sample(least, samples) * per_row, dim=-1)


def _each_sample(values: Tensor, samples: _Samples) -> Tensor:
    """(frame, sample, 2) of (frame, 2). To broadcast two numbers at a time takes ten times as long as to copy them."""
    whole = torch.view_as_complex(values.contiguous())[:, None]
    return torch.view_as_real(whole.expand(-1, samples.ray.shape[1]).contiguous())


def _is_pinhole(model: Tensor, samples: _Samples, *, size: tuple[float, float]) -> Tensor:
    least, most = (math.tan(math.radians(fov) / 2) for fov in FOV_RANGE_DEG)
    half_extent = model[..., 0] * max(size) / 2
    in_range = ((half_extent >= least) & (half_extent <= most)).all(-1)
    return in_range & ((samples.weight > 0).sum(-1) >= FIT_PIXELS_LEAST)


def _fallback(fitted: Tensor, *, size: tuple[float, float]) -> Tensor:
    if len(fitted) > 0:
        return fitted.median(0).values
    slope = 2 * math.tan(math.radians(FALLBACK_FOV_DEG) / 2) / max(size)
    return fitted.new_tensor([[slope, 0.0], [slope, 0.0]])


def _focal_principal(intrinsics: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """(fx, fy) and (cx, cy), shaped to broadcast against `points`."""
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], -1)
    focal, principal = lead(points, focal, intrinsics[..., :2, 2], batch=intrinsics.ndim - 2)
    return focal, principal
