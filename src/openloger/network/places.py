"""Descriptors of places: pooled encoder features of a frame, alike where a camera comes back and looks the same way.

Nothing is trained for it. The map of stride 16 (or the encoder's tokens) is averaged over three columns of the picture,
so that left and right differ, and kept in one byte a number.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from openloger.shapes import Float, Float32, Tensor

STRIPES = 3  # across the picture
MOST_NUMBERS = 384  # of a descriptor; more are folded


def pooled_places(
    maps: tuple[Float[Tensor, "frame ..."], ...], *, size: tuple[int, int]
) -> Float32[Tensor, "frame number"]:
    """Of an encoder's maps: a pyramid (channel, row, column), or one of tokens (row · column, channel), row by row.

    `size` is the number of patches, (rows, columns).
    """
    chosen = maps[-2:][0]  # of a pyramid the last but one
    if len(maps) == 1:
        chosen = chosen.mT.unflatten(-1, size)
    pooled = F.adaptive_avg_pool2d(chosen.float(), (1, STRIPES)).flatten(1)
    if pooled.shape[1] <= MOST_NUMBERS:
        return pooled
    return pooled @ _folding(pooled.shape[1]).to(pooled.device)


def in_bytes(places: Float32[Tensor, "frame number"]) -> Float32[Tensor, "frame number"]:
    """Whole numbers, the largest of a frame 127; their length is not kept."""
    return (127 * places / places.abs().amax(-1, keepdim=True).clamp_min(1e-12)).round()


def place_of_overlap(
    maps: tuple[Float[Tensor, "batch frame ..."], ...], *, size: tuple[int, int], patch: int
) -> Float32[Tensor, " number"] | None:
    """The descriptor of the first frame that a memory has from the previous window, of (height, width) pixels; None: it
    has none."""
    if not maps:
        return None
    first = tuple(level[0, :1] for level in maps)
    return in_bytes(pooled_places(first, size=(size[0] // patch, size[1] // patch)))[0]


def _folding(numbers: int) -> Float32[Tensor, "number number2"]:
    """Signs, the same each time, that keep angles about as they are (Achlioptas, "Database-friendly random
    projections", 2003)."""
    generator = torch.Generator().manual_seed(0)
    return (2.0 * torch.randint(0, 2, (numbers, MOST_NUMBERS), generator=generator) - 1) / MOST_NUMBERS**0.5
