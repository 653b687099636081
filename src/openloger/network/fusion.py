"""From a pyramid of feature maps to the decoder's tokens: coarse levels projected, correlation with neighbours added.

Legend: B batch, N frame, C decoder width; maps of strides 2, 4, 8, 16, 32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import nn

from openloger.network.correlation import NeighbourCorrelation
from openloger.shapes import Bool, Float, Tensor

Pyramid = tuple[Float[Tensor, "batch frame _ _ _"], ...]  # by stride, from the finest


class Fused(NamedTuple):
    """The inputs of the decoder and the dense head for one window."""

    tokens: Float[Tensor, "batch frame patch channel"]
    motion: Float[Tensor, "batch frame channel2 row8 column8"]  # correlation features at stride 8
    flow: Float[Tensor, "batch frame 4 row8 column8"]  # to the previous and the next frame, (x, y) each, pixels


class PyramidFusion(nn.Module):
    """Tokens at stride 16 of levels 16 and 32 and of what correlates at levels 8 and 16."""

    def __init__(self, channels: tuple[int, ...], width: int, *, motion: int = 64) -> None:
        super().__init__()
        self.correlate8 = NeighbourCorrelation(channels[2], projected=48, width=motion)
        self.correlate16 = NeighbourCorrelation(channels[3], projected=64, width=motion)
        self.norm16, self.norm32 = nn.GroupNorm(1, channels[3]), nn.GroupNorm(1, channels[4])
        self.level16, self.level32 = nn.Conv2d(channels[3], width, 1), nn.Conv2d(channels[4], width, 1)
        self.motion8 = nn.Conv2d(2 * motion, width, 2, stride=2)
        self.motion16 = nn.Conv2d(2 * motion, width, 1)

    def forward(self, pyramid: Pyramid, used: Bool[Tensor, "batch frame height width"] | None = None) -> Fused:
        """`pyramid` of a whole window; a cell correlates where all of its pixels are `used`."""
        batch, frames = pyramid[0].shape[:2]
        motion8, flow = self.correlate8(pyramid[2], used_cells(used, pyramid[2]))
        motion16, _ = self.correlate16(pyramid[3], used_cells(used, pyramid[3]))
        coarse = self.level32(self.norm32(pyramid[4].flatten(0, 1)))
        tokens = (
            self.level16(self.norm16(pyramid[3].flatten(0, 1)))
            + upsampled(coarse, like=pyramid[3])
            + self.motion8(motion8.flatten(0, 1))
            + self.motion16(motion16.flatten(0, 1))
        )
        return Fused(tokens.flatten(2).mT.unflatten(0, (batch, frames)), motion8, 8.0 * flow)


def used_cells(
    used: Bool[Tensor, "batch frame height width"] | None, like: Tensor
) -> Bool[Tensor, "batch frame row column"] | None:
    """Of the cells of a map: those whose pixels are all used."""
    if used is None:
        return None
    return F.adaptive_max_pool2d((~used).float(), like.shape[-2:]) == 0


def upsampled(map: Float[Tensor, "batch channel row column"], *, like: Tensor) -> Float[Tensor, "batch channel _ _"]:
    """Twice as large, bilinearly, cut to the rows and columns of `like`: a level of stride 2s at stride s."""
    rows, columns = like.shape[-2:]
    return F.interpolate(map, scale_factor=2.0, mode="bilinear")[..., :rows, :columns]
