"""The main job: frames from a source, through the stream, into a recording; at constant memory, and resumable."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import BadFrameError, InputError, counted
from openloger.frames import open_frames
from openloger.frames.identity import identity
from openloger.frames.live import LiveFrames
from openloger.frames.live.source import WAITING_FRAMES
from openloger.frames.through import FramesThrough
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import CameraRig
from openloger.network import Network, NetworkSpec, WindowNetwork
from openloger.network.cores import cores_for
from openloger.network.kernels.choice import Kernels
from openloger.network.kernels.use import use_kernels
from openloger.pipeline.decode_ahead import DecodedAhead
from openloger.pipeline.memory_plan import GB, WantedWindows, plan_memory
from openloger.pipeline.options import DEFAULT_NETWORK, RunOptions, describe, recording_begun
from openloger.pipeline.resume import (
    RecordedPrefix,
    StateSaver,
    recorded_prefix,
    restore,
)
from openloger.recording import (
    BackgroundWriter,
    Cost,
    Recording,
    RecordingMeta,
    RecordingWriter,
    create_recording,
    open_recording,
    resume_recording,
)
from openloger.runtime.allocator import keep_freed_memory
from openloger.runtime.platform import remove_file
from openloger.runtime.progress import Stopwatch
from openloger.runtime.resources import card_bytes_limited, device_name, is_out_of_memory, peak_memory_bytes
from openloger.streaming import RigStream, Stream
from openloger.streaming.keyframes import LONGEST_GAP
from openloger.streaming.stream import KEYS_AHEAD
from openloger.values import FrameSource

_log = logging.getLogger("openloger")


def reconstruct(
    source: str | os.PathLike[str] | FrameSource | Iterable[Any],
    out: str | os.PathLike[str],
    *,
    network: WindowNetwork | str = DEFAULT_NETWORK,
    window: int | None = None,
    overlap: int | None = None,
    placement: str = "auto",
    reset_every: int | None = None,
    size: tuple[int, int] | None = None,
    keyframes: str | None = None,
    options: RunOptions | None = None,
) -> Recording:
    """Reconstruct a video into the folder `out` and open the recording.

    `source` is anything `openloger.open_frames` takes; `network` a loaded one, a preset's name, or the
    folder of an exported network; `window` and
    `overlap` are in frames, `size` is (height, width) in pixels; for these, `placement`, `reset_every` and
    `keyframes` see `Stream`. Decoding runs ahead of the network and writing behind it, each in a thread. Of a live
    source (`openloger.open_live`) few frames are decoded ahead, and `existing="resume"` appends, even to a complete
    recording.

    Raises InputError for what cannot be used as given (BadFrameError for a frame, once all before it are committed)
    and RecordingError where `out` cannot be written or continued. What is committed stays readable.
    """
    options = options or RunOptions()
    live = isinstance(source, LiveFrames)
    if live and options.masks.per_frame is not None:
        raise InputError(
            f"a live source has no masks of its frames as {options.masks.per_frame} holds; give one for all of them"
        )
    opened = open_frames(source)
    stored = recording_begun(
        out,
        source if live else opened,
        options,
        network=NetworkSpec(network).preset if isinstance(network, str) else network.config.name,
        window=window,
        overlap=overlap,
        size=size,
    )
    if stored is not None and stored.complete and not live:
        return stored
    keep_freed_memory()
    camera = options.camera_model
    if stored is not None and stored.meta.settings.get("max_memory_gb") is not None:
        options = replace(options, max_memory_gb=options.max_memory_gb or stored.meta.settings["max_memory_gb"])
        window = window or stored.meta.settings["window"]
    network = _ready_network(network, stored, options)
    stream = _stream(
        network,
        camera,
        stored,
        window=window,
        overlap=overlap,
        placement=placement,
        reset_every=reset_every,
        size=size,
        keyframes=keyframes,
        mask=options.masks.predicted,
    )
    before = recorded_prefix(stream, stored) if live and stored is not None else RecordedPrefix([], np.zeros(0))
    depth = 1 if live else 8
    with closing(DecodedAhead(opened, stream, before, depth=depth, camera=camera, masks=options.masks)) as frames:
        if options.max_memory_gb is not None and stored is None and isinstance(network, Network):
            _keep_within(options.max_memory_gb, stream, network, frames, live=live, shorter=window is None)
        meta = describe(stream, frames, options, source_identity=None if live else identity(opened))
        with (
            _memory_explained(Path(out), network),
            card_bytes_limited(network.device, options.max_memory_gb and options.max_memory_gb * GB),
            cores_for(network, frames.size),
            BackgroundWriter(_writer(out, meta, stored, stream, options, live=live)) as recording,
        ):
            _run(stream, frames, recording, options, live=live)
    if frames.error is not None:
        kept = f"{out} keeps what is before it ({counted(len(open_recording(out)), 'frame')})"
        raise BadFrameError(f"{frames.error}; {kept}", index=frames.error.index) from frames.error
    return open_recording(out)


def _ready_network(network: WindowNetwork | str, stored: Recording | None, options: RunOptions) -> WindowNetwork:
    """Loaded, and set as the recording that is continued was begun; raises InputError for what it cannot do."""
    recorded = None if stored is None else stored.meta.settings
    if isinstance(network, str):
        network = NetworkSpec(network).continuing(recorded).load_window_network()
    if not isinstance(network, Network):
        masked = options.masks.per_frame is not None or options.masks.static is not None
        _check_exported(network, options.max_memory_gb, masked=masked)
        return network
    network.frames_at_once = None
    if recorded is not None:
        if (kernels := Kernels.of_recording(recorded)) != network.kernels:
            use_kernels(network, kernels)
        if recorded.get("max_memory_gb") is not None:
            network.frames_at_once = recorded["frames_at_once"]
    return network


def _stream(
    network: WindowNetwork, camera: CameraModel | CameraRig | None, stored: Recording | None, **settings: Any
) -> Stream | RigStream:
    """Of one camera or a rig, in the state that a recording was left in."""
    if isinstance(camera, CameraRig):
        stream = RigStream(network, rig_from_view=camera.rig_from_view, **settings)
    else:
        stream = Stream(network, **settings)
    if stored is not None:
        restore(stream, stored)
        stream.size = stream.size or (stored.meta.height, stored.meta.width)
    return stream


def _writer(
    out: str | os.PathLike[str],
    meta: RecordingMeta,
    stored: Recording | None,
    stream: Stream | RigStream,
    options: RunOptions,
    *,
    live: bool,
) -> RecordingWriter:
    """Of a new recording, or of one that goes on behind its final frames."""
    if stored is None:
        return create_recording(out, meta, overwrite=options.existing == "overwrite")
    if not live:
        meta = replace(meta, source=stored.meta.source)  # `check_source` accepts a moved file
    return resume_recording(out, meta, frames=stream.state.final_frames)


def _check_exported(network: WindowNetwork, allowed_gb: float | None, *, masked: bool) -> None:
    """Raises InputError for settings of a run that only a network in torch has."""
    if allowed_gb is not None:
        raise InputError(f"max_memory {allowed_gb:g}: an exported network's windows cannot be planned")
    if masked:
        raise InputError(f"mask: an exported network takes none; use the network {network.config.name} itself")


def _keep_within(
    allowed_gb: float,
    stream: Stream | RigStream,
    network: Network,
    frames: DecodedAhead,
    *,
    live: bool,
    shorter: bool,
) -> None:
    """Plan the stream's windows, which may be `shorter`; raises InputError where the memory does not suffice."""
    between = LONGEST_GAP if stream.keyframes == "auto" else 0
    captured = WAITING_FRAMES * 3 * math.prod(frames.source_size) if live else 0
    ahead = KEYS_AHEAD * (1 + between) * 15 * math.prod(frames.size) if between else 0  # as bytes and as numbers
    wanted = WantedWindows(
        size=frames.size,
        window=stream.window,
        overlap=stream.overlap,
        shorter=shorter,
        between=between,
        waiting_bytes=captured + ahead,
    )
    plan = plan_memory(network, wanted, allowed_gb=allowed_gb)
    _log.info("%s", plan.describe())
    stream.window, network.frames_at_once = plan.window, plan.frames_at_once


