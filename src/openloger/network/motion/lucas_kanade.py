"""Fine flow: Lucas–Kanade at stride 4, inverse compositional, coarse to fine, all cells at once.

Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004. Pictures are grey, locally normalised; the gradient and the
2 × 2 normal matrix are the source's, computed once a level. Windows overlap, so the target is warped densely by the
flow between cells and the windows' sums are box filters: a step costs one look-up a pixel and not one for every pixel
of every window.

Legend: P pair, h w pixels of a level, r c cells of stride 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from openloger.shapes import Bool, Float, Int, Tensor

STRIDE = 4  # pixels of the full picture
WINDOW = 8  # pixels of the level
MEAN, DEVIATION = 9, 17  # pixels, the local normalisation
LEAST_DEVIATION = 0.02  # of grey in [0, 1]: less is noise
STEPS_HALF, STEPS_FULL = 5, 3
LARGEST_STEP_PX = 2.0  # of the level
RESIDUAL_SQUARE = 0.1  # normalised grey: a mean squared difference that halves a cell's weight


@dataclass(frozen=True, eq=False)
class Level:
    """One picture at one size, ready to be source or target."""

    grey: Float[Tensor, "image 1 height width"]  # locally normalised, about −2 to 2
    gradient: Float[Tensor, "image 2 height width"]  # (x, y), a pixel
    used: Float[Tensor, "image 1 height width"] | None = None  # 0: a mask hides it, and it has no say; None: none does

    def __getitem__(self, index: Int[Tensor, " image"]) -> Level:
        return Level(self.grey[index], self.gradient[index], None if self.used is None else self.used[index])


@dataclass(frozen=True, eq=False)
class Flow:
    """Where each cell of stride 4 of a source is in its target."""

    shift_px: Float[Tensor, "pair 2 rows columns"]  # (x, y)
    texture: Float[Tensor, "pair rows columns"]  # smallest eigenvalue of the normal matrix, mean over the window
    residual: Float[Tensor, "pair rows columns"]  # root of the mean squared difference left, in normalised grey
    shared: Float[Tensor, "pair rows columns"] | None = None  # share of the window that masks hide in neither picture


Used = Bool[Tensor, "image height width"] | None


def prepare(images: Float[Tensor, "image 3 height width"], used: Used = None) -> tuple[Level, Level]:
    """Half and full size of sRGB pictures in [0, 1], of whose pixels some may not be `used`."""
    grey = _grey(images)
    return _half(grey, used), _level(grey, None if used is None else used[:, None].float())


def prepare_half(images: Float[Tensor, "image 3 height width"], used: Used = None) -> Level:
    """Half size alone; a pixel of it is used where all four are."""
    return _half(_grey(images), used)


def _half(grey: Float[Tensor, "image 1 height width"], used: Used) -> Level:
    half = None if used is None else (F.max_pool2d((~used[:, None]).float(), 2) == 0).float()
    return _level(F.avg_pool2d(grey, 2), half)


def _grey(images: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image 1 height width"]:
    return (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def refine(
    source: tuple[Level, Level], target: tuple[Level, Level], coarse: Float[Tensor, "pair 2 rows8 columns8"]
) -> Flow:
    """From a flow in pixels at stride 8 to one at stride 4; source and target hold one image a pair."""
    rows, columns = (size // STRIDE for size in source[1].grey.shape[-2:])
    shift = F.interpolate(coarse, size=(rows, columns), mode="bilinear", align_corners=False)
    flow = descend(source[0], target[0], shift / 2, steps=STEPS_HALF)
    return descend(source[1], target[1], flow.shift_px * 2, steps=STEPS_FULL)


def descend(
    source: Level, target: Level, shift: Float[Tensor, "pair 2 rows columns"], *, steps: int, smooth_last: bool = False
) -> Flow:
    """Gauss–Newton steps at one size, from `shift`, in its pixels.

    The flow is smoothed after each step, but after the last one only for whoever wants it even where there is little
    texture: means over neighbours shrink how much it varies (by 1 to 5 % where a camera turns, so that focal lengths
    became 2 % too long).
    """
    cells = (shift.shape[-2], shift.shape[-1])
    gx, gy = source.gradient.unbind(1)
    texture, inverse = _invert(_window_mean(torch.stack([gx * gx, gx * gy, gy * gy], 1), cells))
    residual, shared = torch.zeros_like(texture), None
    both = None
    for step in range(steps):
        difference = source.grey - warp(target.grey, shift)
        if step in (0, steps - 1):  # the flow changes little in between
            both = _visible_in_both(source, target, shift)
            shared = None if both is None else _window_mean(both, cells)[:, 0]
        if both is not None:
            difference = difference * both
        moments = _window_mean(torch.cat([source.gradient * difference, difference.square()], 1), cells)
        residual = moments[:, 2].clamp_min(1e-12).sqrt()
        change = _limited(_product(inverse, moments[:, :2]))
        shift = shift + change
        if smooth_last or step < steps - 1:
            weight = texture / (RESIDUAL_SQUARE + residual.square())
            shift = _smooth(shift, weight if shared is None else weight * shared)
    return Flow(shift, texture, residual, shared)


def _visible_in_both(source: Level, target: Level, shift: Tensor) -> Float[Tensor, "pair 1 height width"] | None:
    """1 at the source's pixels that masks hide neither here nor where the flow takes them; None without masks."""
    if target.used is None:
        return source.used
    there = (warp(target.used, shift) > 0.999).to(shift)
    return there if source.used is None else source.used * there


