"""The processors that a network's run takes: torch's threads while it computes."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

from openloger.network.footprint import multiplications_per_frame
from openloger.network.network import Network
from openloger.network.window_network import WindowNetwork
from openloger.runtime.threads import cores_shared, free_threads


def cores_for(network: WindowNetwork, size: tuple[int, ...]) -> AbstractContextManager[None]:
    """`cores_shared` for a network that runs on frames of (height, width) pixels, as its kernels have it."""
    if free_threads() is None:  # whose number is chosen already, as within a run: nothing needs to be counted
        return nullcontext()
    measured = network.kernels.threads if isinstance(network, Network) else None
    return cores_shared(work=operations_per_frame(network, size), measured=measured)


def operations_per_frame(network: WindowNetwork, size: tuple[int, ...]) -> float:
    """Approximate multiplications per frame of (height, width) on the CPU; on other devices more than any."""
    if network.device.type != "cpu":
        return math.inf
    return multiplications_per_frame(network.config, parameters=network.parameter_count(), pixels=math.prod(size))
