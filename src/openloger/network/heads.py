"""The heads: each a small transformer within a frame, then points, confidence or camera (π³, arXiv 2507.13347).

Legend: F frame of the batch, L token of a frame, h·w patch, C channel, P patch size. From the point where a head's
transformer ends everything is float32, whatever the precision outside; so is the whole of the metric head, which is
small and whose one number scales a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from openloger.geometry import nearest_rotation
from openloger.network.patches import KeptPatches, joined, kept_mean, parts_of
from openloger.network.pi3x import ConvolutionalPointHead, MetricHead, Pi3XConfig
from openloger.shapes import Bool, Float, Tensor
from openloger.transformer.attention import Block, Rotary
from openloger.transformer.layers import Linear


@dataclass(frozen=True)
class TransformerConfig:
    """A head's own transformer."""

    width: int
    depth: int
    heads: int


@dataclass(frozen=True)
class HeadsConfig:
    width: int  # of each head's transformer
    depth: int
    heads: int
    output_width: int  # what the points' and the confidence's transformer end in
    camera_width: int  # what the camera's ends in
    pi3x: Pi3XConfig | None = None


class HeadTransformer(nn.Module):
    """Decoder features to a head's own, attending within each frame."""

    def __init__(self, input_width: int, config: HeadsConfig | TransformerConfig, *, output_width: int) -> None:
        super().__init__()
        self.head_dim = config.width // config.heads
        self.input = Linear(input_width, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, qk_norm=False, layer_scale=None) for _ in range(config.depth)
        )
        self.output = Linear(config.width, output_width)

    def forward(
        self,
        tokens: Float[Tensor, "frame token channel"],
        positions_yx: Float[Tensor, "*frame token 2"],
        valid: Bool[Tensor, "frame token"] | None = None,
    ) -> Float[Tensor, "frame token feature"]:
        """Positions are the same in every frame, or each frame's own; tokens that are not `valid` are padding."""
        x = self.input(tokens)
        rotary = Rotary.of(positions_yx if positions_yx.ndim == 2 else positions_yx[:, None], self.head_dim)
        for block in self.blocks:
            x = block(x, rotary, valid=valid)
        return self.output(x)


