"""The memory that a window takes, without running it: the network computes shapes, and its tensors are counted.

Tensors of torch's fake mode have a size and no contents, so a network of a billion parameters takes none of the
machine's memory here. Counted are those that are alive at one time, in the second window of a run, which has a memory
before it and leaves one behind. What kernels take inside, and what an allocator cannot reuse, comes on top.

The geometric camera of `compact` goes by what it finds, so its shapes cannot be computed. It takes what was measured:
so much a pixel of every frame.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from openloger.network.dense import DenseHeadsConfig
from openloger.network.network import Network, NetworkConfig
from openloger.network.window import Window

DENSE_BYTES = 550  # of a pixel of each of a window's frames, in a network with dense heads (docs/benchmarks.md)
DENSE_FIXED_BYTES = 16_000_000  # beside them, whatever the window


@dataclass(frozen=True)
class Footprint:
    """Bytes of tensors that are alive at one time."""

    weights: int
    window: int  # at most, while a window is computed, beside the weights


@cache
def footprint(
    config: NetworkConfig,
    *,
    precision: torch.dtype,
    window: int,
    overlap: int,
    size: tuple[int, int],
    frames_at_once: int | None = None,
) -> Footprint:
    """Of windows of `window` frames of `size` = (height, width) pixels that share `overlap`; see `Network`.

    Of a network with dense heads `frames_at_once` changes next to nothing.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    height, width = size
    with FakeTensorMode(), LiveBytes() as live, torch.inference_mode():
        network = Network(config).eval()
        network.precision, network.frames_at_once = precision, frames_at_once
        for layer in network.matrices():  # `set_precision` exchanges contents, which there are none
            for name, values in dict(layer.named_parameters()).items():
                setattr(layer, name, nn.Parameter(values.to(precision), requires_grad=False))
        weights = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
        if isinstance(config.heads, DenseHeadsConfig):
            return Footprint(weights, DENSE_FIXED_BYTES + DENSE_BYTES * window * height * width)
        memory = network.fresh_memory()
        for _ in range(2):
            images = torch.zeros(1, window, 3, height, width)
            live.peak = live.now
            _, memory = network(Window(images, window, overlap, rigid=False), memory)
    return Footprint(weights, live.peak - weights)


def multiplications_per_frame(config: NetworkConfig, *, parameters: int, pixels: int) -> float:
    """Roughly, of a frame of so many pixels: each parameter once per patch."""
    return parameters * pixels / config.encoder.patch**2


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, id(storage), storage.nbytes())

    def _release(self, key: int, nbytes: int) -> None:
        self._known.discard(key)
        self.now -= nbytes
