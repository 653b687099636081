"""Memory in use, and names of devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openloger.runtime import platform

if TYPE_CHECKING:
    import torch


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far; on CUDA the most that torch ever held of the card's memory."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The largest resident size of this process so far, whatever it runs on; 0 where the system does not count it."""
    return platform.peak_resident_bytes() or 0


def resident_bytes() -> int | None:
    """The resident size of this process now; None where the system does not report it."""
    return platform.resident_bytes()


def device_name(device: torch.device) -> str:
    """A device's display name: cpu, mps, or the name of the card."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def card_bytes_limited(device: torch.device, limit: float | None) -> Iterator[None]:
    """While it lasts, torch takes no more than `limit` bytes of a card's memory in this process; None: all of it.
    Nothing on other devices."""
    import torch

    if device.type != "cuda" or limit is None:
        yield
        return
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is the device's, or the host's, refusal of more memory; torch has none of its own on a CPU."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
