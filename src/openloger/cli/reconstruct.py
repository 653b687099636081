"""`openloger reconstruct`: a video in, a recording out."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from openloger.cli import EXIT_INTERRUPTED
from openloger.cli.advice import about_network, next_step, warnings
from openloger.cli.progress import progress_bar
from openloger.cli.terminal import say
from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.network import NetworkSpec
from openloger.pipeline.options import DEFAULT_NETWORK, RunOptions
from openloger.pipeline.reconstruct import reconstruct as run
from openloger.recording import Recording
from openloger.runtime.interrupts import stop_requests
from openloger.runtime.progress import Progress
from openloger.runtime.resources import peak_memory_bytes

_NETWORK = NetworkSpec(DEFAULT_NETWORK)


@dataclass(frozen=True)
class FrameArguments:
    """Which frames."""

    start: int = 0
    """First frame of the source to take."""
    stop: int | None = None
    """First frame not to take."""
    stride: int = 1
    """Take every Nth frame."""
    fps: float | None = None
    """Take at most this many frames a second, by their timestamps."""
    on_bad_frame: Literal["stop", "repeat", "skip"] = "stop"
    """Action on a frame that cannot be decoded."""
    size: tuple[int, int] | None = None
    """Height and width of the network's input, in pixels. By default the network's own, at the video's aspect."""


@dataclass(frozen=True)
class WindowArguments:
    """Forming and placing windows; by default the network's own."""

    window: int | None = None
    """Frames in a window."""
    overlap: int | None = None
    """Frames that neighbouring windows share."""
    placement: str = "auto"
    """none, se3, sim3, sim3:MODE (median_all, trimmed_mean, trimmed_mean_all), or auto."""
    reset_every: int | None = None
    """Reset the fast weights every N windows; 0 for never. By default only in long videos, where asked for."""
    keyframes: Literal["all", "auto"] | None = None
    """Frames that windows are made of: all, or auto for those that moved; every frame is reconstructed either way. By
    default auto for compact, all for the other networks."""


@dataclass(frozen=True)
class RecordingArguments:
    """Settings of the recording."""

    resume: bool = False
    """Go on with an interrupted recording (begin one where there is none)."""
    overwrite: bool = False
    """Replace a recording that is there."""
    lens: Literal["varying", "fixed"] = "varying"
    """fixed: one focal length and principal point for the whole video."""
    intrinsics: tuple[float, float, float, float] | None = None
    """Known fx fy cx cy in pixels of the source, instead of fitted ones."""
    depth_dtype: Literal["float16", "float32"] = "float16"
    """The precision in which depth is stored."""

    @property
    def existing(self) -> Literal["refuse", "resume", "overwrite"]:
        """The action on an existing recording; raises InputError where both are given."""
        if self.resume and self.overwrite:
            raise InputError("--resume and --overwrite cannot both be given: go on, or begin again")
        return "resume" if self.resume else "overwrite" if self.overwrite else "refuse"

    def options(self) -> RunOptions:
        """The options of a run; raises as `existing` does."""
        return RunOptions(
            existing=self.existing,
            lens=self.lens,
            known_intrinsics_px=self.intrinsics,
            depth_dtype=self.depth_dtype,
        )


def reconstruct(
    source: tyro.conf.Positional[str],
    /,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    *,
    network: tyro.conf.OmitArgPrefixes[NetworkSpec] = _NETWORK,
    frames: tyro.conf.OmitArgPrefixes[FrameArguments] = FrameArguments(),
    windows: tyro.conf.OmitArgPrefixes[WindowArguments] = WindowArguments(),
    recording: tyro.conf.OmitArgPrefixes[RecordingArguments] = RecordingArguments(),
    json: bool = False,
) -> int:
    """Reconstruct a video: cameras, depth and confidence for every frame, into a folder.

    Ctrl-C finishes the window in hand and keeps what is done; --resume goes on from there.

    Args:
        source: A video, a folder or glob of images, a list file, "-" for standard input, or world:FAMILY:SEED.
        out: The recording's folder.
        json: Print a summary for programs on standard output.
    """
    asked = recording.options()
    opened = open_frames(
        source,
        start=frames.start,
        stop=frames.stop,
        stride=frames.stride,
        fps=frames.fps,
        on_bad_frame=frames.on_bad_frame,
    )
    loaded = network.load()
    with stop_requests((signal.SIGINT,), on_request=_announce_stop) as stopping, progress_bar(opened.name) as show:
        latest: list[Progress] = []

        def on_progress(progress: Progress) -> None:
            latest[:] = [progress]
            show(progress)

        options = replace(asked, on_progress=on_progress, should_stop=stopping)
        result = run(opened, out, network=loaded, size=frames.size, options=options, **asdict(windows))
    _tell(result, latest[0] if latest else None, trained=loaded.weights is not None, as_json=json)
    return 0 if result.complete else EXIT_INTERRUPTED


def _announce_stop() -> None:
    print("openloger: finishing the window in hand; again to stop at once", file=sys.stderr)


def _tell(recording: Recording, progress: Progress | None, *, trained: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary(recording, progress, trained=trained)))
        return
    speed = f" at {progress.frames_per_s:.1f} frames/s" if progress else ""
    say(f"{len(recording)} frames{speed} in {recording.path}")
    after = next_step(recording.path, complete=recording.complete)
    for line in (*warnings(recording), about_network(recording.meta), after):
        if line is not None:
            say(line)


def summary(recording: Recording, progress: Progress | None, *, trained: bool) -> dict[str, Any]:
    """The JSON summary of a run; `progress` is its last, None where nothing was left to do."""
    return {
        "recording": str(recording.path),
        "frames": len(recording),
        "complete": recording.complete,
        "network": recording.meta.network,
        "trained": trained,
        "about_network": about_network(recording.meta),
        "settings": dict(recording.meta.settings),
        "findings": [finding._asdict() for finding in recording.findings],
        "size": [recording.meta.height, recording.meta.width],
        "seconds": progress and progress.seconds,
        "frames_per_s": progress and progress.frames_per_s,
        "network_busy": progress and progress.busy,
        "peak_memory_bytes": peak_memory_bytes(),
    }
