"""A transformer block with a memory: attention inside a chunk, test-time training, sliding-window attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from openloger.errors import InputError
from openloger.memory.hybrid import MEMORY_KINDS
from openloger.memory.state import Memory
from openloger.memory.swa import SlidingWindowAttention
from openloger.memory.ttt import TestTimeTraining
from openloger.shapes import Bool, Float, Tensor
from openloger.transformer.attention import Block, Rotary

POSITIONS = {"1d": 1, "2d": 2, "none": 0}  # axes
_ROPE_BASE = {"1d": 10_000.0, "2d": 100.0}


@dataclass(frozen=True)
class HybridConfig:
    """The shape of a `HybridBlock`, and of the `HybridTransformer` that stacks them."""

    width: int  # channels C
    heads: int  # of attention
    depth: int = 2  # blocks
    chunk: int = 64  # tokens that attend to one another; the transformer cuts sequences into chunks
    together: int = 1  # chunks computed at once but for what waits for another; more: faster, equal up to rounding
    kinds: tuple[str, ...] = MEMORY_KINDS  # memory layers of every block; none: chunks are independent of one another
    causal: bool = True  # a token attends to none after it; else to all of its chunk
    positions: str = "1d"  # "1d": by order; "2d": (y, x) as given, the same in every chunk; "none"
    ttt_head_dim: int = 32
    expansion: int = 2  # hidden width of the fast network, in head widths
    mlp_ratio: int = 4
    gate_bias: float = 1.0  # of the memory layers at first; 0: closed
    newton_schulz: str = "auto"  # as in `MemoryConfig`
    scaled_steps: bool = True  # chunks that are worth little change the fast weights little; as published: False
    smeared_keys: bool = False  # fast weights find a token by the one before it as well: for text, not for pictures

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise InputError(f"positions {self.positions!r} is none of {', '.join(POSITIONS)}")
        if unknown := set(self.kinds) - set(MEMORY_KINDS):
            raise InputError(f"memory layers {sorted(unknown)} are none of {', '.join(MEMORY_KINDS)}")
        for name, divisor in (("heads", self.heads), ("ttt_head_dim", self.ttt_head_dim)):
            if self.width % divisor:
                raise InputError(f"a width of {self.width} is not a multiple of {name} {divisor}")
        if self.positions != "none" and self.head_dim % (2 * POSITIONS[self.positions]):
            raise InputError(
                f"heads of {self.head_dim} channels do not divide into pairs for {self.positions} positions"
            )
        if self.chunk < 1:
            raise InputError(f"a chunk of {self.chunk} tokens: it takes at least one")
        if self.together < 1:
            raise InputError(f"{self.together} chunks together: it takes at least one")

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


class HybridBlock(nn.Module):
    """One block over one chunk of a sequence: `chunk, memory = block(chunk, memory)`.

        x ← Block(x)                        attention inside the chunk, and an MLP
        x ← TestTimeTraining(x, weights)    the whole past, compressed (kind "ttt")
        x ← SlidingWindowAttention(x, K, V) the previous chunk, exactly, and an MLP (kind "swa")

    The order is LoGeR's (arXiv 2603.03269). Blocks that share one `HybridMemory` have different `layer`
    numbers. Causal, a token's output depends on no later token; bidirectional, on its chunk and all chunks before.

    Positions "1d" count from the start of the chunk, and the kept keys are turned back by its length, so that no
    number grows with the sequence. Cost of a chunk of T tokens: O(T²·C + T·C²); state: 2·T·C numbers and
    3·expansion·ttt_head_dim·C fast weights.
    """

    def __init__(self, config: HybridConfig, *, layer: int = 0) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.block = Block(config.width, config.heads, qk_norm=True, layer_scale=None, mlp_ratio=config.mlp_ratio)
        self.ttt = _test_time_training(config) if "ttt" in config.kinds else None
        self.swa = _sliding_window(config) if "swa" in config.kinds else None

    def forward(
        self,
        x: Float[Tensor, "batch token channel"],
        memory: Memory,
        *,
        valid: Bool[Tensor, "batch token"] | None = None,
        positions: Float[Tensor, "token axis"] | None = None,
        chunks: int = 1,
    ) -> tuple[Float[Tensor, "batch token channel"], Memory]:
        """The chunk, and the memory for the next one.

        Args:
            x: The chunk, or as many of equal length as `chunks` has it, one after the other.
            memory: What the previous chunk returned; `HybridMemory()` before the first.
            valid: False for padding. It stands at the end of a row, and changes neither other tokens nor the state.
            positions: (y, x) of each token, for positions "2d".
            chunks: Of several, which have no padding, all is computed at once but what fast weights read and learn.
        """
        assert chunks == 1 or valid is None, "several chunks are whole"
        parts = x.unflatten(1, (chunks, -1)).flatten(0, 1)  # (B n, T, C)
        rotary, to_next = self._rotaries(parts, valid, positions, chunks)
        x = self.block(parts, rotary, valid=valid, causal=self.config.causal).view(x.shape)
        if self.ttt is not None:
            x, weights = self.ttt(x, memory.fast_weights.get(self.layer), valid=valid, chunks=chunks)
            memory = replace(memory, fast_weights={**memory.fast_weights, self.layer: weights})
        if self.swa is not None:
            previous = memory.keys_values.get(self.layer)
            x, own = self.swa(x, rotary, previous, valid=valid, to_next=to_next, chunks=chunks)
            memory = replace(memory, keys_values={**memory.keys_values, self.layer: own})
        return x, memory

    def _rotaries(
        self, parts: Tensor, valid: Tensor | None, positions: Tensor | None, chunks: int
    ) -> tuple[Rotary | None, Rotary | None]:
        """Of the tokens' places, and of the way from this chunk's origin to the next one's."""
        kind, dim = self.config.positions, self.config.head_dim
        if (positions is not None) != (kind == "2d"):
            raise InputError(f"positions {kind!r} {'take' if kind == '2d' else 'take no'} places of tokens")
        if kind == "none":
            return None, None
        if positions is not None:
            cos, sin, axes = Rotary.of(positions.unflatten(0, (chunks, 1, -1)), dim, base=_ROPE_BASE[kind])
            rows = len(parts) // chunks
            return Rotary(cos.repeat(rows, 1, 1, 1), sin.repeat(rows, 1, 1, 1), axes), None  # (B n, 1, T, D)
        tokens = parts.shape[1]
        order = torch.arange(tokens, device=parts.device, dtype=torch.float32)[:, None]
        length = order.new_full((1, 1), tokens) if valid is None else valid.sum(1).float().view(-1, 1, 1, 1)
        return Rotary.of(order, dim, base=_ROPE_BASE[kind]), Rotary.of(-length, dim, base=_ROPE_BASE[kind])


def _test_time_training(config: HybridConfig) -> TestTimeTraining:
    return TestTimeTraining(
        config.width,
        head_dim=config.ttt_head_dim,
        expansion=config.expansion,
        newton_schulz=config.newton_schulz,
        gate_bias=config.gate_bias,
        scaled_steps=config.scaled_steps,
        smeared_keys=config.smeared_keys,
    )


def _sliding_window(config: HybridConfig) -> SlidingWindowAttention:
    return SlidingWindowAttention(
        config.width,
        config.heads,
        mlp_ratio=config.mlp_ratio,
        layer_scale=None,
        causal=config.causal,
        gate_bias=config.gate_bias,
    )
