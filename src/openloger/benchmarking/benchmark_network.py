"""The network that a benchmark loads, in this process or in a child's, and waiting for its device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.errors import InputError
from openloger.network import Network, NetworkSpec


@dataclass(frozen=True)
class BenchmarkNetwork(NetworkSpec):
    """Which network runs, and on how many threads."""

    network: str = "pocket"
    """A preset; `openloger networks` lists them."""
    threads: int | None = None
    """Threads of torch on the CPU; by default as many as it takes by itself."""

    def load(self) -> Network:
        """The network, on its device, with this process's threads set."""
        if self.threads is not None:
            if self.threads < 1:
                raise InputError(f"threads {self.threads}: at least 1 is needed")
            torch.set_num_threads(self.threads)
        return super().load()


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work, so that clocks are exact."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
