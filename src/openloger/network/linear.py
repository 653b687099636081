"""A linear layer whose product, in inference in float32 on an x86 processor, is oneDNN's.

torch takes MKL's there, which keeps AMD's processors to a third of what they can do (78 against 210 Gflop/s on one core
of a Zen 5, at the sizes of `pocket`). The values are the same up to rounding. For the large products; elsewhere
torch's own layer does as well.
"""

from __future__ import annotations

import platform

import torch
from torch import nn

from openloger.shapes import Float, Tensor

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # what torch.compile calls, too; not in every build


class Linear(nn.Linear):
    """x Wᵀ + b"""

    def forward(self, input: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        if _onednn is None or not _serves(input, self.weight):
            return super().forward(input)
        return _onednn(input, self.weight, self.bias, "none", [], "")


def _serves(x: Tensor, weight: Tensor) -> bool:
    return (
        _X86
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
    )
