"""`openloger reconstruct`: a video in, a recording out."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from openloger.cli import EXIT_INTERRUPTED
from openloger.cli.advice import about_network, next_step, warnings
from openloger.cli.arguments import MemoryArguments, StorageArguments, WindowArguments, default_out
from openloger.cli.terminal import print_status, progress_bar
from openloger.errors import InputError, counted
from openloger.frames import open_frames
from openloger.frames.ros_bag import is_bag
from openloger.network import NetworkSpec
from openloger.pipeline.options import DEFAULT_NETWORK, recording_begun
from openloger.pipeline.reconstruct import reconstruct as run
from openloger.recording import Recording
from openloger.runtime.interrupts import stop_requests
from openloger.runtime.progress import Progress
from openloger.runtime.resources import peak_memory_bytes


@dataclass(frozen=True)
class UsualArguments:
    """The options that most runs need."""

    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The recording's folder. By default in this folder, named as the source: walk.mp4 gives walk."""
    network: str = DEFAULT_NETWORK
    """A preset (`openloger networks` lists them), or a folder that `openloger export-network` wrote."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    start: int = 0
    """First frame of the source to take."""
    stop: int | None = None
    """First frame not to take."""
    fps: float | None = None
    """Take at most this many frames a second, by their timestamps."""
    resume: bool = False
    """Go on with an interrupted recording (begin one where there is none)."""
    overwrite: bool = False
    """Replace a recording that is there."""


@dataclass(frozen=True)
class AdvancedArguments(MemoryArguments, StorageArguments, WindowArguments):
    """Everything else; by default as the network was made for."""

    weights: str | None = None
    """A file, a folder, a Hugging Face id (user/repo), or "random". By default what the box or the hub has."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or auto: bfloat16 where the device is fast in it (`openloger info --device`)."""
    compile: bool = False
    """Compile the network with torch.compile: faster from then on, but the first windows take long, and more memory."""
    topic: str | None = None
    """Of a ROS bag with several topics of pictures: the one to take."""
    stride: int = 1
    """Take every Nth frame."""
    on_bad_frame: Literal["stop", "repeat", "skip"] = "stop"
    """Action on a frame that cannot be decoded."""
    size: tuple[int, int] | None = None
    """Height and width of the network's input, in pixels. By default the network's own, at the video's aspect."""
    json: bool = False
    """Print a summary for programs on standard output."""


def reconstruct(
    source: tyro.conf.Positional[str],
    /,
    *,
    usual: tyro.conf.OmitArgPrefixes[UsualArguments] = UsualArguments(),
    advanced: tyro.conf.OmitArgPrefixes[AdvancedArguments] = AdvancedArguments(),
) -> int:
    """Reconstruct a video: cameras, depth and confidence for every frame, into a folder.

    Ctrl-C finishes the window in hand and keeps what is done; --resume goes on from there.

    Args:
        source: A video, a folder or glob of images, a list file, a ROS bag, "-" for standard input, or
            world:FAMILY:SEED.
    """
    requested = advanced.options(resume=usual.resume, overwrite=usual.overwrite)
    requested = replace(requested, max_memory_gb=advanced.max_memory_gb)
    if advanced.topic is not None:
        if not is_bag(Path(source)):
            raise InputError(f"--topic goes with ROS bags, and {source} is none; leave it out")
        source = f"{source}#{advanced.topic}"
    opened = open_frames(
        source,
        start=usual.start,
        stop=usual.stop,
        stride=advanced.stride,
        fps=usual.fps,
        on_bad_frame=advanced.on_bad_frame,
    )
    out = default_out(source) if usual.out is None else usual.out
    spec = NetworkSpec(usual.network, advanced.weights, usual.device, advanced.dtype, advanced.compile)
    begun = recording_begun(
        out,
        opened,
        requested,
        network=spec.preset,
        window=advanced.window,
        overlap=advanced.overlap,
        size=advanced.size,
    )
    if begun is not None and begun.complete:
        _print_summary(begun, None, as_json=advanced.json)
        return 0
    if usual.out is None:
        print_status(f"openloger: the recording goes to {out}{os.sep}")
    loaded = spec.continuing(None if begun is None else begun.meta.settings).load_window_network()
    with stop_requests((signal.SIGINT,), on_request=_announce_stop) as stopping, progress_bar(opened.name) as show:
        latest: list[Progress] = []

        def on_progress(progress: Progress) -> None:
            latest[:] = [progress]
            show(progress)

        options = replace(requested, on_progress=on_progress, should_stop=stopping)
        result = run(opened, out, network=loaded, size=advanced.size, options=options, **advanced.windowing())
    _print_summary(result, latest[0] if latest else None, as_json=advanced.json)
    return 0 if result.complete else EXIT_INTERRUPTED


def _announce_stop() -> None:
    print("openloger: finishing the window in hand; again to stop at once", file=sys.stderr)


def _print_summary(recording: Recording, progress: Progress | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary(recording, progress)))
        return
    speed = f" at {progress.frames_per_s:.1f} frames/s" if progress else ""
    print_status(f"{counted(len(recording), 'frame')}{speed} in {recording.path}")
    after = next_step(recording.path, complete=recording.complete)
    for line in (*warnings(recording), about_network(recording.meta), after):
        if line is not None:
            print_status(line)


def summary(recording: Recording, progress: Progress | None) -> dict[str, Any]:
    """The JSON summary of a run; `progress` is its last, None where nothing was left to do."""
    return {
        "recording": str(recording.path),
        "frames": len(recording),
        "complete": recording.complete,
        "network": recording.meta.network,
        "trained": recording.meta.weights_hash is not None,
        "about_network": about_network(recording.meta),
        "settings": dict(recording.meta.settings),
        "findings": [finding._asdict() for finding in recording.findings],
        "size": [recording.meta.height, recording.meta.width],
        "seconds": progress and progress.seconds,
        "frames_per_s": progress and progress.frames_per_s,
        "network_busy": progress and progress.busy,
        "peak_memory_bytes": peak_memory_bytes(),
    }
