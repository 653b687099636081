"""Options of a run, and the `meta.json` of its recording."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from openloger.frames.lenses import read_camera
from openloger.frames.masks import Masks
from openloger.geometry.camera_models import CameraModel
from openloger.network import Network, weights_hash
from openloger.pipeline.decode_ahead import DecodedAhead
from openloger.recording import RecordingMeta
from openloger.runtime.progress import Progress
from openloger.streaming import Stream
from openloger.values import PlacedWindow

DEFAULT_NETWORK = "compact"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run."""

    existing: Literal["refuse", "resume", "overwrite"] = "refuse"  # what to do with a recording that is there
    lens: Literal["varying", "fixed"] = "varying"  # fixed: one focal length and principal point for the whole video
    camera: CameraModel | str | None = None  # where it is known: a model, or what `read_camera` reads
    mask: str | os.PathLike[str] | Sequence[str] = ()  # a folder or video of masks, white where used; sky; moving
    mask_static: str | os.PathLike[str] | None = None  # a picture that masks every frame
    depth_dtype: Literal["float16", "float32"] = "float16"
    on_window: Callable[[PlacedWindow], None] = lambda placed: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False  # called between windows; what was done stays, for "resume"

    @property
    def masks(self) -> Masks:
        """Raises InputError where they cannot be used together, or there are none of that name."""
        given = [os.fspath(self.mask)] if isinstance(self.mask, str | os.PathLike) else self.mask
        return Masks.parse(given, self.mask_static)

    @property
    def camera_model(self) -> CameraModel | None:
        """Read anew each time. Raises InputError where `camera` cannot be read."""
        return read_camera(self.camera) if isinstance(self.camera, str) else self.camera


def describe(
    stream: Stream, frames: DecodedAhead, options: RunOptions, *, source_identity: Mapping[str, Any] | None = None
) -> RecordingMeta:
    """The contents of `meta.json`, which must agree when the recording is continued."""
    height, width = frames.size
    known = frames.known_intrinsics_px
    if known is not None:
        y, x = height / frames.source_size[0], width / frames.source_size[1]
        known = (known[0] * x, known[1] * y, known[2] * x, known[3] * y)
    path = stream.network.weights
    return RecordingMeta(
        height=height,
        width=width,
        source_size=frames.source_size,
        source=frames.name,
        source_identity=source_identity,
        network=stream.network.config.name,
        weights_hash=None if path is None else weights_hash(path),
        settings={
            "window": stream.window,
            "overlap": stream.overlap,
            "placement": str(stream.placement),
            "reset_every": stream.resets(frames),
            "keyframes": stream.keyframes,
            "precision": str(stream.network.precision).removeprefix("torch."),
            **({"compiled": True} if stream.network.compiled else {}),
        },
        lens=options.lens,
        known_intrinsics_px=known,
        masks=frames.masks,
        camera=None if frames.camera is None or frames.camera.is_pinhole else frames.camera.text,
        depth_dtype=options.depth_dtype,
    )


def operations_per_frame(network: Network, size: tuple[int, ...]) -> float:
    """Approximate multiplications per frame of (height, width) on the CPU: each parameter once per patch."""
    if network.device.type != "cpu":
        return math.inf
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters * math.prod(size) / network.config.encoder.patch**2
