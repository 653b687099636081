"""A run's state in about five bytes a weight, for machines that are lent for minutes.

Of each large tensor: the weight as float16, its running mean as an 8-bit difference from that, first moments in
8 bits (steps of 1/127 of the largest in each block of `BLOCK`), second moments in 8 bits of their logarithm (steps of
an eighth of an octave below the largest, 32 octaves deep), for they are divided by. Small tensors stay as they are.
A run taken up from it is a run with a little rounding noise, once.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from openloger.shapes import Float, Tensor

BLOCK = 128
_PER_OCTAVE = 8
_SMALL = 1024  # elements; below, nothing is gained
_EIGHT_BIT = ("moment.exp_avg.", "moment.momentum_buffer.")


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named tensors of a checkpoint to fewer bytes; `unpack` is the inverse up to rounding."""
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu()
        if value.numel() < _SMALL or value.dtype != torch.float32 or float(value.abs().max()) > 6e4:
            packed[name] = value
        elif name.startswith("weight."):
            packed[name] = value.half()
        elif name.startswith("mean."):
            weight = tensors["weight." + name.removeprefix("mean.")].detach().cpu().half().float()
            packed |= _quantise(name, value - weight)
        elif name.startswith(_EIGHT_BIT):
            packed |= _quantise(name, value)
        elif name.startswith("moment.exp_avg_sq."):
            packed |= _quantise_octaves(name, value)
        else:
            packed[name] = value
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named float32 tensors again; what was not packed is untouched."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.startswith("steps8."):
            plain = name.removeprefix("steps8.")
            value = _dequantise(tensor, packed["scale8." + plain])
            if plain.startswith("mean."):
                value = value + packed["weight." + plain.removeprefix("mean.")].float()
            tensors[plain] = value
        elif name.startswith("octaves8."):
            plain = name.removeprefix("octaves8.")
            tensors[plain] = packed["largest8." + plain] * torch.exp2(tensor.float() / -_PER_OCTAVE)
        elif not name.startswith(("scale8.", "largest8.")):
            tensors[name] = tensor.float()
    return tensors


def _quantise(name: str, value: Tensor) -> dict[str, Tensor]:
    flat = value.flatten()
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).unflatten(0, (-1, BLOCK))
    scale = blocks.abs().amax(dim=1) / 127
    steps = (blocks / scale.clamp(min=1e-38)[:, None]).round().to(torch.int8)
    return {"steps8." + name: steps.flatten()[: len(flat)].reshape(value.shape), "scale8." + name: scale}


def _quantise_octaves(name: str, value: Tensor) -> dict[str, Tensor]:
    largest = value.max().clamp(min=1e-38)
    below = _PER_OCTAVE * (largest.log2() - value.clamp(min=1e-38).log2())
    return {"octaves8." + name: below.round().clamp(0, 255).to(torch.uint8), "largest8." + name: largest}


def _dequantise(steps: Tensor, scale: Float[Tensor, " block"]) -> Tensor:
    each = scale.repeat_interleave(BLOCK)[: steps.numel()].reshape(steps.shape)
    return steps.float() * each
