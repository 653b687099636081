"""Tensors between the host and a card without either waiting for the other; on other devices, plain copies.

Copies to a card come from pinned memory, in the order of its work. Copies from it run on a stream of their own, beside
the work that follows, into pinned memory too; whoever needs them waits for their event alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch

from openloger.shapes import Tensor


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the host on a device; the host goes on where that is a card."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True)
class Fetched:
    """Tensors on their way to the host."""

    _tensors: Mapping[str, Tensor]
    _arrived: torch.cuda.Event | None = None

    def wait(self) -> Mapping[str, Tensor]:
        """The tensors, once they have arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._tensors


def fetch(tensors: Mapping[str, Tensor | None]) -> Fetched:
    """Begin to copy tensors to the host, in float32; those that are None are left out."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    device = next(iter(given.values())).device
    if device.type != "cuda":
        return Fetched({name: tensor.float().cpu() for name, tensor in given.items()})
    beside = _copying_stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    found = {}
    with torch.cuda.stream(beside):
        for name, tensor in given.items():
            tensor.record_stream(beside)  # its memory is not used again before the copy is done
            found[name] = torch.empty(tensor.shape, dtype=torch.float32, pin_memory=True)
            found[name].copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record(beside)
    return Fetched(found, arrived)


@cache
def _copying_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