@contextmanager
def _memory_explained(out: Path, network: WindowNetwork) -> Iterator[None]:
    """Raises InputError where the memory is not enough; what was placed before is committed by then."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{device_name(network.device)} has not enough memory; {out} keeps what was done before "
            f"({counted(len(open_recording(out)), 'frame')}): free some and continue with --resume, or start over with "
            "--max-memory GB, or a smaller --window or --size"
        ) from error


def _run(
    stream: Stream | RigStream, frames: DecodedAhead, recording: BackgroundWriter, options: RunOptions, *, live: bool
) -> None:
    """All windows into the recording, with the stream's state saved beside them as often as that is cheap."""
    watch = Stopwatch(frames=recording.frame_count, total=frames.length)
    saver = StateSaver(recording.state_path)
    device = device_name(stream.network.device)
    before, peak_bytes = watch.now(), 0
    for placed in stream.run(FramesThrough(frames, watch.timed), known_intrinsics_px=frames.known_intrinsics_px):
        state, now = stream.state, watch.now()
        peak_bytes = max(peak_bytes, peak_memory_bytes())  # Linux counts a peak but roughly: it may seem to shrink
        cost = Cost(now.seconds - before.seconds, now.waiting_s - before.waiting_s, peak_bytes, device)
        before = now
        with watch.waiting():
            recording.append(placed, cost=cost, after_commit=saver.after_commit(state))
        options.on_window(placed)
        options.on_progress(watch.advance(placed.final_count))
        if not placed.last and options.should_stop():
            recording.flush()
            saver.save(state)
            return
    recording.finish(complete=frames.error is None)
    if frames.error is None and not live:
        remove_file(recording.state_path)
