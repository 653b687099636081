"""`--max-memory`: windows, and frames that encoder and heads take at once, so that a run keeps to a given memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openloger.errors import InputError
from openloger.network import Network
from openloger.network.dense import DenseHeadsConfig
from openloger.network.footprint import footprint
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


def plan_memory(
    network: Network, *, size: tuple[int, int], window: int, overlap: int, shorter: bool, allowed_gb: float
) -> MemoryPlan:
    """The largest of the windows up to `window` frames, sharing `overlap`, that `allowed_gb` (10⁹ bytes) suffice for.

    Frames have `size` = (height, width) pixels. A window that encoder and heads take in parts comes before a shorter
    one, and none is `shorter` where the user gave its length. On a CPU it counts what the process holds already, and
    what it held while weights were loaded.
    Raises InputError where the memory does not suffice, and for networks whose memory is not planned.
    """
    if isinstance(network.config.heads, DenseHeadsConfig):
        raise InputError(
            f"--max-memory plans networks of patches (loger, pi3, pocket); {network.config.name} goes by what it finds "
            "in a window: run it without, and with a smaller --size or --window where memory is short"
        )
    allowed = int(allowed_gb * GB)
    held, most_held = _held_bytes(network)

    def planned(frames: int, at_once: int | None) -> MemoryPlan:
        found = footprint(
            network.config,
            precision=network.precision,
            window=frames,
            overlap=min(overlap, frames - 1),
            size=size,
            frames_at_once=at_once,
        )
        host = 0 if network.device.type == "cuda" else HOST_WINDOWS * HOST_BYTES * frames * size[0] * size[1]
        return MemoryPlan(frames, at_once, max(held + int(SLACK * found.window) + host, most_held), allowed)

    least = max(overlap + 1, 2)
    lengths = [window, *(one for one in WINDOWS if least <= one < window)] if shorter else [window]
    tried = planned(window, None)
    for frames in lengths:
        if tried.needed_bytes <= allowed:
            return tried
        tried = planned(frames, FRAMES_AT_ONCE)
    if tried.needed_bytes <= allowed:
        return tried
    needed_gb, smaller = math.ceil(tried.needed_bytes / GB * 100) / 100, "--size" if shorter else "--size or --window"
    raise InputError(
        f"--max-memory {allowed_gb:g}: {network.config.name} needs {needed_gb:.2f} GB on {device_name(network.device)} "
        f"for windows of {tried.window} frames of {size[0]}×{size[1]} pixels; allow that, or give a smaller {smaller}"
    )


def _held_bytes(network: Network) -> tuple[int, int]:
    """Of the process, or the card: what it holds beside windows, weights included, and the most that it has held."""
    if network.device.type == "cpu" and (held := resident_bytes()) is not None:
        return held + HOST_LATER_BYTES, peak_resident_bytes()
    return CONTEXT_BYTES + sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers())), 0
