"""Video files and video on standard input: decoded forward by PyAV, timed by their pts."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openloger.errors import InputError
from openloger.frames.colour import rgb_of
from openloger.frames.container import GapDetector, PacketsRead, Picture, frame_interval_s, packets, pictures
from openloger.frames.demuxers import open_forward, open_video_file, video_stream
from openloger.frames.files import MOST_PIXELS
from openloger.frames.lazy import NOMINAL_FPS, LazyFrame, UndecodableError
from openloger.frames.selection import FrameStamp, Selection
from openloger.frames.times import BEGIN_ANYWHERE, FrameTimes
from openloger.shapes import UInt8

LIVE = {"fpsprobesize": "0", "analyzeduration": "500000"}  # options: by default, the first picture waits up to 5 s
logger = logging.getLogger("openloger")


@dataclass(frozen=True)
class VideoFile:
    """A video on disk. Seeking is slow and inexact everywhere, so every pass decodes from the start."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise InputError(f"{self.path} is not a regular file; pipe it in and give '-' as the source")
        if self.path.stat().st_size == 0:
            raise InputError(f"{self.path} is empty (0 bytes); record or copy it again")
        with self._open():
            pass

    @property
    def name(self) -> str:
        return str(self.path)

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        with self._open() as container:
            log_untimed(container, self.name)
            yield from container_slots(container, first, name=self.name)

    def outline(self, choice: Selection) -> Iterable[FrameStamp]:
        with self._open() as container:
            stream = video_stream(container, self.name)
            if choice.fps is None and _counted(stream):
                return [FrameStamp(index) for index in range(stream.frames)]
            return [
                FrameStamp(index, time_s) for index, time_s in enumerate(_packet_times(container, stream, self.name))
            ]

    def _open(self) -> Any:
        container = open_video_file(self.path)
        stream = video_stream(container, self.name)
        if not stream.codec_context.width:
            container.close()
            raise InputError(
                f"{self.path} shows no picture, or one beyond the limit of {MOST_PIXELS.value:,} pixels "
                f"({MOST_PIXELS.variable} raises it)"
            )
        return container


def creation_time_s(path: Path) -> float | None:
    """When a video says that it was begun, in seconds since 1970; None where it does not, or is none.

    Some cameras write their local time there as if it were UTC.
    """
    if not path.is_file():
        return None
    try:
        with open_video_file(path) as container:
            text = container.metadata.get("creation_time", "")
        return datetime.fromisoformat(text).timestamp()
    except (InputError, ValueError):
        return None


@dataclass(eq=False)
class VideoPipe:
    """MJPEG or MPEG-TS from standard input (anything PyAV can read without seeking); it can be read once."""

    stream: Any  # the binary stream; has peek() and read1()
    name: str = "standard input"
    _started: bool = field(default=False, init=False, repr=False)

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        if self._started:
            raise InputError(f"{self.name} can be read only once; save it to a file to read it again")
        self._started = True
        with open_pipe(self.stream, self.name) as container:
            log_untimed(container, self.name)
            yield from container_slots(container, first, name=self.name)

    def outline(self, choice: Selection) -> None:
        return None


def open_pipe(stream: Any, name: str, *, options: Mapping[str, str] | None = None) -> Any:
    """A PyAV container that reads a buffered binary stream forward; raises InputError where that is no video."""
    container = open_forward(stream, name, options=options or {})
    video_stream(container, name)
    return container


def standard_input() -> VideoPipe:
    """The video piped into this process; raises InputError at a terminal."""
    stream: Any = sys.stdin.buffer
    if stream.isatty():
        raise InputError("source '-' is standard input, and nothing is piped into it; pipe MJPEG or MPEG-TS")
    return VideoPipe(stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream))


_UNTIMED = frozenset({"mjpeg", "mpjpeg"})  # formats that are pictures one after the other; their readers make times up


def container_slots(
    container: Any, first: int, *, name: str, threads: Literal["AUTO", "SLICE"] = "AUTO"
) -> Generator[LazyFrame, None, None]:
    """The frames of an open container from number `first` on, timed by it where it can.

    Pictures that carry no times are numbered as `NOMINAL_FPS` a second, and not `timed`.
    """
    from av.video.reformatter import VideoReformatter

    stream = video_stream(container, name, threads=threads)
    gaps, reformatter, times = GapDetector(name), VideoReformatter(), frame_times(container, stream, name)
    timed, aspect = container.format.name not in _UNTIMED, stream.sample_aspect_ratio
    with closing(pictures(container, stream)) as decoded:
        for index, picture in enumerate(decoded):
            stream_s = None if picture.pts is None else float(picture.pts * stream.time_base)
            timestamp_s = times.next(stream_s) if timed else index / NOMINAL_FPS
            gaps.update(index, timestamp_s)
            if index >= first:
                load = partial(_rgb, picture, reformatter, aspect)
                yield LazyFrame(index, timestamp_s, f"frame_{index:06d}", load, timed=timed)


def frame_times(container: Any, stream: Any, name: str) -> FrameTimes:
    """The source of the times of a container's frames."""
    return FrameTimes(frame_interval_s(stream), name, from_zero=container.format.name in BEGIN_ANYWHERE)


def log_untimed(container: Any, name: str) -> None:
    """Log once where the frames' times are made up."""
    if container.format.name in _UNTIMED:
        logger.info("%s carries no times; its frames are numbered as %g a second", name, NOMINAL_FPS)


def _rgb(picture: Picture, reformatter: Any, aspect: Fraction | None) -> UInt8[np.ndarray, "height width 3"]:
    if picture.image is None:
        raise UndecodableError(picture.reason)
    return rgb_of(picture.image, reformatter, aspect=aspect)


def _counted(stream: Any) -> bool:
    """True where the container's frame count is the number of frames that will be decoded.

    It is not, where it is missing, counts a first fragment only, or an edit list takes frames out.
    """
    if not stream.frames or stream.duration is None:
        return False
    surplus_s = stream.frames * frame_interval_s(stream) - float(stream.duration * stream.time_base)
    return abs(surplus_s) < frame_interval_s(stream)


def _packet_times(container: Any, stream: Any, name: str) -> list[float]:
    """The times of all frames in order, from the packets alone: reading, no decoding."""
    found = [(packet.pts, packet.is_discard) for packet in packets(container, stream, PacketsRead())]
    shown = [pts for pts, is_discarded in found if not is_discarded]
    times = frame_times(container, stream, name)
    if any(pts is None for pts in shown):
        return [times.next(None) for _ in shown]
    return [times.next(float(pts * stream.time_base)) for pts in sorted(shown) if pts >= found[0][0]]
