"""Options of a run, and the `meta.json` of its recording."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openloger.errors import RecordingError
from openloger.frames.lenses import read_camera
from openloger.frames.live import LiveFrames
from openloger.frames.masks import Masks
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import CameraRig
from openloger.network import Network
from openloger.pipeline.decode_ahead import DecodedAhead
from openloger.pipeline.resume import check_masks, check_source, recording_to_resume
from openloger.recording import Recording, RecordingMeta
from openloger.recording.create import check_folder
from openloger.runtime.progress import Progress
from openloger.streaming import RigStream, Stream
from openloger.values import FrameSource, PlacedWindow

DEFAULT_NETWORK = "compact"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run."""

    existing: Literal["refuse", "resume", "overwrite"] = "refuse"  # what to do with a recording that is there
    lens: Literal["varying", "fixed"] = "varying"  # fixed: one focal length and principal point for the whole video
    camera: CameraModel | CameraRig | str | None = None  # where it is known: a model, or what `read_camera` reads
    mask: str | os.PathLike[str] | Sequence[str] = ()  # a folder or video of masks, white where used; sky; moving
    mask_static: str | os.PathLike[str] | None = None  # a picture that masks every frame
    depth_dtype: Literal["float16", "float32"] = "float16"
    max_memory_gb: float | None = None  # 10⁹ bytes, of the card or of this process, that windows are planned by
    on_window: Callable[[PlacedWindow], None] = lambda placed: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False  # called between windows; what was done stays, for "resume"

    @property
    def masks(self) -> Masks:
        """Raises InputError where they cannot be used together, or there are none of that name."""
        given = [os.fspath(self.mask)] if isinstance(self.mask, str | os.PathLike) else self.mask
        return Masks.parse(given, self.mask_static)

    @property
    def camera_model(self) -> CameraModel | CameraRig | None:
        """Read anew each time. Raises InputError where `camera` cannot be read."""
        return read_camera(self.camera) if isinstance(self.camera, str) else self.camera


def recording_begun(
    out: str | os.PathLike[str],
    source: FrameSource,
    options: RunOptions,
    *,
    network: str | None,
    window: int | None,
    overlap: int | None,
    size: tuple[int, int] | None,
) -> Recording | None:
    """The recording in `out` that a run continues; None where the run begins one.

    All that can be refused without a network is refused here, before one is loaded: the folder, another source or other
    masks (of a source that is not live), and what differs from the recording: network (a preset's name), window and
    overlap (frames), size (height and width, pixels), where they are given, and the options' lens, depth_dtype and
    number of views.
    Nothing is changed.

    Raises RecordingError where `out` cannot be written or continued.
    """
    check_folder(out, existing=options.existing)
    stored = recording_to_resume(Path(out)) if options.existing == "resume" else None
    if stored is None:
        return None
    if not isinstance(source, LiveFrames):
        check_source(stored, source)
        check_masks(stored, options.masks)
    meta = stored.meta
    recorded = {"network": meta.network, "lens": meta.lens, "depth_dtype": meta.depth_dtype}
    recorded |= {"size": (meta.height, meta.width), "views": meta.views, **meta.settings}
    given = {"network": network, "window": window, "overlap": overlap, "size": size and tuple(size)}
    given["views"] = views_of(options.camera_model)
    differing = [
        f"{name} {recorded.get(name)!r}, not {value!r}"
        for name, value in {**given, "lens": options.lens, "depth_dtype": options.depth_dtype}.items()
        if value is not None and value != recorded.get(name)
    ]
    if differing:
        raise RecordingError(
            f"{stored.path}: was made with {'; '.join(differing)}: resume with the same, choose another folder, or "
            "replace it with --overwrite"
        )
    return stored


def describe(
    stream: Stream | RigStream,
    frames: DecodedAhead,
    options: RunOptions,
    *,
    source_identity: Mapping[str, Any] | None = None,
) -> RecordingMeta:
    """The contents of `meta.json`, which must agree when the recording is continued."""
    height, width = frames.size
    known = frames.known_intrinsics_px
    if known is not None:
        y, x = height / frames.source_size[0], width / frames.source_size[1]
        known = (known[0] * x, known[1] * y, known[2] * x, known[3] * y)
    return RecordingMeta(
        height=height,
        width=width,
        source_size=frames.source_size,
        source=frames.name,
        source_identity=source_identity,
        network=stream.network.config.name,
        weights_hash=stream.network.weights_hash(),
        settings={
            "window": stream.window,
            "overlap": stream.overlap,
            "placement": str(stream.placement),
            "reset_every": stream.resets(frames),
            "keyframes": stream.keyframes,
            **stream.network.run_settings(),
            **_planned(stream, options),
        },
        lens=options.lens,
        known_intrinsics_px=known,
        masks=frames.masks,
        camera=None if frames.camera is None or frames.camera.is_pinhole else frames.camera.text,
        views=views_of(frames.camera),
        depth_dtype=options.depth_dtype,
    )


def views_of(camera: CameraModel | CameraRig | None) -> int:
    """The number of frames that a picture gives."""
    return len(camera) if isinstance(camera, CameraRig) else 1


def _planned(stream: Stream | RigStream, options: RunOptions) -> dict[str, Any]:
    if options.max_memory_gb is None:
        return {}
    assert isinstance(stream.network, Network), "checked when the plan was made"
    return {"max_memory_gb": options.max_memory_gb, "frames_at_once": stream.network.frames_at_once}
