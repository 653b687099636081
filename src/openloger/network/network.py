"""The LoGeR network (arXiv 2603.03269): a window of images and the memory in, a prediction and the next memory out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from openloger.errors import InputError
from openloger.geometry import SE3
from openloger.network.decoder import Decoder, DecoderConfig
from openloger.network.encoder import Encoder, EncoderConfig
from openloger.network.heads import Heads, HeadsConfig
from openloger.network.memory.hybrid import HybridMemory, MemoryConfig
from openloger.shapes import Float, Int, Tensor

_IMAGE_MEAN = (0.485, 0.456, 0.406)
_IMAGE_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is; `presets.py` holds the named ones."""

    name: str
    encoder: EncoderConfig
    decoder: DecoderConfig
    heads: HeadsConfig
    memory: MemoryConfig | None
    max_pixels: int  # frames are sized to at most this
    window: int  # frames, the window it is made for
    overlap: int
    placement: str  # what "auto" places its windows by
    reset_every: int | None = None  # windows, for videos past a thousand frames


@dataclass(frozen=True)
class Window:
    """Consecutive frames of a video; in a chain the first `overlap` of them are the previous window's last."""

    images: Float[Tensor, "batch frame 3 height width"]  # sRGB in [0, 1]
    size: int  # the run's nominal window, which a last window may fall short of
    overlap: int

    @property
    def roles(self) -> Int[Tensor, " frame"]:
        """0 for frames shared with the previous window, 1 for this one's own, 2 for those shared with the next.

        Counted from the nominal size for every window of a run, the first and a short last one too.
        """
        frames = self.images.shape[1]
        previous = min(self.overlap, frames)
        own = min(max(self.size - 2 * self.overlap, 0), frames - previous)
        following = frames - previous - own
        if following > self.overlap:
            raise InputError(f"a window of {frames} frames is longer than its nominal size {self.size}")
        return torch.tensor([0] * previous + [1] * own + [2] * following, device=self.images.device)


@dataclass(frozen=True)
class WindowPrediction:
    """What the network sees in a window. The window's own world: its scale and frame are what memory makes them."""

    world_from_cam: Float[Tensor, "batch frame 4 4"]  # rigid
    points_cam: Float[Tensor, "batch frame height width 3"]  # in each frame's camera, z forward
    confidence_logit: Float[Tensor, "batch frame height width"]
    metric_scale: Float[Tensor, " batch"] | None  # metres per unit, already applied; None where no head says it

    @property
    def confidence(self) -> Float[Tensor, "batch frame height width"]:
        """0..1"""
        return self.confidence_logit.sigmoid()

    @property
    def points_world(self) -> Float[Tensor, "batch frame height width 3"]:
        return SE3.from_matrix(self.world_from_cam).apply(self.points_cam)


class Network(nn.Module):
    """`prediction, memory = network(window, memory)`; nothing of a video stays in the module."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self.weights: Path | None = None  # the file they were read from; None while they are random
        self.register_buffer("image_mean", torch.tensor(_IMAGE_MEAN).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(_IMAGE_STD).view(1, 3, 1, 1))
        self.encoder = Encoder(config.encoder)
        self.decoder = Decoder(config.decoder, input_width=config.encoder.width, memory=config.memory)
        self.heads = Heads(config.heads, input_width=2 * config.decoder.width, patch=config.encoder.patch)

    @property
    def device(self) -> torch.device:
        return self.image_mean.device

    def fresh_memory(self) -> HybridMemory:
        """The state before the first window: empty."""
        return HybridMemory()

    def set_precision(self, precision: torch.dtype) -> Network:
        """Run the transformers in `precision`, their matrices stored in it; norms, gates and pixel layers stay float32.

        The maths does not know: outside it, autocast picks each operation's type.
        """
        self.precision = precision
        for part in (self.encoder, self.decoder, self.heads):
            for name, module in part.named_modules():
                if isinstance(module, nn.Linear) and _in_transformer_block(name):
                    module.to(precision)
        return self

    def forward(self, window: Window, memory: HybridMemory | None = None) -> tuple[WindowPrediction, HybridMemory]:
        """One window through encoder, decoder and heads.

        Frames that `memory` has seen in the previous window are not encoded again.
        """
        before = self.fresh_memory() if memory is None else memory
        rows, columns = self._patches(window)
        with self._autocast():
            features = self._encode(window.images, before.overlap_features)
            positions_yx = self.decoder.positions_yx(rows, columns, features.device)
            tokens, after = self.decoder(features, window.roles, positions_yx, before)
            heads = self.heads(tokens, positions_yx, rows=rows, columns=columns)
        carried = features[:, -window.overlap :].clone() if window.overlap else None
        return _metric(WindowPrediction(*heads)), replace(after, overlap_features=carried)

    def _encode(
        self, images: Float[Tensor, "batch frame 3 height width"], carried: Tensor | None
    ) -> Float[Tensor, "batch frame patch channel"]:
        known = 0 if carried is None else carried.shape[1]
        new = images[:, known:]
        pixels = (new.flatten(0, 1) - self.image_mean) / self.image_std
        features = self.encoder(pixels).unflatten(0, new.shape[:2])
        return features if carried is None else torch.cat([carried.to(features.dtype), features], dim=1)

    def _patches(self, window: Window) -> tuple[int, int]:
        height, width = window.images.shape[-2:]
        patch = self.config.encoder.patch
        if height % patch or width % patch:
            raise InputError(f"frames of {width}×{height} do not divide into patches of {patch}: resize them first")
        return height // patch, width // patch

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        enabled = self.precision != torch.float32
        with torch.autocast(self.device.type, dtype=self.precision if enabled else None, enabled=enabled):
            yield


def _in_transformer_block(name: str) -> bool:
    if name.startswith("metric."):
        return False
    return "blocks." in name or ".block." in name or (name.endswith(("to_qkv", "proj")) and "ttt." in name)


def _metric(prediction: WindowPrediction) -> WindowPrediction:
    """Points and camera centres in metres, where the network says how long its unit is."""
    if (scale := prediction.metric_scale) is None:
        return prediction
    world_from_cam = prediction.world_from_cam.clone()
    world_from_cam[..., :3, 3] *= scale[:, None, None]
    return replace(
        prediction, world_from_cam=world_from_cam, points_cam=prediction.points_cam * scale[:, None, None, None, None]
    )
