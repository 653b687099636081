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
from openloger.network.patches import KeptPatches
from openloger.network.video_memory import VideoMemory
from openloger.shapes import Float, Int, Tensor
from openloger.transformer.attention import Block, Rotary
from openloger.transformer.share import WindowShare


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
        positions_yx: Float[Tensor, "place 2"],
        memory: VideoMemory,
        *,
        kept: KeptPatches | None = None,
        disabled: Collection[str] = (),
        learns: bool = True,
        padding: int = 0,
        share: WindowShare | None = None,
    ) -> tuple[Float[Tensor, "batch frame token channel2"], VideoMemory]:
        """The tokens after the last two blocks side by side (channel2 = 2C), and the memory for the next window.

        Of the features and positions of all patches, those that are `kept` take part; the tokens are theirs, with
        padding where frames keep different numbers. No other frame attends to the last `padding` frames. With a `share`
        features, roles and tokens are of this process' frames; the memory is of the whole window.
        """
        assert not padding or kept is None, "masks change the number of tokens anyway"
        features = self.embed(features)
        features = features if kept is None else kept.pack(features[0])[None]
        tokens = self._with_special_tokens(features, roles)  # (B, N, L, C)
        batch, frames = tokens.shape[:2]
        places = _Places.of(positions_yx, frames, self.config.width // self.config.heads, kept, self.special_tokens)
        count = (frames - padding) * tokens.shape[2] if padding else None
        last: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            if number % 2 == 0:
                within = block(tokens.flatten(0, 1), places.in_frame, valid=places.valid)
                tokens = within.unflatten(0, (batch, frames))
            else:
                row = block(places.over_window(tokens), places.in_window, count=count, share=share)
                tokens = places.put_back(row, tokens)
            if self.memory is not None and self.memory.has_layer_after(number):
                remembered, memory = self.memory(
                    places.over_window(tokens),
                    memory,
                    block=number,
                    rotary=places.in_window,
                    disabled=disabled,
                    learns=learns,
                    count=count,
                    share=share,
                )
                tokens = places.put_back(remembered, tokens)
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


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the tokens of a window are, and which of them are padding."""

    in_frame: Rotary
    in_window: Rotary
    valid: Tensor | None  # (N, L); None: no padding
    token: Tensor | None  # numbers, over the window, of those that are none

    @staticmethod
    def of(
        positions_yx: Float[Tensor, "token 2"], frames: int, head_dim: int, kept: KeptPatches | None, special: int
    ) -> _Places:
        if kept is None:
            rotary = Rotary.of(positions_yx, head_dim)
            return _Places(rotary, rotary.repeat(frames), None, None)
        positions, valid = kept.positions(positions_yx, special), kept.valid_tokens(special)
        over_window = positions.flatten(0, 1)
        token = None if valid is None else valid.flatten().nonzero()[:, 0]
        return _Places(
            Rotary.of(positions[:, None], head_dim),
            Rotary.of(over_window if token is None else over_window[token], head_dim),
            valid,
            token,
        )

    def over_window(self, tokens: Float[Tensor, "batch frame token channel"]) -> Float[Tensor, "batch token2 channel"]:
        """All tokens of a window in a row, without padding."""
        row = tokens.flatten(1, 2)
        return row if self.token is None else row[:, self.token]

    def put_back(
        self, row: Float[Tensor, "batch token2 channel"], tokens: Float[Tensor, "batch frame token channel"]
    ) -> Float[Tensor, "batch frame token channel"]:
        """The inverse; `tokens` have the padding."""
        if self.token is None:
            return row.unflatten(1, (tokens.shape[1], -1))
        return tokens.flatten(1, 2).to(row.dtype).index_copy(1, self.token, row).unflatten(1, (tokens.shape[1], -1))
