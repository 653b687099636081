"""Video files and video on standard input: decoded forward by PyAV, turned upright, timed by their pts."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openloger.errors import InputError
from openloger.frames.container import (
    GapDetector,
    PacketsRead,
    Picture,
    display_matrix,
    frame_interval_s,
    packets,
    pictures,
    upright,
)
from openloger.frames.lazy import NOMINAL_FPS, LazyFrame, UndecodableError
from openloger.frames.selection import Place, Selection
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
            say_untimed(container, self.name)
            yield from container_slots(container, first, name=self.name)

    def outline(self, choice: Selection) -> Iterable[Place]:
        with self._open() as container:
            stream = video_stream(container, self.name)
            if choice.fps is None and _counted(stream):
                return [Place(index) for index in range(stream.frames)]
            return [Place(index, time_s) for index, time_s in enumerate(_packet_times(container, stream))]

    def _open(self) -> Any:
        import av
        from av.error import FFmpegError

        try:
            container = av.open(os.fspath(self.path), metadata_errors="replace")
        except FFmpegError as error:
            raise InputError(
                f"{self.path} is not a video, or was cut off before its index was written "
                f"({error.strerror}); give a video, a folder of pictures or a list"
            ) from error
        video_stream(container, self.name)
        return container


@dataclass(frozen=True)
class VideoPipe:
    """MJPEG or MPEG-TS from standard input (anything PyAV can read without seeking); it can be read once."""

    stream: Any  # the binary stream; has peek() and read1()
    name: str = "standard input"
    _started: list[bool] = field(default_factory=list, init=False, repr=False)

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        if self._started:
            raise InputError(f"{self.name} can be read only once; save it to a file to read it again")
        self._started.append(True)
        with open_pipe(self.stream, self.name) as container:
            say_untimed(container, self.name)
            yield from container_slots(container, first, name=self.name)

    def outline(self, choice: Selection) -> None:
        return None


def open_pipe(stream: Any, name: str, *, options: Mapping[str, str] | None = None) -> Any:
    """A PyAV container that reads a buffered binary stream forward; raises InputError where that is no video."""
    import av
    from av.error import FFmpegError

    mjpeg = stream.peek(2)[:2] == b"\xff\xd8"  # which nothing else in a bare run of JPEGs would tell
    try:
        container = av.open(
            _ForwardReader(stream),
            format="mjpeg" if mjpeg else None,
            container_options=dict(options or {}),  # as `options`, PyAV before 18 crashes where streams come later
            metadata_errors="replace",
        )
    except FFmpegError as error:
        raise InputError(
            f"{name} is not a video that can be read as it comes ({error.strerror}); "
            "send MJPEG or MPEG-TS, as `ffmpeg -i … -f mpegts -` writes it"
        ) from error
    video_stream(container, name)
    return container


class _ForwardReader:
    """All that PyAV may do with a pipe: read what is there, without waiting for a full buffer."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        return self._stream.read1(size)


def standard_input() -> VideoPipe:
    """The video piped into this process; raises InputError at a terminal."""
    stream: Any = sys.stdin.buffer
    if stream.isatty():
        raise InputError("source '-' is standard input, and nothing is piped into it; pipe MJPEG or MPEG-TS")
    return VideoPipe(stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream))


def video_stream(container: Any, name: str, *, threads: Literal["AUTO", "SLICE"] = "AUTO") -> Any:
    """The stream to decode; threads that work on whole frames ("AUTO") are faster, and as many frames late.

    Raises InputError, and closes the container, where there is none.
    """
    for stream in container.streams.video:
        if stream.codec_context is not None and not _is_cover(stream):
            stream.thread_type = threads
            return stream
    container.close()
    raise InputError(
        f"{name} has no video stream that can be decoded (a file that was cut off may lose it); give a video"
    )


def _is_cover(stream: Any) -> bool:
    """True for cover art; PyAV reports the disposition as an integer, as a flag, or (13) not at all."""
    disposition = getattr(stream, "disposition", 0)
    return bool(getattr(disposition, "value", disposition) & _COVER_ART)


_COVER_ART = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_UNTIMED = frozenset({"mjpeg", "mpjpeg"})  # formats that are pictures one after the other; their readers make times up


def container_slots(
    container: Any, first: int, *, name: str, threads: Literal["AUTO", "SLICE"] = "AUTO"
) -> Generator[LazyFrame, None, None]:
    """The frames of an open container from number `first` on, timed by it where it can.

    Pictures that carry no times are numbered as `NOMINAL_FPS` a second, and not `timed`.
    """
    from av.video.reformatter import VideoReformatter

    stream = video_stream(container, name, threads=threads)
    gaps, reformatter = GapDetector(name), VideoReformatter()
    timed = container.format.name not in _UNTIMED
    with closing(pictures(container, stream)) as decoded:
        for index, picture in enumerate(decoded):
            timestamp_s = _time_s(picture, index, stream) if timed else index / NOMINAL_FPS
            gaps.update(index, timestamp_s)
            if index >= first:
                yield LazyFrame(
                    index, timestamp_s, f"frame_{index:06d}", partial(_rgb, picture, reformatter), timed=timed
                )


def _time_s(picture: Picture, index: int, stream: Any) -> float:
    return index * frame_interval_s(stream) if picture.pts is None else float(picture.pts * stream.time_base)


def say_untimed(container: Any, name: str) -> None:
    """Tell once where the frames' times are made up."""
    if container.format.name in _UNTIMED:
        logger.info("%s carries no times; its frames are numbered as %g a second", name, NOMINAL_FPS)


def _rgb(picture: Picture, reformatter: Any) -> UInt8[np.ndarray, "height width 3"]:
    """`reformatter` is shared: of its own, each frame would set up tables and start threads."""
    if picture.image is None:
        raise UndecodableError(picture.reason)
    return upright(reformatter.reformat(picture.image, format="rgb24").to_ndarray(), display_matrix(picture.image))


def _counted(stream: Any) -> bool:
    """True where the container's frame count is the number of frames that will be decoded.

    It is not, where it is missing, counts a first fragment only, or an edit list takes frames out.
    """
    if not stream.frames or stream.duration is None:
        return False
    surplus_s = stream.frames * frame_interval_s(stream) - float(stream.duration * stream.time_base)
    return abs(surplus_s) < frame_interval_s(stream)


def _packet_times(container: Any, stream: Any) -> list[float]:
    """The times of all frames in order, from the packets alone: reading, no decoding."""
    found = [(packet.pts, packet.is_discard) for packet in packets(container, stream, PacketsRead())]
    shown = [pts for pts, is_discarded in found if not is_discarded]
    if any(pts is None for pts in shown):
        return [index * frame_interval_s(stream) for index in range(len(shown))]
    return [float(pts * stream.time_base) for pts in sorted(shown) if pts >= found[0][0]]
