"""The image encoder: a DINOv2 vision transformer with register tokens (arXiv 2304.07193, 2309.16588).

Legend: B image, h·w patch, C channel, P patch size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from openloger.network.patches import KeptPatches
from openloger.shapes import Float, Tensor
from openloger.transformer.attention import Block


@dataclass(frozen=True)
class EncoderConfig:
    width: int
    depth: int
    heads: int
    patch: int = 14  # pixels
    registers: int = 4
    position_grid: int = 37  # side of the learned position grid, in patches
    layer_scale: float = 1e-5  # where training from scratch starts; a checkpoint overwrites it


class Encoder(nn.Module):
    """Normalised images to one feature a patch, each image by itself (DINOv2 with registers, arXiv 2309.16588)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width, grid = config.width, config.position_grid
        self.patch = nn.Conv2d(3, width, kernel_size=config.patch, stride=config.patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, 1 + grid * grid, width) * 0.02)
        self.registers = nn.Parameter(torch.randn(1, config.registers, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, config.heads, qk_norm=False, layer_scale=config.layer_scale) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], kept: KeptPatches | None = None
    ) -> Float[Tensor, "batch patch channel"]:
        """Of the patches that are `kept`; the others take no part, and their features are zero."""
        patches = self.patch(images)  # (B, C, h, w)
        class_token, grid = self._positions(*patches.shape[-2:])
        patches = patches.flatten(2).mT + grid  # (B, h·w, C)
        patches = patches if kept is None else kept.pack(patches)
        count = images.shape[0]
        x = torch.cat([class_token.expand(count, -1, -1), self.registers.expand(count, -1, -1), patches], dim=1)
        special = 1 + self.config.registers
        valid = None if kept is None else kept.valid_tokens(special)
        for block in self.blocks:
            x = block(x, valid=valid)
        features = self.norm(x)[:, special:]
        return features if kept is None else kept.unpack(features)

    def _positions(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """The class token with its position, and the position grid resized to this image's patches."""
        side = self.config.position_grid
        grid = self.position[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
        if (rows, columns) != (side, side):
            grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", antialias=True, align_corners=False)
        grid = grid.flatten(2).mT  # (1, h·w, C)
        return self.class_token + self.position[:, :1], grid
