"""The LoGeR network (arXiv 2603.03269): a window of images and the memory in, a prediction and the next memory out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openloger.errors import InputError
from openloger.memory.hybrid import MemoryConfig
from openloger.memory.ttt import TestTimeTraining
from openloger.network.decoder import Decoder, DecoderConfig
from openloger.network.dense import DenseHeads, DenseHeadsConfig
from openloger.network.efficientnet import EfficientNet, EfficientNetConfig
from openloger.network.encoder import Encoder, EncoderConfig
from openloger.network.fusion import PyramidFusion
from openloger.network.hashing import weights_hash
from openloger.network.heads import HeadOutputs, Heads, HeadsConfig
from openloger.network.kernels.choice import Kernels
from openloger.network.measured import lens_of, measured_heads, seen_through
from openloger.network.patches import KeptPatches, joined, parts_of
from openloger.network.places import in_bytes, place_of_overlap, pooled_places
from openloger.network.refinement import DepthRefinement, RefinementConfig
from openloger.network.scale import ScaleMemory, depth_cells
from openloger.network.video_memory import VideoMemory
from openloger.network.window import Window, WindowPrediction
from openloger.shapes import Float, Tensor
from openloger.transformer.attention import Block, attention_preferring
from openloger.transformer.layers import Linear

_IMAGE_MEAN = (0.485, 0.456, 0.406)
_IMAGE_STD = (0.229, 0.224, 0.225)
_EFFICIENTNET_MEAN = (127 / 255,) * 3
_EFFICIENTNET_STD = (128 / 255,) * 3


@dataclass(frozen=True)
class NetworkConfig:
    """The configuration of a network; `presets.py` holds the named ones."""

    name: str
    encoder: EncoderConfig | EfficientNetConfig  # a vision transformer, or convolutions
    decoder: DecoderConfig
    heads: HeadsConfig | DenseHeadsConfig  # dense heads go with a convolutional encoder
    memory: MemoryConfig | None
    max_pixels: int  # frames are sized to at most this
    window: int  # frames, the window it is made for
    overlap: int
    placement: str  # what "auto" places its windows by
    reset_every: int | None = None  # windows, for videos past a thousand frames
    camera: str = "regressed"  # or "geometric": from flow and depth (motion/), the regressed one start and fallback
    keyframes: str = "all"  # what windows are made of by default; "auto": of frames that moved (streaming/keyframes.py)
    refinement: RefinementConfig | None = None  # of depth by what a geometric camera measured; None: the heads' depth

    @property
    def predicts_lens(self) -> bool:
        """Whether its points are depth along the rays of a lens that it predicts, or is given."""
        return isinstance(self.heads, DenseHeadsConfig)


Encoded = tuple[Float[Tensor, "batch frame ..."], ...]  # the encoder's maps; a vision transformer has one


class Network(nn.Module):
    """`prediction, memory = network(window, memory)`; nothing of a video stays in the module."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self.kernels = Kernels()  # as `kernels.use_kernels` sets them
        self.weights: Path | None = None  # the file they were read from; None while they are random
        self.compiled = False  # by `compilation.compile_regions`
        self.frames_at_once: int | None = None  # of the encoder and the patch heads; None: all of a window
        self.fusion: PyramidFusion | None = None
        self.scale: ScaleMemory | None = None
        self.refinement: DepthRefinement | None = None
        self.heads: Heads | DenseHeads
        if isinstance(config.encoder, EfficientNetConfig):
            self._build_convolutional(config.encoder)
        else:
            self._build_transformer(config.encoder)

    def _build_transformer(self, encoder: EncoderConfig) -> None:
        config = self.config
        assert isinstance(config.heads, HeadsConfig), "a vision transformer goes with patch heads"
        self._set_normalisation(_IMAGE_MEAN, _IMAGE_STD)
        self.encoder = Encoder(encoder)
        self.decoder = Decoder(config.decoder, input_width=encoder.width, memory=config.memory)
        self.heads = Heads(config.heads, input_width=2 * config.decoder.width, patch=encoder.patch)

    def _build_convolutional(self, encoder: EfficientNetConfig) -> None:
        config = self.config
        assert isinstance(config.heads, DenseHeadsConfig), "a convolutional encoder goes with dense heads"
        width = config.decoder.width
        self._set_normalisation(_EFFICIENTNET_MEAN, _EFFICIENTNET_STD)
        self.encoder = EfficientNet(encoder)
        self.fusion = PyramidFusion(encoder.channels, width, motion=encoder.motion)
        self.decoder = Decoder(config.decoder, input_width=width, memory=config.memory)
        self.heads = DenseHeads(config.heads, input_width=2 * width, pyramid=encoder.channels, motion=encoder.motion)
        self.scale = ScaleMemory(2 * width) if config.memory else None
        if config.refinement is not None:
            self.refinement = DepthRefinement(config.refinement, pyramid=encoder.channels)

    def _set_normalisation(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.register_buffer("image_mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(std).view(1, 3, 1, 1))

    @property
    def device(self) -> torch.device:
        return self.image_mean.device

    def fresh_memory(self) -> VideoMemory:
        """The state before the first window: empty."""
        return VideoMemory()

    @property
    def takes_padding(self) -> bool:
        """Whether a last window may be padded: not where convolutions match frames with their neighbours."""
        return self.fusion is None

    @property
    def shares_windows(self) -> bool:
        """Whether processes may share a window: not where more than attention and memory reaches beyond a frame."""
        return isinstance(self.heads, Heads) and self.heads.metric is None

    def set_precision(self, precision: torch.dtype) -> Network:
        """Store the matrices of all transformer blocks and TTT layers in `precision`, and run the transformers in it.

        Norms, gates, learning rates, fast weights and pixel layers stay float32, as does the whole of the metric head,
        and all of dense heads, which run outside autocast. Outside the blocks autocast selects the dtypes.
        """
        self.precision = precision
        for layer in self.matrices():
            layer.to(precision)
        return self

    def matrices(self) -> Iterator[Linear]:
        """The layers that `set_precision` stores in its precision."""
        in_float32 = set(self.heads.modules()) if isinstance(self.heads, DenseHeads) else set[nn.Module]()
        for block in self.modules():
            if isinstance(block, Block | TestTimeTraining) and block not in in_float32:
                for layer in block.modules():
                    if isinstance(layer, Linear):
                        yield layer

    def forward(
        self, window: Window, memory: VideoMemory | None = None, *, disabled: Collection[str] = ()
    ) -> tuple[WindowPrediction, VideoMemory]:
        """One window through encoder, decoder and heads.

        Frames that `memory` has from the previous window are not encoded again. Memory layers of the `disabled` kinds
        (of `MEMORY_KINDS`) do not run: they add nothing, as if their gates were zero, and leave nothing in the memory.
        Without "swa" the memories of scale and lens take nothing from the previous window, either. The prediction has
        no frames for a window's `padding`. Of a window that processes share, each computes its frames, and has the
        prediction and the memory of all.
        """
        if window.padding and not (self.takes_padding and window.last and window.used is None):
            raise InputError("only last windows without masks are padded, of networks that match no neighbours")
        if window.share is not None and not self.shares_windows:
            raise InputError(f"{self.config.name} takes whole windows; give them without a share")
        if window.share is not None and (window.padding or window.used is not None):
            raise InputError("windows with padding or masks cannot be shared by processes; give them without a share")
        before = self.fresh_memory() if memory is None else memory
        if window.used is not None:  # convolutions reach past a patch: what is hidden gets the mean of all pictures
            window = replace(window, images=torch.where(window.used[:, :, None], window.images, self.image_mean))
        rows, columns = self._patches(window)
        positions_yx = self.decoder.positions_yx(rows, columns, window.images.device)
        run = self._run_transformer if self.fusion is None else self._run_convolutional
        with attention_preferring(self.kernels.attention):
            heads, after, features = run(window, positions_yx, before, disabled)
        carried = tuple(level[:, -window.overlap :].clone() for level in features) if window.overlap else ()
        return _metric(WindowPrediction(*heads)), replace(after, overlap_features=carried)

    @torch.inference_mode()
    def place_descriptors(self, images: Float[Tensor, "frame 3 height width"]) -> Float[Tensor, "frame number"]:
        """Whole numbers up to 127, of sRGB pictures in [0, 1] (`places.py`); their length has no meaning.

        Raises InputError where their sides are no multiples of the patch.
        """
        window = Window(images[None].to(self.device), len(images), 0)
        rows, columns = self._patches(window)
        with self._autocast():
            maps = self._encoded(window.images, ())
        return in_bytes(pooled_places(tuple(level[0] for level in maps), size=(rows, columns)))

    def carried_place(self, memory: VideoMemory, size: tuple[int, int]) -> Float[Tensor, " number"] | None:
        """As `places.place_of_overlap`."""
        return place_of_overlap(memory.overlap_features, size=size, patch=self.config.encoder.patch)

    def weights_hash(self) -> str | None:
        """The SHA-256 of the weights file, in hexadecimal; None while they are random."""
        return None if self.weights is None else weights_hash(self.weights)

    def run_settings(self) -> dict[str, Any]:
        """Its precision, whether it is compiled, and kernels that are not the default, as recordings keep them."""
        precision = str(self.precision).removeprefix("torch.")
        return {"precision": precision, **({"compiled": True} if self.compiled else {}), **self.kernels.recorded()}

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def _run_transformer(
        self, window: Window, positions_yx: Tensor, before: VideoMemory, disabled: Collection[str]
    ) -> tuple[HeadOutputs, VideoMemory, Encoded]:
        assert isinstance(self.heads, Heads)
        rows, columns = self._patches(window)
        kept, share = KeptPatches.of(window.used, self.config.encoder.patch), window.share
        own = slice(None) if share is None else share.own
        with self._autocast():
            carried = tuple(level[:, own] for level in before.overlap_features)
            features = self._encoded(window.images[:, own], carried, kept)
            tokens, after = self._decoded(features[0], window, positions_yx, before, kept, disabled)
            heads = self.heads(
                tokens,
                positions_yx,
                rows=rows,
                columns=columns,
                rigid=window.rigid,
                kept=kept,
                padding=window.padding,
                frames_at_once=self.frames_at_once,
            )
        if share is not None:
            heads = HeadOutputs(*(share.gather(of_frames, dim=1) for of_frames in heads[:3]), metric_scale=None)
            features = tuple(share.gather(level, dim=1) for level in features)
        return heads, after, tuple(level[:, : level.shape[1] - window.padding] for level in features)

    def _run_convolutional(
        self, window: Window, positions_yx: Tensor, before: VideoMemory, disabled: Collection[str]
    ) -> tuple[HeadOutputs, VideoMemory, Encoded]:
        """Convolutions and heads in float32, the decoder in the network's precision."""
        assert self.fusion is not None
        assert isinstance(self.heads, DenseHeads)
        pyramid, pixels = self._encoded(window.images, before.overlap_features), self._normalised(window.images)
        kept = KeptPatches.of(window.used, self.config.encoder.patch)
        fused = self.fusion(pyramid, window.used)
        with self._autocast():
            tokens, after = self._decoded(fused.tokens, window, positions_yx, before, kept, disabled)
        heads = self.heads(tokens.float(), positions_yx, images=pixels, pyramid=pyramid, fused=fused, kept=kept)
        heads = heads._replace(predicted_focal_px=heads.focal_px)
        recalled, lens = None if "swa" in disabled else before, None
        if self.config.camera == "geometric" and (window.measured or not self.training):
            carried_lens = None if recalled is None else recalled.log_focal
            heads, lens = measured_heads(heads, pyramid, window, self.refinement, carried_lens)
        elif window.intrinsics is not None:
            heads = seen_through(heads, heads.points_cam[..., 2], lens_of(heads, window))
        if window.log_scale is not None:
            heads = _rescaled(heads, window.log_scale)
        if self.scale is not None:
            heads = self._scaled(self.scale, heads, _without_padding(tokens.float(), kept), recalled, window.used)
        carries = self.scale is not None and window.overlap > 0 and "swa" not in disabled
        carried = _cells(heads, window.used, slice(-window.overlap, None)) if carries else None
        return heads, replace(after, overlap_cells=carried, log_focal=lens if carries else None), pyramid

    def _decoded(
        self,
        features: Tensor,
        window: Window,
        positions_yx: Tensor,
        before: VideoMemory,
        kept: KeptPatches | None,
        disabled: Collection[str],
    ) -> tuple[Tensor, VideoMemory]:
        return self.decoder(
            features,
            window.roles if window.share is None else window.roles[window.share.own],
            positions_yx,
            before,
            kept=kept,
            disabled=disabled,
            learns=not window.last,
            padding=window.padding,
            share=window.share,
        )

    def _scaled(
        self, memory: ScaleMemory, heads: HeadOutputs, tokens: Tensor, before: VideoMemory | None, used: Tensor | None
    ) -> HeadOutputs:
        """Points and regressed cameras at the scale that memory gives the window."""
        carried = None if before is None else before.overlap_cells
        return _rescaled(heads, memory(tokens, _cells(heads, used, slice(None)), carried))

    def _encoded(self, images: Tensor, carried: tuple[Tensor, ...], kept: KeptPatches | None = None) -> Encoded:
        """The maps of all frames; those that are not `carried` from before are encoded."""
        new = slice(carried[0].shape[1] if carried else 0, None)
        images = images[:, new]
        normalised = self._normalised(images).flatten(0, 1)
        own = None if kept is None else kept.frames(new)
        parts: list[Encoded] = []
        for part in parts_of(normalised.shape[0], self.frames_at_once):
            some = normalised[part]
            maps = self.encoder(some) if own is None else self.encoder(some, own.frames(part))
            parts.append(maps if isinstance(maps, tuple) else (maps,))
        maps = map(joined, zip(*parts, strict=True))
        levels = tuple(level.unflatten(0, images.shape[:2]) for level in maps)
        if not carried:
            return levels
        return tuple(torch.cat([old.to(level.dtype), level], dim=1) for old, level in zip(carried, levels, strict=True))

    def _normalised(self, images: Tensor) -> Tensor:
        return (images - self.image_mean) / self.image_std

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


def _without_padding(
    tokens: Float[Tensor, "batch frame token channel"], kept: KeptPatches | None
) -> Float[Tensor, "batch frame2 token2 channel"]:
    """All of a window's tokens, in one frame where there is padding to leave out."""
    valid = None if kept is None else kept.valid_tokens(tokens.shape[2] - kept.count)
    return tokens if valid is None else tokens[:, valid][:, None]


def _cells(heads: HeadOutputs, used: Tensor | None, frames: slice) -> Float[Tensor, "batch frame two row column"]:
    """As the memory of scale compares them, of some frames."""
    assert heads.sky_logit is not None
    return depth_cells(
        heads.points_cam[:, frames, ..., 2],
        heads.confidence_logit[:, frames].sigmoid(),
        ignored=heads.sky_logit[:, frames] > 0,
        hidden=None if used is None else ~used[:, frames],
    )


def _rescaled(heads: HeadOutputs, log_scale: Float[Tensor, " batch"]) -> HeadOutputs:
    """Points and cameras' places times a factor."""
    scale = log_scale.exp()[:, None, None]
    world_from_cam = heads.world_from_cam.clone()
    world_from_cam[..., :3, 3] *= scale
    return heads._replace(world_from_cam=world_from_cam, points_cam=heads.points_cam * scale[..., None, None])


def _metric(prediction: WindowPrediction) -> WindowPrediction:
    """Points and camera centres in metres, where the network predicts a metric scale."""
    if (scale := prediction.metric_scale) is None:
        return prediction
    world_from_cam = prediction.world_from_cam.clone()
    world_from_cam[..., :3, 3] *= scale[:, None, None]
    return replace(
        prediction, world_from_cam=world_from_cam, points_cam=prediction.points_cam * scale[:, None, None, None, None]
    )
