"""The state of a hybrid memory: a frozen value that its owner saves, moves, compares and takes up again.

Its size does not depend on how long the sequence is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from openloger.errors import InputError
from openloger.memory.ttt import FastWeights
from openloger.shapes import Tensor
from openloger.transformer.attention import KeysValues

State = TypeVar("State", FastWeights, KeysValues)


@dataclass(frozen=True, repr=False)
class HybridMemory:
    """The state between one chunk of a sequence and the next; empty before the first.

    Fast weights are bounded by the layer's shape, keys and values by the length of a chunk.
    """

    fast_weights: Mapping[int, FastWeights] = field(default_factory=dict)  # by TTT layer
    keys_values: Mapping[int, KeysValues] = field(default_factory=dict)  # by SWA layer: the previous chunk's

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        total = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.nbytes
            return tensor

        self.map(count)
        return total

    @property
    def batch(self) -> int | None:
        """The number of sequences; None where it is empty."""
        tensors = [state[0] for states in (self.fast_weights, self.keys_values) for state in states.values()]
        return len(tensors[0]) if tensors else None

    def __repr__(self) -> str:
        layers = f"fast weights of {len(self.fast_weights)} layers, keys and values of {len(self.keys_values)}"
        return f"{type(self).__name__}({layers}, {self.nbytes:,} bytes)"

    def reset(self: Memory) -> Memory:
        """Drop the fast weights (LoGeR's reset for long videos); the keys and values of the previous chunk stay."""
        return replace(self, fast_weights={})

    def cleared(self: Memory) -> Memory:
        """Drop everything learned from the sequence."""
        return replace(self, fast_weights={}, keys_values={})

    def map(self: Memory, change: Callable[[Tensor], Tensor]) -> Memory:
        """The same memory with every tensor changed: moved, detached, cloned."""
        return replace(
            self,
            fast_weights={layer: FastWeights(*map(change, state)) for layer, state in self.fast_weights.items()},
            keys_values={layer: state.map(change) for layer, state in self.keys_values.items()},
        )

    def to(self: Memory, device: torch.device | str) -> Memory:
        return self.map(lambda tensor: tensor.to(device))

    def detach(self: Memory) -> Memory:
        """Cut the gradient: what follows no longer trains what came before."""
        return self.map(torch.Tensor.detach)

    def rows(self: Memory, chosen: Sequence[int] | Tensor) -> Memory:
        """The memory of some sequences of the batch, in this order; one may be taken twice, as beam search does."""
        return self.map(lambda tensor: tensor[torch.as_tensor(chosen, device=tensor.device)])

    @staticmethod
    def join(memories: Sequence[HybridMemory]) -> HybridMemory:
        """One batch of several memories of the same layers; shorter keys and values are padded."""
        layers = {(tuple(sorted(one.fast_weights)), tuple(sorted(one.keys_values))) for one in memories}
        if len(layers) != 1:
            raise InputError(
                f"memories of {len(layers)} different sets of layers do not make a batch: {sorted(layers)}"
            )
        ((ttt, swa),) = layers
        return HybridMemory(
            {n: FastWeights(*map(torch.cat, zip(*(m.fast_weights[n] for m in memories), strict=True))) for n in ttt},
            {n: _joined([m.keys_values[n] for m in memories]) for n in swa},
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """Named tensors for a safetensors file; `from_tensors` is the inverse."""
        named: dict[str, Tensor] = {}
        for kind, states in (("fast_weights", self.fast_weights), ("keys_values", self.keys_values)):
            for layer, state in states.items():
                parts = {f"{kind}.{layer}.{name}": tensor for name, tensor in state._asdict().items()}
                named |= {name: tensor for name, tensor in parts.items() if tensor is not None}
        return {name: tensor.contiguous() for name, tensor in named.items()}

    @classmethod
    def from_tensors(cls: type[Memory], named: Mapping[str, Tensor]) -> Memory:
        return cls(_states(named, "fast_weights", FastWeights), _states(named, "keys_values", KeysValues))

    def save(self, path: Path | str) -> None:
        """Write it to a safetensors file."""
        save_file({name: tensor.detach() for name, tensor in self.to_tensors().items()}, path)

    @classmethod
    def load(cls: type[Memory], path: Path | str, *, device: torch.device | str = "cpu") -> Memory:
        """Read what `save` wrote, bit for bit."""
        return cls.from_tensors(load_file(path, device=str(device)))


Memory = TypeVar("Memory", bound=HybridMemory)


def _states(named: Mapping[str, Tensor], kind: str, make: type[State]) -> dict[int, State]:
    layers = sorted({int(name.split(".")[1]) for name in named if name.startswith(kind + ".")})
    return {layer: make(*_parts(named, f"{kind}.{layer}.", make._fields)) for layer in layers}


def _parts(named: Mapping[str, Tensor], start: str, fields: Collection[str]) -> list[Tensor]:
    return [named[start + part] for part in fields if part != "valid" or start + part in named]


def _joined(states: Sequence[KeysValues]) -> KeysValues:
    longest = max(state.keys.shape[2] for state in states)
    padded = [padded_to(state, longest) for state in states]
    keys, values = torch.cat([s.keys for s in padded]), torch.cat([s.values for s in padded])
    if all(state.valid is None for state in padded):
        return KeysValues(keys, values)
    return KeysValues(keys, values, torch.cat([state.validity() for state in padded]))


def padded_to(state: KeysValues, tokens: int) -> KeysValues:
    """The same with as many `tokens`, the further ones not valid."""
    missing = tokens - state.keys.shape[2]
    if missing == 0:
        return state
    keys, values = (F.pad(tensor, (0, 0, 0, missing)) for tensor in (state.keys, state.values))
    return KeysValues(keys, values, F.pad(state.validity(), (0, missing)))
