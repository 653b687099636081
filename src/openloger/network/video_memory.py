"""The state between two windows of a video: the hybrid memory, and what frames seen again need not be computed for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from openloger.memory import HybridMemory
from openloger.shapes import Float, Tensor


@dataclass(frozen=True)
class VideoMemory(HybridMemory):
    """The hybrid memory of a video, by window; empty before the first."""

    overlap_features: tuple[Float[Tensor, "batch frame ..."], ...] = ()  # the encoder's maps of frames seen again next
    overlap_cells: Float[Tensor, "batch frame two row column"] | None = None  # theirs, for `scale.py`
    log_focal: Float[Tensor, "batch 2"] | None = None  # mean and variance of the lens, for `lens.py`

    def cleared(self: Memory) -> Memory:
        """Drop everything learned from the video; features of shared frames stay, which only save their encoding."""
        return replace(super().cleared(), overlap_cells=None, log_focal=None)

    def map(self: Memory, change: Callable[[Tensor], Tensor]) -> Memory:
        """The same memory with every tensor changed: moved, cast, detached, cloned."""
        return replace(
            super().map(change),
            overlap_features=tuple(map(change, self.overlap_features)),
            overlap_cells=None if self.overlap_cells is None else change(self.overlap_cells),
            log_focal=None if self.log_focal is None else change(self.log_focal),
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """Named tensors for a safetensors file; `from_tensors` is the inverse."""
        named = {f"overlap_features.{level}": map for level, map in enumerate(self.overlap_features)}
        for name in ("overlap_cells", "log_focal"):
            if (tensor := getattr(self, name)) is not None:
                named[name] = tensor
        return super().to_tensors() | {name: tensor.contiguous() for name, tensor in named.items()}

    @classmethod
    def from_tensors(cls: type[Memory], named: Mapping[str, Tensor]) -> Memory:
        return replace(
            super().from_tensors(named),
            overlap_features=_levels(named),
            overlap_cells=named.get("overlap_cells"),
            log_focal=named.get("log_focal"),
        )


Memory = TypeVar("Memory", bound=VideoMemory)


def _levels(named: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    count = sum(name.startswith("overlap_features.") for name in named)
    return tuple(named[f"overlap_features.{level}"] for level in range(count))
