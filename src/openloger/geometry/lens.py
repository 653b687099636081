"""One camera for a whole video, from numbers of fixed size that each frame's own fit leaves behind.

A frame's fit (`fit_intrinsics`) ends with a weight for each of its samples, which are lines ray = slope · pixel +
offset with one slope and an offset along x and y. The weighted sums of 1, pixel, ray and their products (`STATISTICS`)
are all that a least-squares fit over many frames needs. `fit_lens` adds them up, with Welsch's weights over frames: a
frame whose own camera is far from the shared one ends without influence, as outlying pixels do within a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.geometry.cameras import FIT_STEPS, LEAST_SIGMA_PX, RAYLEIGH_MEDIAN, WELSCH, intrinsics_matrix
from openloger.geometry.cameras import weighted_median as median
from openloger.shapes import Float, Float64, Tensor

STATISTICS = ("1", "pixel x", "pixel y", "ray x", "ray y", "|pixel|²", "pixel · ray", "|ray|²")  # weighted sums


@dataclass(frozen=True, eq=False)
class LensFit:
    """The camera that all frames of a video share."""

    intrinsics: Float64[Tensor, "3 3"]  # pixels of the frames, centres at + 0.5
    residual_px: float  # the weighted median over the frames of the next
    frame_residual_px: Float64[Tensor, " frame"]  # weighted RMS distance of pixel and projected point; inf: no points


def fit_lens(
    statistics: Float[Tensor, "frame 8"], *, size: tuple[int, int], pixel_aspect: float = 1.0
) -> LensFit | None:
    """The camera of frames of `size` (height, width) with fx = `pixel_aspect` · fy; None where no frame was fitted."""
    sums = statistics.double()
    weight = sums[:, 0]
    used = weight > 0
    if not bool(used.any()):
        return None
    own = _solve(sums[used])
    model = torch.stack([median(values, weight[used]) for values in own.T])
    least = _mean_square(own, sums[used])
    for _ in range(FIT_STEPS):
        apart = (_mean_square(model[None], sums[used]) - least).clamp_min(0).sqrt() / model[0].abs()
        sigma = (median(apart, weight[used]) / RAYLEIGH_MEDIAN).clamp_min(LEAST_SIGMA_PX)
        share = (-(apart / (WELSCH * sigma)).square()).exp()
        model = _solve((share[:, None] * sums[used]).sum(0, keepdim=True))[0]
    residual = torch.full_like(weight, torch.inf)
    residual[used] = _mean_square(model[None], sums[used]).clamp_min(0).sqrt() / model[0]
    focal = model.new_tensor([1.0, 1 / pixel_aspect]) / model[0]
    centre = model.new_tensor([size[1] / 2, size[0] / 2])
    return LensFit(
        intrinsics=intrinsics_matrix(focal, centre - model[1:] * focal),
        residual_px=float(median(residual[used], weight[used])),
        frame_residual_px=residual,
    )


def _solve(sums: Tensor) -> Tensor:
    """(slope, offset x, offset y) of each row's least-squares lines."""
    count, pixel, ray = sums[:, :1], sums[:, 1:3], sums[:, 3:5]
    covariance = sums[:, 6] - (pixel * ray).sum(1) / count[:, 0]
    variance = sums[:, 5] - (pixel * pixel).sum(1) / count[:, 0]
    slope = (covariance / variance)[:, None]
    return torch.cat([slope, (ray - slope * pixel) / count], 1)


def _mean_square(model: Tensor, sums: Tensor) -> Tensor:
    """The weighted mean of |slope · pixel + offset − ray|² of each row."""
    slope, offset = model[:, 0], model[:, 1:]
    count, pixel, ray = sums[:, 0], sums[:, 1:3], sums[:, 3:5]
    total = sums[:, 7] - 2 * slope * sums[:, 6] + slope**2 * sums[:, 5]
    total = total + (2 * offset * (slope[:, None] * pixel - ray)).sum(1) + count * (offset**2).sum(1)
    return total / count
