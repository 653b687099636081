"""`--max-memory`: windows, and frames that encoder and heads take at once, so that a run keeps to a given memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openloger.errors import InputError
from openloger.network import Network
from openloger.network.dense import DenseHeadsConfig
from openloger.network.footprint import footprint
from openloger.runtime.allocator import give_back_freed_memory
from openloger.runtime.resources import device_name, peak_resident_bytes, resident_bytes

GB = 1e9
WINDOWS = (24, 16, 12, 8, 6, 4, 3, 2)  # frames, that may take the place of a longer window
FRAMES_AT_ONCE = 4  # of encoder and heads, where a whole window is too much
SLACK = 1.2  # of a window's tensors: what kernels take inside, and what the allocator cannot reuse
CONTEXT_BYTES = int(0.6 * GB)  # of a card: CUDA's context, cuBLAS's and cuDNN's workspaces
HOST_BYTES = 19  # of a placed window's pixel: points, confidence, colour
HOST_WINDOWS = 5  # being fetched, placed, written, and two that wait
HOST_LATER_BYTES = int(0.15 * GB)  # libraries that are loaded, and threads that start, with the first window


@dataclass(frozen=True)
class MemoryPlan:
    """What a run is allowed, and how it keeps to it."""

    window: int  # frames
    frames_at_once: int | None  # of encoder and heads; None: all of a window
    needed_bytes: int
    allowed_bytes: int

    def describe(self) -> str:
        """In a line, for people."""
        parts = "" if self.frames_at_once is None else f", encoder and heads {self.frames_at_once} at once"
        memory = f"{self.needed_bytes / GB:.1f} of {self.allowed_bytes / GB:g} GB of memory planned"
        return f"{memory}: windows of {self.window} frames{parts}"


@dataclass(frozen=True, kw_only=True)
class WantedWindows:
    """The windows that a run would have if memory were no matter."""

    size: tuple[int, int]  # (height, width) of a frame, pixels
    window: int  # frames, or keyframes
    overlap: int  # of them
    shorter: bool  # whether they may be: not where the user gave their length
    between: int = 0  # frames between two keyframes, at most
    waiting_bytes: int = 0  # of frames that wait for the network


def plan_memory(network: Network, wanted: WantedWindows, *, allowed_gb: float) -> MemoryPlan:
    """The largest of the windows up to the length that is wanted that `allowed_gb` (10⁹ bytes) suffice for.

    A window that encoder and heads take in parts comes before a shorter one, in networks where that helps. On a CPU it
    counts what the process holds already, and what it held while weights were loaded.
    Raises InputError where the memory does not suffice.
    """
    allowed, size = int(allowed_gb * GB), wanted.size
    held, most_held = _held_bytes(network)
    by_parts = None if isinstance(network.config.heads, DenseHeadsConfig) else FRAMES_AT_ONCE

    def planned(frames: int, at_once: int | None) -> MemoryPlan:
        found = footprint(
            network.config,
            precision=network.precision,
            window=frames,
            overlap=min(wanted.overlap, frames - 1),
            size=size,
            frames_at_once=at_once,
        )
        needed = held + int(SLACK * found.window)
        if network.device.type != "cuda":
            placed = frames + (frames - 1) * wanted.between
            needed += HOST_WINDOWS * HOST_BYTES * placed * math.prod(size) + wanted.waiting_bytes
        return MemoryPlan(frames, at_once, max(needed, most_held), allowed)

    least = max(wanted.overlap + 1, 2)
    shorter = [one for one in WINDOWS if least <= one < wanted.window] if wanted.shorter else []
    tried = planned(wanted.window, None)
    for frames in (wanted.window, *shorter):
        if tried.needed_bytes <= allowed:
            return tried
        tried = planned(frames, by_parts)
    if tried.needed_bytes <= allowed:
        return tried
    needed_gb = math.ceil(tried.needed_bytes / GB * 100) / 100
    smaller = "--size" if wanted.shorter else "--size or --window"
    raise InputError(
        f"--max-memory {allowed_gb:g}: {network.config.name} needs {needed_gb:.2f} GB on {device_name(network.device)} "
        f"for windows of {tried.window} frames of {size[0]}×{size[1]} pixels; allow that, or give a smaller {smaller}"
    )


def _held_bytes(network: Network) -> tuple[int, int]:
    """Of the process, or the card: what it holds beside windows, weights included, and the most that it has held."""
    if network.device.type == "cpu":
        give_back_freed_memory()  # of an earlier run in this process
        if (held := resident_bytes()) is not None:
            return held + HOST_LATER_BYTES, peak_resident_bytes()
    return CONTEXT_BYTES + sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers())), 0
