"""What a run takes of the machine."""

from __future__ import annotations

import sys

import torch


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far; on CUDA the most that torch ever held of the card's memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
