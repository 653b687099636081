"""The main job: frames from a source, through the stream, into a recording; at constant memory, and resumable."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from openloger.cores import cores_shared
from openloger.errors import BadFrameError, InputError, RecordingError
from openloger.frames import Frame, FrameSource, open_frames, resized, run_ahead
from openloger.heap import keep_freed_memory
from openloger.network import Network, load_network, weights_hash
from openloger.progress import Progress, Stopwatch
from openloger.recording import (
    BackgroundWriter,
    Cost,
    Recording,
    RecordingMeta,
    create_recording,
    open_recording,
    resume_recording,
    write_atomically,
)
from openloger.recording.layout import STATE_FILE
from openloger.recording.meta import is_recording
from openloger.resources import device_name, peak_memory_bytes
from openloger.shapes import Float64
from openloger.streaming import PlacedWindow, Stream, StreamState, network_frame_size

DEFAULT_NETWORK = "pocket"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a run does besides reconstructing."""

    existing: Literal["refuse", "resume", "overwrite"] = "refuse"  # what to do with a recording that is there
    lens: Literal["varying", "fixed"] = "varying"  # fixed: one focal length and principal point for the whole video
    known_intrinsics_px: tuple[float, float, float, float] | None = None  # fx, fy, cx, cy in the source's pixels
    depth_dtype: Literal["float16", "float32"] = "float16"
    live: bool = False  # its frames come once: few are read ahead, and "resume" appends, even to what is complete
    on_window: Callable[[PlacedWindow], None] = lambda placed: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False  # asked between windows; what was done stays, for "resume"


def reconstruct(
    source: str | os.PathLike[str] | FrameSource | Iterable[Any],
    out: str | os.PathLike[str],
    *,
    network: Network | str = DEFAULT_NETWORK,
    window: int | None = None,
    overlap: int | None = None,
    placement: str = "auto",
    reset_every: int | None = None,
    size: tuple[int, int] | None = None,
    options: RunOptions | None = None,
) -> Recording:
    """Reconstruct a video into the folder `out` and open the recording.

    `source` is anything `openloger.open_frames` takes; `network` a loaded one or a preset's name; `window` and
    `overlap` are in frames, `size` is (height, width) in pixels; for these, `placement` and `reset_every` see
    `Stream`. Decoding runs ahead of the network and writing behind it, each in a thread.

    Raises InputError for what cannot be used as given (BadFrameError for a frame, once all before it are committed)
    and RecordingError where `out` cannot be written or continued. What is committed stays readable.
    """
    options = options or RunOptions()
    keep_freed_memory()
    network = load_network(network) if isinstance(network, str) else network
    stream = Stream(network, window=window, overlap=overlap, placement=placement, reset_every=reset_every, size=size)
    stored = open_recording(out) if options.existing == "resume" and is_recording(Path(out)) else None
    if stored is not None and stored.complete and not options.live:
        return stored
    if stored is not None:
        _restore(stream, stored)
    before = _recorded_before(stream, stored) if options.live and stored is not None else _Before([], np.zeros(0))
    with closing(_DecodedAhead(open_frames(source), stream, before, depth=1 if options.live else 8)) as frames:
        meta = _describe(stream, frames, options)
        if stored is None:
            writer = create_recording(out, meta, overwrite=options.existing == "overwrite")
        else:
            writer = resume_recording(out, meta, frames=stream.state.final_frames)
        with cores_shared(work=_work(network, frames.size)), BackgroundWriter(writer) as recording:
            _run(stream, frames, recording, options)
    if frames.error is not None:
        kept = f"the {len(open_recording(out))} frames before it are in {out}"
        raise BadFrameError(f"{frames.error}; {kept}", index=frames.error.index) from frames.error
    return open_recording(out)


def _run(stream: Stream, frames: _DecodedAhead, recording: BackgroundWriter, options: RunOptions) -> None:
    """All windows into the recording, with the stream's state saved beside them as often as that is cheap."""
    watch = Stopwatch(frames=recording.frame_count, total=frames.length)
    saver = _StateSaver(recording.state_path)
    frames.watch = watch
    device = device_name(stream.network.device)
    before, peak_bytes = watch.now(), 0
    for placed in stream.run(frames):
        state, now = stream.state, watch.now()
        peak_bytes = max(peak_bytes, peak_memory_bytes())  # Linux counts a peak but roughly: it may seem to shrink
        cost = Cost(now.seconds - before.seconds, now.waiting_s - before.waiting_s, peak_bytes, device)
        before = now
        with watch.waiting():
            recording.append(placed, cost=cost, after_commit=lambda _, state=state: saver.offer(state))
        options.on_window(placed)
        options.on_progress(watch.advance(placed.final))
        if not placed.last and options.should_stop():
            recording.flush()
            saver.save(state)
            return
    recording.finish(complete=frames.error is None)
    if frames.error is None and not options.live:
        recording.state_path.unlink(missing_ok=True)


