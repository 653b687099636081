"""Sliding-window attention (LoGeR, arXiv 2603.03269): windows attend to the previous one's keys and values."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from openloger.network.attention import Block, KeysValues, Rotary
from openloger.network.layers import closed_gate
from openloger.shapes import Float, Tensor


class SlidingWindowAttention(nn.Module):
    """A transformer block over a window's tokens whose context reaches one window back, behind a learned gate."""

    def __init__(self, width: int, heads: int, *, mlp_ratio: int, layer_scale: float) -> None:
        super().__init__()
        self.block = Block(width, heads, qk_norm=True, layer_scale=layer_scale, mlp_ratio=mlp_ratio)
        self.gate = closed_gate(width)

    def forward(
        self, x: Float[Tensor, "batch token channel"], rotary: Rotary, previous: KeysValues | None
    ) -> tuple[Float[Tensor, "batch token channel"], KeysValues]:
        """The tokens with memory added, and this window's own keys and values for the next one."""
        queries, own = self.block.attention.project(self.block.attention_norm(x), rotary)
        y = self.block.apply_residuals(x, self.block.attention.attend(queries, own.with_prefix(previous)))
        own = KeysValues(own.keys, own.values.contiguous())  # no view that keeps the whole qkv alive until next time
        return x + y * F.silu(self.gate(y)), own
