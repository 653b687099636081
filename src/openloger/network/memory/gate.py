"""The gate of a memory layer: SiLU of one number a token, so that a zero-initialised layer adds nothing."""

from __future__ import annotations

from torch import nn


def closed_gate(width: int) -> nn.Linear:
    """A gate that starts closed: training begins as the network without this memory layer."""
    gate = nn.Linear(width, 1)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    return gate
