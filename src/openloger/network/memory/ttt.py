"""Test-time training: fast weights that learn the video while it runs (LaCT, arXiv 2505.23884; LoGeR, 2603.03269).

A layer holds a small gated network f(u) = (SiLU(u w0) ⊙ (u w2)) w1 per head. A window first *applies* the weights that
came in, o = f(q), then *updates* them with its own keys and values, one step on −⟨f(k), v⟩ whose gradient is
orthogonalised (Muon), so that the next window finds them changed.

Legend: B batch, T token (all of a window), H head, d head width, e = expansion·d hidden width, C channel (C = H·d).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from openloger.network.layers import Linear, closed_gate
from openloger.shapes import Float, Tensor

_INITIAL_LEARNING_RATE = 0.01


class FastWeights(NamedTuple):
    """The state of one layer: what it has learned of the video so far."""

    w0: Float[Tensor, "batch head dim hidden"]
    w1: Float[Tensor, "batch head hidden dim"]
    w2: Float[Tensor, "batch head dim hidden"]


class LearningRates(NamedTuple):
    """One step size per token, for each of the three weights."""

    w0: Float[Tensor, "batch head token 1"]
    w1: Float[Tensor, "batch head token 1"]
    w2: Float[Tensor, "batch head token 1"]


def apply(weights: FastWeights, u: Float[Tensor, "batch head token dim"]) -> Float[Tensor, "batch head token dim"]:
    """The fast network of LaCT (arXiv 2505.23884): f(u) = (SiLU(u w0) ⊙ (u w2)) w1."""
    return (F.silu(u @ weights.w0) * (u @ weights.w2)) @ weights.w1


def gradient(
    weights: FastWeights,
    k: Float[Tensor, "batch head token dim"],
    v: Float[Tensor, "batch head token dim"],
    rates: LearningRates,
) -> FastWeights:
    """The descent direction of LaCT's objective −Σ_tokens ⟨f(k), v⟩, each token weighted by its learning rates."""
    g, m = k @ weights.w0, k @ weights.w2  # (B, H, T, e)
    sigmoid = torch.sigmoid(g)
    silu = g * sigmoid
    dh = v @ weights.w1.mT
    dm = dh * silu
    dg = dh * m * sigmoid * (1 + g * (1 - sigmoid))
    return FastWeights(
        (k * rates.w0).mT @ dg.to(k.dtype),
        (silu * m * rates.w1).mT @ v.to(rates.w1.dtype),
        (k * rates.w2).mT @ dm.to(k.dtype),
    )


def newton_schulz(
    matrices: Float[Tensor, "*batch row column"], *, dtype: torch.dtype, steps: int = 5
) -> Float[Tensor, "*batch row column"]:
    """The nearest (semi-)orthogonal matrices, roughly, by the quintic iteration of Muon; rows ≤ columns.

    In bfloat16 the iteration amplifies rounding: 2e-7 of input noise can move a camera by half a percent.
    """
    x = matrices.to(dtype)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + (2.0315 * a) @ a) @ x
    return x.to(matrices.dtype)


def update(weights: FastWeights, step: FastWeights, *, dtype: torch.dtype) -> FastWeights:
    """Add the orthogonalised step, then restore the norm of every column (LaCT, arXiv 2505.23884), as one batch."""
    stacked = torch.stack([step.w0, step.w1.mT, step.w2]).float()  # (3, B, H, d, e)
    s0, s1, s2 = newton_schulz(stacked, dtype=dtype).unbind(0)
    return FastWeights(
        *(_with_column_norms(w + s, of=w) for w, s in zip(weights, (s0, s1.mT, s2), strict=True))  # (B, H, ·, ·)
    )


def _with_column_norms(new: Tensor, *, of: Tensor) -> Tensor:
    return new / (new.norm(dim=-2, keepdim=True) + 1e-5) * of.norm(dim=-2, keepdim=True)


