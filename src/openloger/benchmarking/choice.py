"""Which network a benchmark runs, as a value that a child process can be told."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.errors import InputError
from openloger.network import Network, load_network


@dataclass(frozen=True)
class NetworkChoice:
    """Which network runs, and on what."""

    network: str = "pocket"
    """A preset; `openloger networks` lists them."""
    weights: str | None = None
    """A file, a folder, a Hugging Face id (user/repo), or "random". By default what the box or the hub has."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or auto: bfloat16 where the device multiplies in it."""
    threads: int | None = None
    """Threads of torch on the CPU; by default as many as it takes by itself."""

    def load(self) -> Network:
        """The network, on its device, with this process's threads set."""
        if self.threads is not None:
            if self.threads < 1:
                raise InputError(f"threads {self.threads}: at least 1 is needed")
            torch.set_num_threads(self.threads)
        return load_network(self.network, weights=self.weights, device=self.device, dtype=self.dtype)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