class PixelHead(nn.Module):
    """A linear layer from each patch to its P×P pixels."""

    def __init__(self, width: int, patch: int, channels: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = Linear(width, channels * patch * patch)

    def forward(
        self, patches: Float[Tensor, "frame patch feature"], rows: int, columns: int
    ) -> Float[Tensor, "frame channel height width"]:
        x = self.proj(patches.float()).mT.unflatten(2, (rows, columns))  # (F, channel·P·P, h, w), channel-major
        return F.pixel_shuffle(x, self.patch)


class ResidualPerceptron(nn.Module):
    """Three linear + ReLU layers around an identity skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch feature"]:
        y = x
        for layer in self.layers:
            y = F.relu(layer(y))
        return x + y


class CameraHead(nn.Module):
    """A frame's patches to its camera-to-world transform, the rotation projected from nine numbers (π³, 2507.13347)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(ResidualPerceptron(width) for _ in range(2))
        self.perceptron = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.translation = nn.Linear(width, 3)
        self.rotation = nn.Linear(width, 9)
        with torch.no_grad():
            self.rotation.bias.copy_(torch.eye(3).flatten())  # an untrained camera is the identity

    def forward(
        self, patches: Float[Tensor, "frame patch feature"], kept: KeptPatches | None = None, *, rigid: bool = True
    ) -> Float[Tensor, "frame 4 4"]:
        """Not `rigid`: the nine numbers as they are, for whoever projects them: a decomposition on a card makes the
        host wait for it."""
        x = patches.float()
        for residual in self.residuals:
            x = residual(x)
        x = kept_mean(x, kept)
        for layer in self.perceptron:
            x = F.relu(layer(x))
        rows = F.normalize(self.rotation(x).unflatten(1, (3, 3)), dim=-1)
        world_from_cam = torch.eye(4, device=x.device).repeat(x.shape[0], 1, 1)
        world_from_cam[:, :3, :3] = nearest_rotation(rows) if rigid else rows
        world_from_cam[:, :3, 3] = self.translation(x)
        return world_from_cam


def points_from_maps(maps: Float[Tensor, "frame 3 height width"]) -> Float[Tensor, "frame height width 3"]:
    """(x, y, z) maps to camera-frame points (x·Z, y·Z, Z) at depth Z = exp(z) (π³, arXiv 2507.13347)."""
    x, y, z = maps.unbind(1)
    depth = z.exp()
    return torch.stack([x * depth, y * depth, depth], dim=-1)


class HeadOutputs(NamedTuple):
    """The outputs of the heads for one window, before it is placed in the world."""

    world_from_cam: Float[Tensor, "batch frame 4 4"]
    points_cam: Float[Tensor, "batch frame height width 3"]
    confidence_logit: Float[Tensor, "batch frame height width"]
    metric_scale: Float[Tensor, " batch"] | None
    sky_logit: Float[Tensor, "batch frame height width"] | None = None  # the dense heads' alone, as what follows
    moving_logit: Float[Tensor, "batch frame height width"] | None = None
    focal_px: Float[Tensor, "batch frame"] | None = None
    flow_px: Float[Tensor, "batch frame 4 row column"] | None = None
    predicted_focal_px: Float[Tensor, "batch frame"] | None = None
    fisheye_error: Float[Tensor, " batch"] | None = None


class Heads(nn.Module):
    """All heads of a network over one window's tokens."""

    def __init__(self, config: HeadsConfig, *, input_width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.point_transformer = HeadTransformer(input_width, config, output_width=config.output_width)
        self.confidence_transformer = HeadTransformer(input_width, config, output_width=config.output_width)
        self.camera_transformer = HeadTransformer(input_width, config, output_width=config.camera_width)
        self.confidence = PixelHead(config.output_width, patch, channels=1)
        self.camera = CameraHead(config.camera_width)
        self.metric = None
        if (pi3x := config.pi3x) is None:
            self.points = PixelHead(config.output_width, patch, channels=3)
        else:
            self.points = ConvolutionalPointHead(config.output_width, pi3x.stages, patch=patch)
            self.metric = MetricHead(input_width, pi3x)

    def forward(
        self,
        tokens: Float[Tensor, "batch frame token channel"],
        positions_yx: Float[Tensor, "place 2"],
        *,
        rows: int,
        columns: int,
        rigid: bool = True,
        kept: KeptPatches | None = None,
        padding: int = 0,
        frames_at_once: int | None = None,
    ) -> HeadOutputs:
        """`rows` × `columns` patches end each frame's tokens, or those that are `kept`; what stands before is special.

        `positions_yx` are of all of a frame's tokens. The last `padding` frames have no outputs. A frame's outputs but
        the metric scale are its own, so that frames may take turns, which takes less memory.
        """
        batch, frames = tokens.shape[:2]
        by_frame = tokens.flatten(0, 1)
        parts = [
            self._of_frames(
                by_frame[part],
                positions_yx,
                rows=rows,
                columns=columns,
                rigid=rigid,
                kept=None if kept is None else kept.frames(part),
            )
            for part in parts_of(batch * frames, frames_at_once)
        ]
        world_from_cam, points_cam, logit = (
            joined(output).unflatten(0, (batch, frames))[:, : frames - padding] for output in zip(*parts, strict=True)
        )
        special = tokens.shape[2] - (rows * columns if kept is None else kept.count)
        places = positions_yx if kept is None else kept.positions(positions_yx, special)
        valid = None if kept is None else kept.valid_tokens(special)
        with torch.autocast(tokens.device.type, enabled=False):
            metric = self.metric and self._metric(self.metric, tokens[:, : frames - padding], places, valid)
        return HeadOutputs(world_from_cam, points_cam, logit, metric)

    def _of_frames(
        self, tokens: Tensor, positions_yx: Tensor, *, rows: int, columns: int, rigid: bool, kept: KeptPatches | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cameras, points and confidence of some frames, (F, L, C)."""
        special = tokens.shape[1] - (rows * columns if kept is None else kept.count)
        places = positions_yx if kept is None else kept.positions(positions_yx, special)
        valid = None if kept is None else kept.valid_tokens(special)
        point, confidence, camera = (
            transformer(tokens, places, valid)[:, special:]
            for transformer in (self.point_transformer, self.confidence_transformer, self.camera_transformer)
        )
        if kept is not None:
            point, confidence = kept.unpack(point), kept.unpack(confidence)
        with torch.autocast(tokens.device.type, enabled=False):
            maps = self.points(point, rows, columns)
            logit = self.confidence(confidence, rows, columns)[:, 0]
            return self.camera(camera, kept, rigid=rigid), points_from_maps(maps), logit

    @staticmethod
    def _metric(head: MetricHead, tokens: Tensor, places: Tensor, valid: Tensor | None) -> Float[Tensor, " batch"]:
        """Of all tokens of the window but padding."""
        frames = tokens.shape[1]
        row, positions = (
            tokens.flatten(1, 2).float(),
            places.repeat(frames, 1) if places.ndim == 2 else places.flatten(0, 1),
        )
        if valid is None:
            return head(row, positions)
        return head(row[:, valid.flatten()], positions[valid.flatten()])