class FastWeightUpdate(nn.Module):
    """The update of the fast weights by one window: a module without parameters, so that hooks can observe it."""

    def __init__(self, newton_schulz: str) -> None:
        super().__init__()
        self.newton_schulz = newton_schulz  # as in MemoryConfig

    def forward(
        self,
        weights: FastWeights,
        k: Float[Tensor, "batch head token dim"],
        v: Float[Tensor, "batch head token dim"],
        rates: LearningRates,
    ) -> FastWeights:
        """The weights after one step on −⟨f(k), v⟩."""
        step = gradient(weights, k, v, rates)
        with torch.autocast(v.device.type, enabled=False):
            return update(weights, step, dtype=self._iteration_dtype(v))

    def _iteration_dtype(self, v: Tensor) -> torch.dtype:
        """The published networks iterate in bfloat16; float32 is more exact, and free where all else is float32."""
        if self.newton_schulz == "auto":
            return v.dtype if v.dtype == torch.bfloat16 else torch.float32
        return {"bfloat16": torch.bfloat16, "float32": torch.float32}[self.newton_schulz]


class TestTimeTraining(nn.Module):
    """One memory layer over all tokens of a window (LoGeR, arXiv 2603.03269): apply, then update."""

    __test__ = False  # not a test case

    def __init__(self, width: int, *, head_dim: int, expansion: int, pre_norm: bool, newton_schulz: str) -> None:
        super().__init__()
        self.heads = width // head_dim
        self.update = FastWeightUpdate(newton_schulz)
        hidden = expansion * head_dim
        self.w0 = nn.Parameter(torch.randn(self.heads, head_dim, hidden) / math.sqrt(head_dim))
        self.w1 = nn.Parameter(torch.randn(self.heads, hidden, head_dim) / math.sqrt(hidden))
        self.w2 = nn.Parameter(torch.randn(self.heads, head_dim, hidden) / math.sqrt(head_dim))
        self.pre_norm = nn.RMSNorm(width, eps=1e-5) if pre_norm else nn.Identity()
        self.to_qkv = Linear(width, 3 * width, bias=False)
        self.to_rates = nn.Linear(width, 3 * self.heads)
        self.output_norm = nn.RMSNorm(head_dim, eps=1e-5)
        self.proj = Linear(width, width, bias=False)
        self.gate = closed_gate(width)

    def initial_weights(self, batch: int) -> FastWeights:
        """The learned initial weights of every video."""
        return FastWeights(*(w.float().expand(batch, -1, -1, -1) for w in (self.w0, self.w1, self.w2)))

    def forward(
        self, x: Float[Tensor, "batch token channel"], weights: FastWeights | None
    ) -> tuple[Float[Tensor, "batch token channel"], FastWeights]:
        weights = self.initial_weights(len(x)) if weights is None else weights
        normed = self.pre_norm(x)
        qkv = F.silu(self.to_qkv(normed)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # (B, H, T, d)
        q, k = _unit(q), _unit(k)
        o = self.output_norm(apply(weights, q).float()).transpose(1, 2).flatten(2)  # (B, T, C)
        updated = self.update(weights, k, v, self._rates(normed))
        return x + self.proj(o) * F.silu(self.gate(x)), updated

    def _rates(self, normed: Float[Tensor, "batch token channel"]) -> LearningRates:
        offset = math.log(math.expm1(_INITIAL_LEARNING_RATE))  # softplus⁻¹
        with torch.autocast(normed.device.type, enabled=False):
            raw = F.linear(normed.float(), self.to_rates.weight.float(), self.to_rates.bias.float())
        rates = F.softplus(raw + offset).unflatten(-1, (3, self.heads)).permute(2, 0, 3, 1)[..., None]
        return LearningRates(*rates.unbind(0))  # each (B, H, T, 1)


def _unit(x: Tensor) -> Tensor:
    return x / (x.norm(dim=-1, keepdim=True) + 1e-5)
