"""The main job with one thing after the other, in one thread: the naive twin, and what can be timed stage by stage."""

from __future__ import annotations

import time
from pathlib import Path

from openloger.benchmarking.stageclock import StageClock, TimedFrames
from openloger.errors import InputError
from openloger.frames import resized
from openloger.network import Network
from openloger.recording import RecordingMeta, RecordingWriter, create_recording
from openloger.streaming import Stream, network_size
from openloger.values import FrameSource


def reconstruct_serially(source: FrameSource, out: Path, network: Network, *, clock: StageClock) -> float:
    """A source into a recording, its stages counted by `clock`; returns the seconds from the first frame on."""
    began_s = time.perf_counter()
    decoded = TimedFrames(source, clock, "decode")
    sized = resized(decoded, lambda height, width: network_size(height, width, network.config))
    stream = Stream(network)
    writer: RecordingWriter | None = None
    with clock.stage("rest"):
        timed = TimedFrames(sized, clock, "resize")
        for placed in stream.run(timed, observer=lambda: clock.stage("placement"), ahead=0):
            with clock.stage("write"):
                writer = writer or create_recording(out, _meta(source, network, placed.frames[0].rgb.shape[:2]))
                writer.append(placed)
        with clock.stage("write"):
            if writer is None:
                raise InputError(f"{source.name} gave no frame to measure with")
            writer.finish()
    return time.perf_counter() - began_s


def _meta(source: FrameSource, network: Network, size: tuple[int, ...]) -> RecordingMeta:
    return RecordingMeta(
        height=size[0],
        width=size[1],
        source=source.name,
        network=network.config.name,
        weights_hash=None,
        settings={},
        depth_dtype="float32",
    )
