"""The hybrid memory: what one window leaves to the next, and the layers that read and write it.

The state is a frozen value that the caller owns: it can be saved, moved, compared and taken up again. Its size does not
depend on the length of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import nn

from openloger.network.attention import KeysValues, Rotary
from openloger.network.memory.swa import SlidingWindowAttention
from openloger.network.memory.ttt import FastWeights, TestTimeTraining
from openloger.shapes import Float, Tensor

State = TypeVar("State", FastWeights, KeysValues)
MEMORY_KINDS = ("ttt", "swa")  # of layers


@dataclass(frozen=True)
class MemoryConfig:
    """Which decoder blocks are followed by which memory layer; where both follow one block, TTT comes first."""

    ttt_after: tuple[int, ...]
    swa_after: tuple[int, ...]
    ttt_head_dim: int
    mlp_ratio: int = 4  # expansion of the fast network and of the SWA block's MLP
    ttt_pre_norm: bool = True
    newton_schulz: str = "auto"  # "bfloat16" as published, "float32", or "auto": the precision of everything around it


@dataclass(frozen=True)
class HybridMemory:
    """The state between two windows; empty before the first."""

    fast_weights: Mapping[int, FastWeights] = field(default_factory=dict)  # by TTT layer
    keys_values: Mapping[int, KeysValues] = field(default_factory=dict)  # by SWA layer: the previous window's
    overlap_features: tuple[Float[Tensor, "batch frame ..."], ...] = ()  # the encoder's maps of frames seen again next
    overlap_log_depth: Float[Tensor, "batch frame row column"] | None = None  # theirs, for `scale.py`

    def reset(self) -> HybridMemory:
        """Drop the fast weights (LoGeR's reset for long videos); the keys and values of the previous window stay."""
        return replace(self, fast_weights={})

    def forget(self) -> HybridMemory:
        """Drop everything learned from the video; features of shared frames stay, which only save their encoding."""
        return replace(self, fast_weights={}, keys_values={}, overlap_log_depth=None)

    def map(self, change: Callable[[Tensor], Tensor]) -> HybridMemory:
        """The same memory with every tensor changed: moved, cast, detached, cloned."""
        return HybridMemory(
            {layer: FastWeights(*map(change, state)) for layer, state in self.fast_weights.items()},
            {layer: KeysValues(*map(change, state)) for layer, state in self.keys_values.items()},
            tuple(map(change, self.overlap_features)),
            None if self.overlap_log_depth is None else change(self.overlap_log_depth),
        )

    def to(self, device: torch.device | str) -> HybridMemory:
        return self.map(lambda tensor: tensor.to(device))

    def detach(self) -> HybridMemory:
        """Cut the gradient: what follows no longer trains what came before."""
        return self.map(torch.Tensor.detach)

    def to_tensors(self) -> dict[str, Tensor]:
        """Named tensors for a safetensors file; `from_tensors` is the inverse."""
        named: dict[str, Tensor] = {}
        for kind, states in (("fast_weights", self.fast_weights), ("keys_values", self.keys_values)):
            for layer, state in states.items():
                named |= {f"{kind}.{layer}.{name}": tensor for name, tensor in state._asdict().items()}
        named |= {f"overlap_features.{level}": map for level, map in enumerate(self.overlap_features)}
        if self.overlap_log_depth is not None:
            named["overlap_log_depth"] = self.overlap_log_depth
        return {name: tensor.contiguous() for name, tensor in named.items()}

    @staticmethod
    def from_tensors(named: Mapping[str, Tensor]) -> HybridMemory:
        return HybridMemory(
            _states(named, "fast_weights", FastWeights),
            _states(named, "keys_values", KeysValues),
            _levels(named),
            named.get("overlap_log_depth"),
        )


def _levels(named: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    count = sum(name.startswith("overlap_features.") for name in named)
    return tuple(named[f"overlap_features.{level}"] for level in range(count))


def _states(named: Mapping[str, Tensor], kind: str, make: type[State]) -> dict[int, State]:
    layers = sorted({int(name.split(".")[1]) for name in named if name.startswith(kind + ".")})
    return {layer: make(*(named[f"{kind}.{layer}.{part}"] for part in make._fields)) for layer in layers}


class HybridLayers(nn.Module):
    """All memory layers, numbered along the decoder (LoGeR, arXiv 2603.03269)."""

    def __init__(self, config: MemoryConfig, *, width: int, heads: int, layer_scale: float) -> None:
        super().__init__()
        self._ttt_after = {block: layer for layer, block in enumerate(config.ttt_after)}
        self._swa_after = {block: layer for layer, block in enumerate(config.swa_after)}
        self.ttt = nn.ModuleList(
            TestTimeTraining(
                width,
                head_dim=config.ttt_head_dim,
                expansion=config.mlp_ratio,
                pre_norm=config.ttt_pre_norm,
                newton_schulz=config.newton_schulz,
            )
            for _ in config.ttt_after
        )
        self.swa = nn.ModuleList(
            SlidingWindowAttention(width, heads, mlp_ratio=config.mlp_ratio, layer_scale=layer_scale)
            for _ in config.swa_after
        )

    def has_layer_after(self, block: int) -> bool:
        return block in self._ttt_after or block in self._swa_after

    def forward(
        self,
        tokens: Float[Tensor, "batch token channel"],
        memory: HybridMemory,
        *,
        block: int,
        rotary: Rotary,
        disabled: Collection[str] = (),
    ) -> tuple[Float[Tensor, "batch token channel"], HybridMemory]:
        """All tokens of a window after decoder block `block`, with the memory applied: TTT first, then SWA."""
        if block in self._ttt_after and "ttt" not in disabled:
            layer = self._ttt_after[block]
            tokens, weights = self.ttt[layer](tokens, memory.fast_weights.get(layer))
            memory = replace(memory, fast_weights={**memory.fast_weights, layer: weights})
        if block in self._swa_after and "swa" not in disabled:
            layer = self._swa_after[block]
            tokens, own = self.swa[layer](tokens, rotary, memory.keys_values.get(layer))
            memory = replace(memory, keys_values={**memory.keys_values, layer: own})
        return tokens, memory