class _Before(NamedTuple):
    """What a live source gave before, and will not give again."""

    unseen: list[Frame]  # by the stream's state; they are few, as it is saved every few windows
    times_s: Float64[np.ndarray, " frame"]  # of all that is recorded

    def go_on(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames that follow; where their clock stands before the last recorded one, it is moved on to one step
        after it, so that a recording's times never run back."""
        moved_s = None
        for frame in frames:
            if moved_s is None:
                moved_s = self._behind_s(frame)
            yield replace(frame, timestamp_s=frame.timestamp_s + moved_s)

    def _behind_s(self, frame: Frame) -> float:
        if len(self.times_s) == 0 or frame.timestamp_s > self.times_s[-1]:
            return 0.0
        step_s = float(np.median(np.diff(self.times_s[-10:]))) if len(self.times_s) > 1 else 0.0
        return float(self.times_s[-1]) + step_s - frame.timestamp_s


class _DecodedAhead:
    """A FrameSource, once: the source's frames from where the stream stands, at the network's size, decoded ahead.

    Those that a live source gave `before` come first, from what was recorded. A frame that cannot be decoded ends it
    like the video's end; `error` then says why.
    """

    def __init__(self, source: FrameSource, stream: Stream, before: _Before, *, depth: int) -> None:
        self.name, self.length = source.name, source.length
        self.error: BadFrameError | None = None
        self.watch = Stopwatch()
        self.given_size: tuple[int, int] | None = None  # (height, width) of the source's pictures
        self._stream = stream
        recorded = before.unseen
        first = recorded[-1].index + 1 if recorded else stream.state.next_index
        self._ready = run_ahead(before.go_on(resized(source, self._fit).frames(first)), depth=depth)
        self._recorded, self._head = recorded, list(islice(self._ready, 1))  # its size is needed before the run begins
        known = self._head or recorded or [picture.frame for picture in stream.state.pending]
        if not known:
            raise InputError(f"{self.name} gave no frame to reconstruct")
        self.size = known[0].rgb.shape[:2]

    def frames(self, first: int = 0) -> Iterator[Frame]:
        try:
            for frame in self.watch.timed(chain(self._recorded, self._head, self._ready)):
                if frame.index >= first:
                    yield frame
        except BadFrameError as error:
            self.error = error

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def close(self) -> None:
        """Let the decoding thread go."""
        self._ready.close()

    def _fit(self, height: int, width: int) -> tuple[int, int]:
        self.given_size = (height, width)
        return self._stream.size or network_frame_size(height, width, self._stream.network.config)


def _describe(stream: Stream, frames: _DecodedAhead, options: RunOptions) -> RecordingMeta:
    """What goes into `meta.json`, and must agree when the recording is continued."""
    height, width = frames.size
    known = options.known_intrinsics_px
    if known is not None and frames.given_size is not None:
        y, x = height / frames.given_size[0], width / frames.given_size[1]
        known = (known[0] * x, known[1] * y, known[2] * x, known[3] * y)
    path = stream.network.weights
    return RecordingMeta(
        height=height,
        width=width,
        source=frames.name,
        network=stream.network.config.name,
        weights_hash=None if path is None else weights_hash(path),
        settings={
            "window": stream.window,
            "overlap": stream.overlap,
            "placement": str(stream.placement),
            "reset_every": stream.resets(frames),
            "precision": str(stream.network.precision).removeprefix("torch."),
        },
        lens=options.lens,
        known_intrinsics_px=known,
        depth_dtype=options.depth_dtype,
    )


def _work(network: Network, size: tuple[int, ...]) -> float:
    """Multiplications a frame of (height, width) on the CPU, about: each parameter once for each patch."""
    if network.device.type != "cpu":
        return math.inf
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters * math.prod(size) / network.config.encoder.patch**2


class _StateSaver:
    """Keeps the stream's state on disk. It is never ahead of the committed frames; a resume rolls them back to it.

    Saving a large network's state takes seconds, so it waits until that is a small share of the time since the last.
    """

    share_of_time = 0.05

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved_at_s, self._cost_s = time.perf_counter(), 0.0

    def offer(self, state: StreamState) -> None:
        """Save it if the last time is long enough ago."""
        if self._cost_s <= self.share_of_time * (time.perf_counter() - self._saved_at_s):
            self.save(state)

    def save(self, state: StreamState) -> None:
        if state.finished:  # a bad frame may have ended the video here; a resume shall try that window again
            return
        began_s = time.perf_counter()
        write_atomically(self.path, state.to_bytes())
        self._saved_at_s = time.perf_counter()
        self._cost_s = self._saved_at_s - began_s


def _restore(stream: Stream, stored: Recording) -> None:
    """Put the stream where the interrupted run last left its state; at the beginning where it left none."""
    path = stored.path / STATE_FILE
    if path.is_file():
        stream.state = StreamState.from_bytes(path.read_bytes(), device=stream.network.device)


def _recorded_before(stream: Stream, stored: Recording) -> _Before:
    """What a recording has of a live source.

    It has the frames as the network saw them, so what follows is what an uncut run would have made of them.
    Raises RecordingError where there is no state although there was more than a window.
    """
    if not stored.state_path.is_file() and len(stored) > stream.window:
        raise RecordingError(
            f"{stored.path}: cannot be appended to, as no state of the run was kept, which only live runs keep when "
            "they are complete; choose another folder, or begin again with --overwrite"
        )
    seen = int(np.searchsorted(stored.source_index, stream.state.next_index))
    kept = stored.frames(start=seen)
    unseen = [Frame(frame.rgb, frame.source_index, frame.timestamp_s, frame.name) for frame in kept]
    return _Before(unseen, stored.timestamps_s)
