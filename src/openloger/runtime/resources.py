"""Memory in use, and names of devices."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

_STATUS, _STATM = Path("/proc/self/status"), Path("/proc/self/statm")


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far; on CUDA the most that torch ever held of the card's memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The largest resident size of this process so far, whatever it runs on."""
    if _STATUS.is_file():  # where there is a /proc: getrusage would start with the parent's peak
        line = next(line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def resident_bytes() -> int | None:
    """The resident size of this process now; None on systems without /proc."""
    if not _STATM.is_file():
        return None
    import resource

    return int(_STATM.read_bytes().split()[1]) * resource.getpagesize()


def device_name(device: torch.device) -> str:
    """A device's display name: cpu, mps, or the name of the card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
