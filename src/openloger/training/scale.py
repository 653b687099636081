"""The one scale that a monocular prediction is free to choose, solved exactly.

s minimises  Σᵢ wᵢ ‖s·p̂ᵢ − pᵢ‖₁ = Σᵢ꜀ wᵢ|p̂ᵢ꜀| · |s − pᵢ꜀/p̂ᵢ꜀| : the weighted median of the ratios pᵢ꜀/p̂ᵢ꜀ with the
weights wᵢ|p̂ᵢ꜀| (MoGe, arXiv 2410.19115, the alignment solver with its shift fixed at zero).
"""

from __future__ import annotations

import torch

from openloger.geometry.cameras import weighted_median
from openloger.shapes import Bool, Float, Int, Tensor

SAMPLES = 4096  # points that the solver looks at, per clip
_TINY = 1e-12


def solve_scale(
    prediction: Float[Tensor, "batch point 3"],
    truth: Float[Tensor, "batch point 3"],
    weight: Float[Tensor, "batch point"],
) -> Float[Tensor, " batch"]:
    """The exact minimiser, without gradient; points of weight 0 do not count. It is kept above 1e-6."""
    prediction, truth = prediction.detach().flatten(1), truth.detach().flatten(1)
    pull = weight.detach().repeat_interleave(3, dim=1) * prediction.abs()
    ratio = truth / torch.where(prediction.abs() > _TINY, prediction, _TINY)
    return weighted_median(ratio, pull).clamp(min=1e-6)


def sample_valid(
    valid: Bool[Tensor, "batch pixel"], *, limit: int = SAMPLES
) -> tuple[Int[Tensor, "batch sample"], Bool[Tensor, "batch sample"]]:
    """Up to `limit` valid pixels a clip, evenly spread over them: their indices, and which of the slots are filled."""
    samples = min(limit, valid.shape[1])
    slot = torch.arange(samples, device=valid.device)[None]
    seen = valid.long().cumsum(dim=1)
    count = seen[:, -1:]
    rank = torch.where(count > samples, slot * count // samples, slot)
    index = torch.searchsorted(seen, (rank + 1).contiguous())
    return index.clamp(max=valid.shape[1] - 1), slot < count


def inverse_depth_weight(
    depth: Float[Tensor, "batch pixel"], valid: Bool[Tensor, "batch pixel"]
) -> Float[Tensor, "batch pixel"]:
    """w = 1/z, with z clamped from below at a tenth of its mean; 0 where there is no depth."""
    floor = 0.1 * masked_mean(depth, valid)[:, None]
    return torch.where(valid, 1 / depth.clamp(min=floor.clamp(min=_TINY)), 0.0)


def masked_mean(value: Float[Tensor, "batch pixel"], mask: Bool[Tensor, "batch pixel"]) -> Float[Tensor, " batch"]:
    """The mean over the mask; 0 where the mask is empty."""
    return torch.where(mask, value, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
