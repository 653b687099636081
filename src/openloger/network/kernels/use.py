"""Makes a network compute with the kernels of a choice."""

from __future__ import annotations

import torch

from openloger.network.kernels.choice import Kernels
from openloger.network.network import Network
from openloger.transformer.layers import Linear


def use_kernels(network: Network, kernels: Kernels) -> Network:
    """Compute with these from now on, in place; its results stay the same up to rounding. Returns the network."""
    network.kernels = kernels
    for module in network.modules():
        if isinstance(module, Linear):
            module.onednn = kernels.linear == "onednn"
    if network.fusion is not None:
        layout = torch.channels_last if kernels.channels_last else torch.contiguous_format
        network.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    return network
