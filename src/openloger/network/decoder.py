"""The decoder: blocks that attend within a frame and over the whole window in turn, as in π³ (arXiv
2507.13347), with the memory layers of LoGeR (arXiv 2603.03269) after some of them.

Legend: B batch, N frame of the window, L = S + h·w tokens a frame (S special ones first), C channel.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from openloger.memory.hybrid import HybridLayers, MemoryConfig
from openloger.network.video_memory import VideoMemory
from openloger.shapes import Float, Int, Tensor
from openloger.transformer.attention import Block, Rotary


@dataclass(frozen=True)
class DecoderConfig:
    width: int
    depth: int  # even: frame and window blocks in turn
    heads: int
    registers: int = 5
    layer_scale: float = 0.01  # where training from scratch starts; a checkpoint overwrites it


class Decoder(nn.Module):
    """Encoder features of one window to the features that the heads read; the memory goes through."""

    def __init__(self, config: DecoderConfig, *, input_width: int, memory: MemoryConfig | None) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Identity() if input_width == config.width else nn.Linear(input_width, config.width)
        self.registers = nn.Parameter(torch.randn(1, 1, config.registers, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, qk_norm=True, layer_scale=config.layer_scale) for _ in range(config.depth)
        )
        self.roles, self.memory = None, None
        if memory is not None:  # a role token a frame: shared with the previous window, own, or shared with the next
            self.roles = nn.ParameterList(torch.randn(1, 1, 1, config.width) * 0.02 for _ in range(3))
            self.memory = HybridLayers(memory, width=config.width, heads=config.heads, layer_scale=config.layer_scale)

    @property
    def special_tokens(self) -> int:
        """The number of tokens in front of each frame's patches."""
        return self.config.registers + (self.roles is not None)

    def positions_yx(self, rows: int, columns: int, device: torch.device) -> Float[Tensor, "token 2"]:
        """Where one frame's tokens are: patch (y, x) at (y + 1, x + 1), special tokens at (0, 0)."""
        y, x = torch.meshgrid(
            torch.arange(rows, device=device) + 1, torch.arange(columns, device=device) + 1, indexing="ij"
        )
        patches = torch.stack([y, x], dim=-1).flatten(0, 1)
        return torch.cat([patches.new_zeros(self.special_tokens, 2), patches]).float()

    def forward(
        self,
        features: Float[Tensor, "batch frame patch channel"],
        roles: Int[Tensor, " frame"],
        positions_yx: Float[Tensor, "token 2"],
        memory: VideoMemory,
        *,
        disabled: Collection[str] = (),
    ) -> tuple[Float[Tensor, "batch frame token channel2"], VideoMemory]:
        """The tokens after the last two blocks side by side (channel2 = 2C), and the memory for the next window."""
        tokens = self._with_special_tokens(self.embed(features), roles)  # (B, N, L, C)
        batch, frames = tokens.shape[:2]
        rotary = Rotary.of(positions_yx, self.config.width // self.config.heads)
        window_rotary = rotary.repeat(frames)
        last: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            if number % 2 == 0:
                tokens = block(tokens.flatten(0, 1), rotary).unflatten(0, (batch, frames))  # within a frame
            else:
                tokens = block(tokens.flatten(1, 2), window_rotary).unflatten(1, (frames, -1))  # over the window
            if self.memory is not None and self.memory.has_layer_after(number):
                remembered, memory = self.memory(
                    tokens.flatten(1, 2), memory, block=number, rotary=window_rotary, disabled=disabled
                )
                tokens = remembered.unflatten(1, (frames, -1))
            last = [*last[-1:], tokens]
        return torch.cat(last, dim=-1), memory

    def _with_special_tokens(
        self, patches: Float[Tensor, "batch frame patch channel"], roles: Int[Tensor, " frame"]
    ) -> Float[Tensor, "batch frame token channel"]:
        batch, frames = patches.shape[:2]
        special = [self.registers.expand(batch, frames, -1, -1)]
        if self.roles is not None:
            special.append(torch.cat(list(self.roles), dim=1)[:, roles].expand(batch, -1, -1, -1))
        return torch.cat([*special, patches], dim=2)
