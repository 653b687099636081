"""Depth refined by what was measured: a small U-Net (arXiv 1505.04597) over triangulated depth and encoder features.

The heads predict depth from pictures; flow between adjusted cameras measures it wherever the camera moved
(`motion/triangulation.py`), but with outliers, and not where there is no texture or parallax. The reliability of a
cell's measurement depends on its information, on the residual of the flow, on its neighbours on the same surface, on
the depth that the other frames have there, and on how well the other frames agree at other depths
(`motion/plane_sweep.py`). The network takes all of these and computes log z ← log z + a + g · ê, where ê is the
measured correction after a narrow prior, and a term for the logit of confidence. Untrained, it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from openloger.network.fusion import Pyramid, upsampled
from openloger.network.heads import HeadOutputs
from openloger.network.motion.flow import STRIDE
from openloger.network.motion.plane_sweep import SweepSettings
from openloger.network.motion.triangulation import (
    PREDICTED_SIGMA,
    NeighbouringDepth,
    Triangulated,
    measurement_weight,
)
from openloger.shapes import Float, Tensor

_SUPPORT = 7  # cells down and across, over which the agreement of a sweep is averaged as well
_EVIDENCE = 15  # maps of a cell, as `_evidence` lists them
_OUTPUTS = 3  # a, g, and the term of the logit of confidence
MOST = 0.7  # of a measured correction, either way


@dataclass(frozen=True)
class RefinementConfig:
    """Channels at strides 4, 8 and 16."""

    channels: tuple[int, int, int] = (32, 48, 64)


class DepthRefinement(nn.Module):
    """Corrections of depth and confidence of all frames of a window."""

    def __init__(self, config: RefinementConfig, *, pyramid: tuple[int, ...]) -> None:
        super().__init__()
        c4, c8, c16 = config.channels
        self.evidence = nn.Conv2d(_EVIDENCE, c4, 3, padding=1)
        self.skips = nn.ModuleList(Skip(given, c) for given, c in zip(pyramid[1:4], config.channels, strict=True))
        self.down = nn.ModuleList([nn.Conv2d(c4, c8, 3, stride=2, padding=1), nn.Conv2d(c8, c16, 3, 2, padding=1)])
        self.blocks = nn.ModuleList(ResidualConvolutions(c) for c in config.channels)
        self.up = nn.ModuleList([nn.Conv2d(c8, c4, 1), nn.Conv2d(c16, c8, 1)])
        self.joined = nn.ModuleList(ResidualConvolutions(c) for c in config.channels[:2])
        self.output = nn.Conv2d(c4, _OUTPUTS, 3, padding=1)
        self.sweep = nn.Conv2d(2 * SweepSettings.planes, c4, 3, padding=1, bias=False)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        heads: HeadOutputs,
        measured: Triangulated,
        neighbours: NeighbouringDepth,
        sweep: Float[Tensor, "batch frame plane rows columns"],
        pyramid: Pyramid,
    ) -> tuple[Float[Tensor, "batch frame height width"], Float[Tensor, "batch frame height width"]]:
        """Terms of log depth and of the logit of confidence, of the heads' depth as the adjustment left it."""
        shape = measured.log_depth.shape[:2]
        weight = measurement_weight(measured.information)
        correction = (measured.log_depth.clamp(-MOST, MOST) * weight).flatten(0, 1)[:, None]
        # torch 2.13 crashes in GroupNorm's backward pass on channels-last maps that need no gradient
        levels = [level.flatten(0, 1).contiguous() for level in pyramid[1:4]]
        evidence = self.evidence(_evidence(heads, measured, neighbours)) + self.sweep(_relative_agreement(sweep))
        a, gain, confidence = self._maps(evidence, levels).split(1, dim=1)
        terms = torch.cat([a + gain * correction, confidence], 1)
        terms = F.interpolate(terms, scale_factor=float(STRIDE), mode="bilinear").unflatten(0, shape)
        return terms[:, :, 0], terms[:, :, 1]

    def _maps(self, evidence: Tensor, levels: list[Tensor]) -> Float[Tensor, "image output row column"]:
        skips = [skip(level) for skip, level in zip(self.skips, levels, strict=True)]
        x4 = self.blocks[0](F.relu(evidence + skips[0]))
        x8 = self.blocks[1](F.relu(self.down[0](x4) + skips[1]))
        x16 = self.blocks[2](F.relu(self.down[1](x8) + skips[2]))
        x8 = self.joined[1](F.relu(x8 + upsampled(self.up[1](x16), like=x8)))
        x4 = self.joined[0](F.relu(x4 + upsampled(self.up[0](x8), like=x4)))
        return self.output(x4)


class Skip(nn.Module):
    """A level of the pyramid, normalised and projected."""

    def __init__(self, given: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, given)
        self.project = nn.Conv2d(given, channels, 1)

    def forward(self, level: Float[Tensor, "image channel row column"]) -> Float[Tensor, "image channel2 row column"]:
        return self.project(self.norm(level))


class ResidualConvolutions(nn.Module):
    """x + two 3×3 convolutions of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "image channel row column"]) -> Float[Tensor, "image channel row column"]:
        return x + self.second(F.relu(self.first(x)))


def _evidence(
    heads: HeadOutputs, measured: Triangulated, neighbours: NeighbouringDepth
) -> Float[Tensor, "image evidence row column"]:
    """Maps of about unit size, of every frame."""
    assert heads.sky_logit is not None
    assert heads.moving_logit is not None
    own, others = measured.log_depth.clamp(-MOST, MOST), neighbours.measured.clamp(-MOST, MOST)
    weight, weight_of_others = measurement_weight(measured.information), measurement_weight(neighbours.information)
    log_depth = heads.points_cam[..., 2].clamp_min(1e-6).log()
    log_depth = log_depth - log_depth.flatten(1).median(1).values[:, None, None, None]
    maps = [
        3 * own * weight,
        own,
        weight,
        (measured.information * PREDICTED_SIGMA**2).log1p() / 4,
        measured.residual_px.clamp(max=4) / 2,
        measured.support / 2,
        _cells(log_depth.clamp(-3, 3)),
        _cells(heads.confidence_logit.clamp(-6, 6)) / 3,
        _cells(heads.sky_logit.clamp(-8, 8) / 2).tanh(),
        _cells(heads.moving_logit.clamp(-8, 8) / 2).tanh(),
        3 * others * weight_of_others,
        others,
        weight_of_others,
        3 * neighbours.log_depth,
        3 * neighbours.spread,
    ]
    return torch.stack(maps, 2).flatten(0, 1)


def _relative_agreement(
    sweep: Float[Tensor, "batch frame plane rows columns"],
) -> Float[Tensor, "image evidence row column"]:
    """By how much every depth agrees better than the mean of all: of the cell, then of those around it."""
    relative = 4 * (sweep - sweep.mean(2, keepdim=True)).flatten(0, 1)
    around = F.avg_pool2d(relative, _SUPPORT, stride=1, padding=_SUPPORT // 2, count_include_pad=False)
    return torch.cat([relative, 3 * around], 1)


def _cells(pixels: Float[Tensor, "batch frame height width"]) -> Float[Tensor, "batch frame row column"]:
    return F.avg_pool2d(pixels, STRIDE)