def warp(
    maps: Float[Tensor, "pair channel height width"], shift: Float[Tensor, "pair 2 rows columns"]
) -> Float[Tensor, "pair channel height width"]:
    """The target warped to the source: sampled at every pixel plus the flow, which is interpolated between cells."""
    height, width = maps.shape[-2:]
    dense = F.interpolate(shift, size=(height, width), mode="bilinear", align_corners=False)
    y = torch.arange(height, dtype=maps.dtype, device=maps.device) + 0.5
    x = torch.arange(width, dtype=maps.dtype, device=maps.device) + 0.5
    grid = torch.stack([(dense[:, 0] + x) * (2 / width) - 1, (dense[:, 1] + y[:, None]) * (2 / height) - 1], -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _window_mean(maps: Tensor, cells: tuple[int, int]) -> Tensor:
    """Means over WINDOW × WINDOW pixels around the centres of the cells, by products: thrice as fast as pooling."""
    down, across = (
        _averaging(length, count, maps.dtype, maps.device) for length, count in zip(maps.shape[-2:], cells, strict=True)
    )
    return down @ (maps @ across.mT)


@lru_cache(maxsize=16)
def _averaging(length: int, cells: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "cells length"]:
    """Each row averages the WINDOW pixels around a cell's centre that are in the picture."""
    stride = length // cells
    with torch.inference_mode(False):  # kept tensors may come into a graph later
        first = torch.arange(cells, device=device)[:, None] * stride - (WINDOW - stride) // 2
        pixel = torch.arange(length, device=device)
        inside = ((pixel >= first) & (pixel < first + WINDOW)).to(dtype)
        return inside / inside.sum(dim=1, keepdim=True)


def _invert(normal: Float[Tensor, "pair 3 rows columns"]) -> tuple[Tensor, Tensor]:
    """Smallest eigenvalue, and the inverse with a floor under the eigenvalues that keeps bare walls in place."""
    xx, xy, yy = normal.unbind(1)
    half_trace = (xx + yy) / 2
    apart = (((xx - yy) / 2).square() + xy.square()).clamp_min(1e-12).sqrt()
    floor = 1e-3 + 1e-3 * half_trace
    a, d = xx + floor, yy + floor
    determinant = a * d - xy * xy
    return (half_trace - apart).clamp_min(0), torch.stack([d, -xy, a], 1) / determinant[:, None]


def _product(symmetric: Float[Tensor, "pair 3 rows columns"], vector: Float[Tensor, "pair 2 rows columns"]) -> Tensor:
    """Of (xx, xy, yy) and (x, y)."""
    xx, xy, yy = symmetric.unbind(1)
    x, y = vector.unbind(1)
    return torch.stack([xx * x + xy * y, xy * x + yy * y], 1)


def _limited(step: Float[Tensor, "pair 2 rows columns"]) -> Tensor:
    length = (step * step).sum(1, keepdim=True).clamp_min(1e-12).sqrt()
    return step * (LARGEST_STEP_PX / length).clamp_max(1)


def _smooth(shift: Tensor, weight: Float[Tensor, "pair rows columns"]) -> Tensor:
    """3 × 3 means weighted by texture over residual: what is sure carries what is not."""
    weight = weight[:, None] + 1e-6
    padded = F.pad(torch.cat([shift * weight, weight], 1), (1, 1, 1, 1), mode="replicate")
    mean = F.avg_pool2d(padded, 3, 1)
    return mean[:, :2] / mean[:, 2:]


def _level(grey: Float[Tensor, "image 1 height width"], used: Float[Tensor, "image 1 height width"] | None) -> Level:
    centred = grey - _mean_of_used(grey, used, MEAN)
    deviation = (_mean_of_used(centred.square(), used, DEVIATION).clamp_min(0) + LEAST_DEVIATION**2).sqrt()
    normalised = centred / deviation if used is None else used * centred / deviation
    padded = F.pad(normalised, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    gradient = torch.cat([across, down], 1)
    if used is not None:  # no gradient across the border of a mask
        gradient = gradient * (F.max_pool2d(1 - used, 3, stride=1, padding=1) == 0)
    return Level(normalised, gradient, used)


def _mean_of_used(maps: Tensor, used: Tensor | None, size: int) -> Tensor:
    if used is None:
        return _box(maps, size)
    return _box(maps * used, size) / _box(used, size).clamp_min(1 / size**2)


def _box(maps: Tensor, size: int) -> Tensor:
    """Means over size × size pixels, edges replicated; running sums cost the same for every size."""
    before, after = size // 2 + 1, size // 2
    sums = F.pad(maps, (before, after, before, after), mode="replicate").cumsum(-1)
    sums = (sums[..., size:] - sums[..., :-size]).cumsum(-2)
    return (sums[..., size:, :] - sums[..., :-size, :]) / size**2
