"""Sliding-window attention (LoGeR, arXiv 2603.03269): chunks attend to the previous one's keys and values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from openloger.memory.state import padded_to
from openloger.shapes import Bool, Float, Tensor
from openloger.transformer.attention import Block, KeysValues, Rotary
from openloger.transformer.layers import memory_gate
from openloger.transformer.share import WindowShare


class SlidingWindowAttention(nn.Module):
    """A transformer block over a chunk's tokens whose context reaches one chunk back, behind a learned gate.

    With K', V' the previous chunk's keys and values, and b a pre-norm block (attention, then an MLP of width
    `mlp_ratio`·C, both residual and scaled by `layer_scale`, None for no scale),

        y = b(x; context [K', K], [V', V])
        out = x + y · SiLU(gate(y)),            gate: C → 1, its bias `gate_bias` at first, its weight zero.

    What is exact reaches back by one chunk; stacked layers reach further, a chunk each. Cost of a chunk of T tokens:
    O(T·(T + T')·C + T·C²); state: 2·T·C numbers. `causal`: a token attends to the previous chunk, and of its own to
    what stands before it.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_ratio: int,
        layer_scale: float | None,
        causal: bool = False,
        gate_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.block = Block(width, heads, qk_norm=True, layer_scale=layer_scale, mlp_ratio=mlp_ratio)
        self.gate = memory_gate(width, bias=gate_bias)

    def forward(
        self,
        x: Float[Tensor, "batch token channel"],
        rotary: Rotary | None,
        previous: KeysValues | None,
        *,
        valid: Bool[Tensor, "batch token"] | None = None,
        count: int | None = None,
        to_next: Rotary | None = None,
        share: WindowShare | None = None,
        chunks: int = 1,
    ) -> tuple[Float[Tensor, "batch token channel"], KeysValues]:
        """The tokens with memory added, and this chunk's own keys and values for the next one.

        Args:
            x: The chunk, or as many of equal length as `chunks` has it, one after the other.
            rotary: Places of its tokens; None for no positions.
            previous: What the previous chunk returned.
            valid: False for padding. A row of padding alone keeps what it had.
            count: Of the tokens before the padding, where all padding is at the end of every row; instead of `valid`.
            to_next: Turns the keys that are kept, where the next chunk counts places from another origin: places p here
                are p − n there, so it is the rotary of −n.
            share: Where the chunk is this process' part of a window; what is returned for the next is of all of it.
            chunks: Of several, which have no padding, everything is computed for all of them at once.
        """
        if chunks > 1:
            assert (valid, count, share) == (None, None, None), "several chunks are whole"
            return self._several(x, rotary, previous, to_next, chunks)
        queries, own = self.block.attention.project(self.block.attention_norm(x), rotary)
        own = own._replace(valid=valid).first(count).gathered(share)
        attended = self.block.attention.attend(queries, own.with_prefix(previous), causal=self.causal)
        kept = _kept(own, to_next)
        return self._gated(x, attended), kept if valid is None else _where_fed(valid, kept, previous)

    def _several(
        self, x: Tensor, rotary: Rotary | None, previous: KeysValues | None, to_next: Rotary | None, chunks: int
    ) -> tuple[Tensor, KeysValues]:
        """The first chunk attends to the `previous` one; all others at once, each to the one before it."""
        parts = x.unflatten(1, (chunks, -1)).flatten(0, 1)  # (B n, T, C)
        queries, own = self.block.attention.project(self.block.attention_norm(parts), rotary)
        turned = own if to_next is None else own._replace(keys=to_next(own.keys))
        queries = queries.unflatten(0, (-1, chunks))
        own, kept = (states.map(lambda of: of.unflatten(0, (-1, chunks))) for states in (own, turned))
        first = self._attended(queries[:, :1], own.map(lambda of: of[:, :1]), previous)
        before = kept.map(lambda of: of[:, :-1].flatten(0, 1))
        others = self._attended(queries[:, 1:], own.map(lambda of: of[:, 1:]), before)
        attended = torch.cat([first, others], dim=1).flatten(1, 2)
        return self._gated(x, attended), kept.map(lambda of: of[:, -1].contiguous())

    def _attended(
        self,
        queries: Float[Tensor, "batch chunk head token dim"],
        own: KeysValues,
        previous: KeysValues | None,
    ) -> Float[Tensor, "batch chunk token channel"]:
        """Attention of all chunks as one batch."""
        context = own.map(lambda of: of.flatten(0, 1)).with_prefix(previous)
        return self.block.attention.attend(queries.flatten(0, 1), context, causal=self.causal).unflatten(
            0, queries.shape[:2]
        )

    def _gated(self, x: Tensor, attended: Tensor) -> Tensor:
        y = self.block.apply_residuals(x, attended)
        return x + y * F.silu(self.gate(y))


def _kept(own: KeysValues, to_next: Rotary | None) -> KeysValues:
    """For the next chunk, which counts places from its own start; no view that keeps the whole qkv alive."""
    keys = own.keys if to_next is None else to_next(own.keys)
    return own._replace(keys=keys, values=own.values.contiguous())


def _where_fed(valid: Bool[Tensor, "batch token"], own: KeysValues, previous: KeysValues | None) -> KeysValues:
    """A chunk's own keys and values in rows that hold a token; what was there before in the others."""
    if previous is None:
        return own
    longest = max(own.keys.shape[2], previous.keys.shape[2])
    own, previous = padded_to(own, longest), padded_to(previous, longest)
    fed = valid.any(dim=1)
    return KeysValues(
        torch.where(fed[:, None, None, None], own.keys, previous.keys.to(own.keys.dtype)),
        torch.where(fed[:, None, None, None], own.values, previous.values.to(own.values.dtype)),
        torch.where(fed[:, None], own.validity(), previous.validity()),
    )
