"""Pre-norm transformer blocks with rotary positions (RoPE, arXiv 2104.09864), shared by network and memory.

Legend: B batch, T token, S token of the context (earlier ones first), H head, D head width, C channel (C = H·D).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from openloger.shapes import Bool, Float, Tensor
from openloger.transformer.layers import Linear
from openloger.transformer.share import WindowShare

_ROWS = 256  # as fast as all at once; with fewer it becomes slower
BACKENDS = {  # of torch's fused attention on a card, in torch's own names
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


class Rotary(NamedTuple):
    """Tables that turn queries and keys by their place: a head is split evenly among the axes, y before x in images."""

    cos: Float[Tensor, "token channel"]
    sin: Float[Tensor, "token channel"]
    axes: int = 2

    @staticmethod
    def of(positions: Float[Tensor, "*token axis"], head_dim: int, *, base: float = 100.0) -> Rotary:
        """Angles position · base^(−2i/D'), i < D'/2, in each part of size D' = head_dim / axes, laid out as [f, f]."""
        axes = positions.shape[-1]
        part = head_dim // axes
        exponents = torch.arange(0, part, 2, device=positions.device, dtype=torch.float32) / part
        angles = positions.float()[..., None] * base**-exponents  # (T, axis, D'/2)
        angles = torch.cat([angles, angles], dim=-1).flatten(-2)  # (T, D)
        return Rotary(angles.cos(), angles.sin(), axes)

    def repeat(self, times: int) -> Rotary:
        """The same positions for every frame of a window."""
        return Rotary(self.cos.repeat(times, 1), self.sin.repeat(times, 1), self.axes)

    def __call__(self, x: Float[Tensor, "batch head token channel"]) -> Float[Tensor, "batch head token channel"]:
        a, b = x.unflatten(-1, (self.axes, 2, -1)).unbind(-2)  # the partners of each rotation, (B, H, T, axis, D'/2)
        turned = torch.stack([-b, a], dim=-2).flatten(-3)
        return x * self.cos.to(x.dtype) + turned * self.sin.to(x.dtype)


class KeysValues(NamedTuple):
    """Keys (normed and rotated) and values, as attention takes them."""

    keys: Float[Tensor, "batch head token channel"]
    values: Float[Tensor, "batch head token channel"]
    valid: Bool[Tensor, "batch token"] | None = None  # None: all are; nobody attends to the others

    def with_prefix(self, earlier: KeysValues | None) -> KeysValues:
        """These, preceded by the earlier ones."""
        if earlier is None:
            return self
        keys = torch.cat([earlier.keys.to(self.keys.dtype), self.keys], dim=2)
        values = torch.cat([earlier.values.to(self.values.dtype), self.values], dim=2)
        if earlier.valid is None and self.valid is None:
            return KeysValues(keys, values)
        return KeysValues(keys, values, torch.cat([earlier.validity(), self.validity()], dim=1))

    def first(self, count: int | None) -> KeysValues:
        """Of the first `count` tokens; None: of all."""
        if count is None:
            return self
        valid = None if self.valid is None else self.valid[:, :count]
        return KeysValues(self.keys[:, :, :count], self.values[:, :, :count], valid)

    def gathered(self, share: WindowShare | None) -> KeysValues:
        """Of all frames of a window that processes share; None: as they are."""
        if share is None:
            return self
        assert self.valid is None, "shared windows have no padding"
        keys, values = share.gather(torch.stack([self.keys, self.values]), dim=3).unbind(0)  # in one message
        return KeysValues(keys, values)

    def map(self, change: Callable[[Tensor], Tensor]) -> KeysValues:
        """The same with every tensor changed."""
        return KeysValues(change(self.keys), change(self.values), None if self.valid is None else change(self.valid))

    def validity(self) -> Bool[Tensor, "batch token"]:
        """`valid`, written out."""
        if self.valid is not None:
            return self.valid
        return torch.ones(self.keys.shape[0], self.keys.shape[2], dtype=torch.bool, device=self.keys.device)


def attention_preferring(backends: Sequence[str]) -> AbstractContextManager[object]:
    """While it lasts, torch's attention is computed by the first of these that can (`BACKENDS`), else by one of the
    others; without any, as torch chooses."""
    if not backends:
        return nullcontext()
    others = [name for name in BACKENDS if name not in backends]
    return sdpa_kernel([BACKENDS[name] for name in (*backends, *others)], set_priority=True)


def scaled_dot_product(
    queries: Float[Tensor, "batch head token channel"], context: KeysValues, *, causal: bool = False
) -> Float[Tensor, "batch head token channel"]:
    """softmax(q kᵀ / √D) v, by torch's fused kernel.

    The queries belong to the last tokens of the context. `causal`: each attends to those before it, and to itself.

    In bfloat16 on a CPU it is computed explicitly: the fused kernel multiplies in float32 there and takes twice as long
    (in training, forward and backward, at a pair's tokens five times).
    """
    alone = context.valid is None and context.keys.shape[2] == queries.shape[2]
    visible = None if context.valid is None and (alone or not causal) else _visible(queries, context, causal=causal)
    if queries.device.type == "cpu" and queries.dtype == torch.bfloat16:
        visible = _visible(queries, context, causal=causal) if causal else visible
        return _explicit(queries, context, visible)
    return F.scaled_dot_product_attention(
        queries, context.keys, context.values, attn_mask=visible, is_causal=causal and visible is None
    )


def _visible(queries: Tensor, context: KeysValues, *, causal: bool) -> Bool[Tensor, "#batch 1 token key"]:
    """Who attends to whom; every token to itself, so that what stands for padding stays finite."""
    count, keys = queries.shape[2], context.keys.shape[2]
    own = torch.eye(count, keys, dtype=torch.bool, device=queries.device).roll(keys - count, dims=1)
    seen = torch.ones_like(own)
    if causal:
        seen = seen.tril(keys - count)
    if context.valid is None:
        return seen[None, None]
    return ((seen & context.valid[:, None]) | own)[:, None]


def _explicit(
    queries: Float[Tensor, "batch head token channel"], context: KeysValues, visible: Tensor | None
) -> Float[Tensor, "batch head token channel"]:
    """`_ROWS` queries at a time, so that their weights need little memory, however many tokens there are."""
    keys = context.keys.mT
    parts = (queries * queries.shape[-1] ** -0.5).split(_ROWS, dim=2)
    if visible is None:
        return torch.cat([(part @ keys).softmax(-1) @ context.values for part in parts], dim=2)
    seen = visible.split(_ROWS, dim=2)
    return torch.cat(
        [
            (part @ keys).masked_fill(~rows, -torch.inf).softmax(-1) @ context.values
            for part, rows in zip(parts, seen, strict=True)
        ],
        dim=2,
    )


class Attention(nn.Module):
    """Multi-head self-attention with a fused qkv of feature order (q/k/v, head, d)."""

    def __init__(self, width: int, heads: int, *, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(width // heads) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(width // heads) if qk_norm else nn.Identity()
        self.proj = Linear(width, width)

    def project(
        self, x: Float[Tensor, "batch token channel"], rotary: Rotary | None
    ) -> tuple[Float[Tensor, "batch head token dim"], KeysValues]:
        """Queries, and the keys and values of the same tokens."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        q, k, v = qkv.unbind(0)
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        if rotary is not None:
            q, k = rotary(q), rotary(k)
        return q, KeysValues(k, v)

    def attend(
        self, queries: Float[Tensor, "batch head token dim"], context: KeysValues, *, causal: bool = False
    ) -> Float[Tensor, "batch token channel"]:
        mixed = scaled_dot_product(queries, context, causal=causal)  # (B, H, T, D)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def forward(
        self,
        x: Float[Tensor, "batch token channel"],
        rotary: Rotary | None = None,
        *,
        valid: Bool[Tensor, "batch token"] | None = None,
        causal: bool = False,
        count: int | None = None,
        share: WindowShare | None = None,
    ) -> Float[Tensor, "batch token channel"]:
        """`valid` is False for padding; where all padding is at the end, the `count` of the tokens before it does as
        well, without a mask. With a `share` the tokens attend to all frames of their window."""
        assert share is None or not causal, "what the others have comes before and after"
        queries, own = self.project(x, rotary)
        context = own._replace(valid=valid).first(count).gathered(share)
        return self.attend(queries, context, causal=causal)


class Mlp(nn.Module):
    """Two linear layers around an exact (erf) GELU."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, width * ratio)
        self.fc2 = Linear(width * ratio, width)

    def forward(self, x: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    """A learned factor a channel on a residual branch (CaiT, arXiv 2103.17239)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        return x * self.gamma


class Block(nn.Module):
    """x + scale(attention(norm x)), then x + scale(mlp(norm x)); `layer_scale` None leaves the branches unscaled."""

    def __init__(self, width: int, heads: int, *, qk_norm: bool, layer_scale: float | None, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, qk_norm=qk_norm)
        self.attention_scale = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, mlp_ratio)
        self.mlp_scale = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def apply_residuals(
        self, x: Float[Tensor, "batch token channel"], attended: Float[Tensor, "batch token channel"]
    ) -> Float[Tensor, "batch token channel"]:
        """Apply the attention and MLP residuals."""
        x = x + self.attention_scale(attended)
        return x + self.mlp_scale(self.mlp(self.mlp_norm(x)))

    def forward(
        self,
        x: Float[Tensor, "batch token channel"],
        rotary: Rotary | None = None,
        *,
        valid: Bool[Tensor, "batch token"] | None = None,
        causal: bool = False,
        count: int | None = None,
        share: WindowShare | None = None,
    ) -> Float[Tensor, "batch token channel"]:
        """Arguments as of `Attention`."""
        attended = self.attention(self.attention_norm(x), rotary, valid=valid, causal=causal, count=count, share=share)
        return self.apply_residuals(x, attended)
