"""Test-time training: fast weights that learn the sequence while it runs (LaCT, arXiv 2505.23884; LoGeR, 2603.03269).

A layer holds a small gated network f(u) = (SiLU(u w0) ⊙ (u w2)) w1 per head. A chunk first *applies* the weights that
came in, o = f(q), then *updates* them with its own keys and values, one step on −⟨f(k), v⟩ whose gradient is
orthogonalised (Muon), so that the next chunk finds them changed.

Legend: B batch, T token (all of a chunk), H head, d head width, e = expansion·d hidden width, C channel (C = H·d).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from openloger.errors import InputError
from openloger.shapes import Bool, Float, Tensor
from openloger.transformer.layers import Linear, memory_gate
from openloger.transformer.share import WindowShare

_INITIAL_LEARNING_RATE = 0.01
_ITERATES_IN = {"bfloat16": torch.bfloat16, "float32": torch.float32}  # or "auto"
_NOTHING = 0.1  # of an amount of writing: so little counts as none where steps are scaled


class FastWeights(NamedTuple):
    """The state of one layer: what it has learned of the sequence so far."""

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
    g, m = k @ weights.w0, k @ weights.w2  # (B, H, T, e), the largest tensors of a window: few of them live at a time
    sigmoid = torch.sigmoid(g)
    silu = g * sigmoid
    step_w1 = (silu * m * rates.w1).mT @ v.to(rates.w1.dtype)
    dh = v @ weights.w1.mT
    step_w2 = (k * rates.w2).mT @ (dh * silu).to(k.dtype)
    del silu
    dg = dh * m * sigmoid * (1 + g * (1 - sigmoid))
    return FastWeights((k * rates.w0).mT @ dg.to(k.dtype), step_w1, step_w2)


_QUINTIC = (3.4445, -4.7750, 2.0315)  # of Muon: p(A) = a + b A + c A²


def newton_schulz(
    matrices: Float[Tensor, "*batch row column"], *, dtype: torch.dtype, steps: int = 5
) -> Float[Tensor, "*batch row column"]:
    """The nearest (semi-)orthogonal matrices, roughly, by the quintic iteration of Muon; rows ≤ columns.

    In float32 and wider, matrices that are wide enough take the Gram form (`gram_newton_schulz`). In bfloat16 the
    iteration amplifies rounding: 2e-7 of input noise can move a camera by half a percent; it stays as published there.
    """
    if dtype.itemsize >= 4 and matrices.shape[-1] >= 2 * matrices.shape[-2]:
        return gram_newton_schulz(matrices, dtype=dtype, steps=steps)
    return plain_newton_schulz(matrices, dtype=dtype, steps=steps)


def plain_newton_schulz(
    matrices: Float[Tensor, "*batch row column"], *, dtype: torch.dtype, steps: int = 5
) -> Float[Tensor, "*batch row column"]:
    """X ← p(X Xᵀ) X, as published: the twin of the Gram form, in steps · (2·row²·column + row³) multiplications."""
    a, b, c = _QUINTIC
    x = _scaled_to_one(matrices.to(dtype))
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + (c * gram) @ gram) @ x
    return x.to(matrices.dtype)


def gram_newton_schulz(
    matrices: Float[Tensor, "*batch row column"], *, dtype: torch.dtype, steps: int = 5
) -> Float[Tensor, "*batch row column"]:
    """The same iteration on the small Gram matrix, whose product goes to X after a few steps at once.

    With A = X Xᵀ, X ← p(A) X makes A ← p(A) A p(A), as p(A) is symmetric; so X after some steps is Q X for the product
    Q of their p(A). 5 steps take 4·row²·column + 14·row³ multiplications. Each step on A alone makes its rounding in
    the directions of small singular values up to 12 times as large; after two of them A is computed anew, which keeps
    the error near low rank at 1.2e-5 (4.8e-4 without; the plain form's is 6e-6).
    """
    x = _scaled_to_one(matrices.to(dtype))
    first = min(steps, 2)
    for count in (first, steps - first):
        x = _steps_on_gram(x, count) if count else x
    return x.to(matrices.dtype)


def _steps_on_gram(x: Tensor, steps: int) -> Tensor:
    a, b, c = _QUINTIC
    gram = x @ x.mT
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    product = identity
    for step in range(steps):
        polynomial = a * identity + b * gram + (c * gram) @ gram
        product = polynomial @ product if step else polynomial
        if step + 1 < steps:
            gram = (polynomial @ gram) @ polynomial
    return product @ x


def _scaled_to_one(x: Tensor) -> Tensor:
    return x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)


def update(
    weights: FastWeights,
    step: FastWeights,
    *,
    dtype: torch.dtype,
    length: Tensor | None = None,
    share: WindowShare | None = None,
) -> FastWeights:
    """Add the orthogonalised step, then restore the norm of every column (LaCT, arXiv 2505.23884), as one batch.

    `length` (3, B, H, 1, 1) shortens the steps of the three weights; None takes them whole, as published. With a
    `share` the step is of this process' tokens, and what is added of all of them.
    """
    stacked = torch.stack([step.w0, step.w1.mT, step.w2]).float()  # (3, B, H, d, e)
    stacked = stacked if share is None else share.sum(stacked)
    direction = newton_schulz(stacked, dtype=dtype)
    s0, s1, s2 = (direction if length is None else direction * length).unbind(0)
    return FastWeights(
        *(_with_column_norms(w + s, of=w) for w, s in zip(weights, (s0, s1.mT, s2), strict=True))  # (B, H, ·, ·)
    )


def _with_column_norms(new: Tensor, *, of: Tensor) -> Tensor:
    return new / (new.norm(dim=-2, keepdim=True) + 1e-5) * of.norm(dim=-2, keepdim=True)


class FastWeightUpdate(nn.Module):
    """The update of the fast weights by one chunk: a module without parameters, so that hooks can observe it."""

    def __init__(self, newton_schulz: str, *, scaled: bool = False) -> None:
        super().__init__()
        if newton_schulz not in ("auto", *_ITERATES_IN):
            raise InputError(f"newton_schulz {newton_schulz!r} is none of auto, {', '.join(_ITERATES_IN)}")
        self.newton_schulz = newton_schulz  # as in MemoryConfig
        self.scaled = scaled  # whether small learning rates shorten the step

    def forward(
        self,
        weights: FastWeights,
        k: Float[Tensor, "batch head token dim"],
        v: Float[Tensor, "batch head token dim"],
        rates: LearningRates,
        tokens: Float[Tensor, "#batch 1 1 1"] | None = None,
        share: WindowShare | None = None,
    ) -> FastWeights:
        """The weights after one step on −⟨f(k), v⟩; of `tokens` in a row the others are padding, whose rates are 0."""
        assert share is None or not self.scaled, "the length of a step is of all tokens"
        step = gradient(weights, k, v, rates)
        with torch.autocast(v.device.type, enabled=False):
            length = self._length(rates, tokens) if self.scaled else None
            return update(weights, step, dtype=self._iteration_dtype(v), length=length, share=share)

    @staticmethod
    def amount(rates: LearningRates, tokens: Tensor | None = None) -> Float[Tensor, "3 batch head 1 1"]:
        """What a chunk writes: its mean learning rates in units of the initial one; `tokens` as of `forward`."""
        count = rates.w0.shape[2] if tokens is None else tokens
        return torch.stack(rates).sum(-2, keepdim=True) / count / _INITIAL_LEARNING_RATE

    def _length(self, rates: LearningRates, tokens: Tensor | None) -> Float[Tensor, "3 batch head 1 1"]:
        """Of the steps: 0 for an amount of up to a tenth, 1 from 1 on, and growing as a square between.

        Many chunks of little worth follow one another: they are to leave the weights as they are.
        """
        above = (self.amount(rates, tokens) - _NOTHING) / (1 - _NOTHING)
        return above.clamp(0.0, 1.0).square()

    def _iteration_dtype(self, v: Tensor) -> torch.dtype:
        """The published networks iterate in bfloat16; float32 is more exact, and free where all else is float32."""
        if self.newton_schulz == "auto":
            return v.dtype if v.dtype == torch.bfloat16 else torch.float32
        return _ITERATES_IN[self.newton_schulz]


class TestTimeTraining(nn.Module):
    """A memory layer whose state is the weights of a small network that is trained on every chunk: apply, then update.

    With H = width / head_dim heads, fast weights w0, w2 (d × e) and w1 (e × d), e = expansion·d, in each of them, and
    f(u) = (SiLU(u w0) ⊙ (u w2)) w1 (LaCT, arXiv 2505.23884; LoGeR, arXiv 2603.03269):

        q, k, v = SiLU(norm(x) Wqkv);  q, k of unit length in each head
        out     = x + proj(RMSNorm(f(q))) · SiLU(gate(x)),                 with the weights as they came in
        w       ← column norms of w kept in (w + NewtonSchulz(∇w Σ lr·⟨f(k), v⟩)),   lr = softplus(…) a token

    The order of tokens in a chunk does not matter, and none attends to another of the same chunk: so the layer is
    causal from chunk to chunk, and the first chunk reads the learned initial weights. A step has the same size whatever
    the chunk holds, since it is orthogonalised: an old chunk fades with the number of chunks since. `scaled_steps`,
    which is ours and in no paper, multiplies it by min(1, (a − 0.1) / 0.9)² for the mean a of lr over the chunk, in
    units of its initial 0.01, and leaves it out for a ≤ 0.1: so that a chunk whose learning rates are small changes
    little or nothing, and what was learned before it stays.

    `smeared_keys` mixes into the key of a token that of the token before it in the chunk, k ← σ(α)·k + (1 − σ(α))·k₋₁
    with one learned α a head (Elhage et al., A Mathematical Framework for Transformer Circuits, 2021), so that a token
    can be found by what stands before it; queries and keys then start from equal projections.

    Cost of a chunk of T tokens: O(T·d·e) a head, and O(d²·e) for the step; state: 3·C·e numbers, always float32.
    """

    __test__ = False  # not a test case

    def __init__(
        self,
        width: int,
        *,
        head_dim: int,
        expansion: int,
        pre_norm: bool = True,
        newton_schulz: str = "auto",
        gate_bias: float = 0.0,
        scaled_steps: bool = False,
        smeared_keys: bool = False,
    ) -> None:
        """
        Args:
            width: Channels C, a multiple of `head_dim`.
            head_dim: Width d of a head.
            expansion: Hidden width of the fast network, in head widths.
            pre_norm: Whether an RMSNorm precedes queries, keys, values and learning rates.
            newton_schulz: Precision of the step, as in `MemoryConfig`.
            gate_bias: Of the gate at first; 0 is closed.
            scaled_steps: Whether small learning rates shorten the step.
            smeared_keys: Whether a token's key has a share of the key of the token before it.
        """
        super().__init__()
        if width % head_dim:
            raise InputError(f"a width of {width} is not a multiple of head_dim {head_dim}")
        self.heads = width // head_dim
        self.update = FastWeightUpdate(newton_schulz, scaled=scaled_steps)
        hidden = expansion * head_dim
        self.w0 = nn.Parameter(torch.randn(self.heads, head_dim, hidden) / math.sqrt(head_dim))
        self.w1 = nn.Parameter(torch.randn(self.heads, hidden, head_dim) / math.sqrt(hidden))
        self.w2 = nn.Parameter(torch.randn(self.heads, head_dim, hidden) / math.sqrt(head_dim))
        self.pre_norm = nn.RMSNorm(width, eps=1e-5) if pre_norm else nn.Identity()
        self.to_qkv = Linear(width, 3 * width, bias=False)
        self.to_rates = nn.Linear(width, 3 * self.heads)
        self.output_norm = nn.RMSNorm(head_dim, eps=1e-5)
        self.proj = Linear(width, width, bias=False)
        self.gate = memory_gate(width, bias=gate_bias)
        self.smear = nn.Parameter(torch.zeros(self.heads, 1)) if smeared_keys else None
        if smeared_keys:
            with torch.no_grad():
                self.to_qkv.weight[:width] = self.to_qkv.weight[width : 2 * width]

    def initial_weights(self, batch: int) -> FastWeights:
        """The learned initial weights of every sequence."""
        return FastWeights(*(w.float().expand(batch, -1, -1, -1) for w in (self.w0, self.w1, self.w2)))

    def forward(
        self,
        x: Float[Tensor, "batch token channel"],
        weights: FastWeights | None,
        *,
        valid: Bool[Tensor, "batch token"] | None = None,
        learns: bool = True,
        share: WindowShare | None = None,
        chunks: int = 1,
    ) -> tuple[Float[Tensor, "batch token channel"], FastWeights]:
        """The tokens with memory added, and the weights after this chunk.

        Args:
            x: The chunk, or as many of equal length as `chunks` has it, one after the other.
            weights: What the previous chunk returned; None for the initial ones.
            valid: False for padding, which teaches nothing. A row of padding alone keeps its weights.
            learns: Whether the weights are updated; False for a chunk that none follows, whose update nobody reads.
            share: Where the chunk is this process' part of a window; the weights are updated by all of it.
            chunks: Of several, all but reading and updating the weights is computed for all of them at once.
        """
        assert share is None or (valid is None and self.smear is None), "a shared chunk is whole, of single tokens"
        weights = self.initial_weights(len(x)) if weights is None else weights
        parts = x.unflatten(1, (chunks, -1)).flatten(0, 1)  # (B n, T, C)
        normed = self.pre_norm(parts)
        q, k, v = (_by_chunk(F.silu(x), chunks) for x in self._projected(normed))  # (n, B, H, T, d)
        q, k = _unit(q), _unit(k)
        rates = self._rates(normed, valid).unflatten(1, (-1, chunks)).movedim(2, 0)  # (n, 3, B, H, T, 1)
        read: list[Tensor] = []
        for n in range(chunks):
            read.append(apply(weights, q[n]))
            weights = self._updated(weights, k[n], v[n], LearningRates(*rates[n]), valid, share) if learns else weights
        o = self.output_norm(torch.stack(read).float()).permute(1, 0, 3, 2, 4).flatten(3).flatten(1, 2)  # (B, n T, C)
        return x + self.proj(o) * F.silu(self.gate(x)), weights

    def _projected(
        self, normed: Float[Tensor, "batch token channel"]
    ) -> tuple[
        Float[Tensor, "batch token head dim"],
        Float[Tensor, "batch token head dim"],
        Float[Tensor, "batch token head dim"],
    ]:
        """Queries, keys and values before SiLU."""
        q, k, v = self.to_qkv(normed).unflatten(-1, (3, self.heads, -1)).unbind(2)
        if self.smear is None:
            return q, k, v
        own = self.smear.sigmoid().to(k.dtype)
        return q, own * k + (1 - own) * F.pad(k[:, :-1], (0, 0, 0, 0, 1, 0)), v

    def _updated(
        self,
        weights: FastWeights,
        k: Tensor,
        v: Tensor,
        rates: LearningRates,
        valid: Tensor | None,
        share: WindowShare | None,
    ) -> FastWeights:
        tokens = None if valid is None else valid.sum(1).clamp(min=1).float()[:, None, None, None]
        updated = self.update(weights, k, v, rates, tokens, share)
        if valid is None:
            return updated
        fed = valid.any(dim=1)[:, None, None, None]
        return FastWeights(*(torch.where(fed, new, old) for new, old in zip(updated, weights, strict=True)))

    def _rates(
        self, normed: Float[Tensor, "batch token channel"], valid: Tensor | None = None
    ) -> Float[Tensor, "3 batch head token 1"]:
        """The fields of `LearningRates`."""
        offset = math.log(math.expm1(_INITIAL_LEARNING_RATE))  # softplus⁻¹
        with torch.autocast(normed.device.type, enabled=False):
            raw = F.linear(normed.float(), self.to_rates.weight.float(), self.to_rates.bias.float())
        rates = F.softplus(raw + offset)
        if valid is not None:
            rates = rates * valid[..., None]
        return rates.unflatten(-1, (3, self.heads)).permute(2, 0, 3, 1)[..., None]


def _by_chunk(x: Float[Tensor, "rows token head dim"], chunks: int) -> Float[Tensor, "chunk batch head token dim"]:
    """Each chunk's tokens side by side in memory; the rows are those of every sequence's chunks."""
    return x.unflatten(0, (-1, chunks)).permute(1, 0, 3, 2, 4).contiguous()


def _unit(x: Tensor) -> Tensor:
    return x / (x.norm(dim=-1, keepdim=True) + 1e-5)
