"""Layers that network and memory share."""

from __future__ import annotations

import platform

import torch
from torch import nn

from openloger.shapes import Float, Tensor

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # what torch.compile calls, too; not in every build


class Linear(nn.Linear):
    """x Wᵀ + b, computed by oneDNN or by torch's own MKL in float32 inference on x86 CPUs.

    Which of them is faster differs between CPUs (78 Gflop/s of MKL against 210 of oneDNN were measured on one core of a
    Zen 5, and oneDNN up to 30 % slower on another), so that it is a choice (`onednn`). The values are the same up to
    rounding. For the large products of transformer blocks and memory layers, which `Network.set_precision` stores in
    another precision; elsewhere torch's own layer does as well.
    """

    onednn = True  # where it can; False: torch's own

    def forward(self, input: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        if torch.compiler.is_compiling() or not self.onednn or _onednn is None or not _serves(input, self.weight):
            return super().forward(input)
        return _onednn(input, self.weight, self.bias, "none", [], "")


def has_onednn() -> bool:
    """Whether there is a choice between oneDNN and torch's own products on this machine's CPU."""
    return _X86 and _onednn is not None


def _serves(x: Tensor, weight: Tensor) -> bool:
    return (
        _X86
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
    )


def memory_gate(width: int, *, bias: float = 0.0) -> nn.Linear:
    """The gate of a memory layer: SiLU of one number a token, `bias` at first.

    At zero the layer adds nothing when training begins, so that it can be put into a network that is trained already.
    """
    gate = nn.Linear(width, 1)
    nn.init.zeros_(gate.weight)
    nn.init.constant_(gate.bias, bias)
    return gate
