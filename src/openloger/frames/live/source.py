"""Sources that go on while they are read, as a `FrameSource` without length.

Capturing runs in a thread of its own, so a slow network never holds up a camera; what waits for the network waits in
one buffer of bounded size (`buffer.py`), and what had to be dropped is counted.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

from openloger.errors import InputError
from openloger.frames.lazy import LazyFrame
from openloger.frames.live.buffer import ClosedError, FrameBuffer, Keep
from openloger.frames.live.clock import Clock
from openloger.frames.live.feeds import Feed, Patience, feed_of
from openloger.frames.live.reconnect import SourceLostError
from openloger.frames.selected import OnBadFrame, SelectedFrames, with_times
from openloger.frames.selection import FrameStamp, Selection
from openloger.runtime.prefetch import PATIENCE_S, Worker
from openloger.values import Frame

WAITING_FRAMES = 16
_GRACE_S = 1.0  # for a source that is stopped to end by itself
_REMEMBERED = 4096  # arrivals, for `waited_s`
logger = logging.getLogger("openloger")


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """Options of a live source."""

    keep: Keep | None = None  # see `FrameBuffer`; None: "all" where the source can wait, "latest" where it cannot
    stride: int = 1
    fps: float | None = None
    on_bad_frame: OnBadFrame = "skip"
    seconds: float | None = None  # how much to take, by the frames' times; None: until it ends
    most_frames: int | None = None
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep not in get_args(Keep):
            raise InputError(f"keep={self.keep!r}: give 'latest' or 'all'")
        if self.seconds is not None and not self.seconds > 0:
            raise InputError(f"seconds={self.seconds:g}: give a positive number, or leave it out")
        if self.most_frames is not None and self.most_frames < 1:
            raise InputError(f"frames={self.most_frames}: give 1 or more, or leave it out")


class LiveFrames:
    """A `FrameSource` that captures while it is iterated, once; `stop` ends it.

    A `Frame.index` counts what the source gave: frames that were dropped, thinned out or bad leave gaps. Its
    `timestamp_s` is when it was taken: in Unix seconds, but for video files, which have times of their own.
    """

    length: None = None

    def __init__(self, feed: Feed, options: LiveOptions, *, clock: Clock | None = None) -> None:
        self.options = options
        self.captured = 0  # frames that the source gave and that were chosen, so far
        self.lost: str | None = None  # why the source gave no more, where that was not its end
        self.feed, self._clock = feed, clock or Clock()
        self._selection = Selection(stride=options.stride, fps=options.fps)
        self._stop = threading.Event()
        self._buffer: FrameBuffer[LazyFrame] | None = None
        self._closing: threading.Timer | None = None
        self._chosen: SelectedFrames | None = None
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)

    @property
    def name(self) -> str:
        return self.feed.name

    @property
    def dropped(self) -> int:
        """Frames that had to go because the network was slower than the source."""
        return 0 if self._buffer is None else self._buffer.dropped

    @property
    def bad_frames(self) -> list[tuple[int, str]]:
        """(index, reason) of the frames that could not be decoded so far."""
        return [] if self._chosen is None else self._chosen.bad_frames

    @property
    def keep(self) -> Keep:
        return self.options.keep or self.feed.keep

    @property
    def stopped(self) -> bool:
        """True once `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Capture no more; what was captured is still given. It may be called from anywhere, a signal's handler too.

        What is in the decoder comes yet; a source that blocks is not waited for.
        """
        if self._stop.is_set():
            return
        self._stop.set()
        if self._buffer is not None:
            self._closing = threading.Timer(_GRACE_S, self._buffer.close)
            self._closing.daemon = True
            self._closing.start()

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """Frames as they come. Cameras and streams begin at index `first`; files and folders are read up to it.

        Raises InputError where the source cannot be read as given or gave no frame at all, and BadFrameError as
        `open_frames` does.
        """
        given, began_s = 0, 0.0
        with closing(self._captured(first)) as frames:
            for frame in frames:
                began_s = began_s if given else frame.timestamp_s
                if self.options.seconds is not None and frame.timestamp_s - began_s >= self.options.seconds:
                    return
                yield frame
                given += 1
                if given == self.options.most_frames:
                    return

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(0)

    def waited_s(self, index: int) -> float | None:
        """Seconds since the frame of this index arrived, or None where unknown; to be called once a frame, in order."""
        while self._arrivals and self._arrivals[0][0] < index:
            self._arrivals.popleft()
        if not self._arrivals or self._arrivals[0][0] != index:
            return None
        return self._clock.now_s() - self._arrivals.popleft()[1]

    def _captured(self, first: int) -> Generator[Frame, None, None]:
        buffer = self._buffer = FrameBuffer(WAITING_FRAMES, keep=self.keep, time_of=lambda slot: slot.timestamp_s)
        worker = Worker(partial(self._capture, buffer, first), name="openloger-capture", on_end=buffer.close)
        chosen = self._chosen = SelectedFrames(
            _BufferedSlots(self, buffer, first), Selection(), self.options.on_bad_frame
        )
        if self._stop.is_set():
            buffer.close()
        worker.start()
        try:
            yield from chosen.frames(first)
        finally:
            self._stop.set()
            buffer.close()
            if self._closing is not None:
                self._closing.cancel()
            worker.join(PATIENCE_S)

    def _capture(self, buffer: FrameBuffer[LazyFrame], first: int) -> None:
        """The thread's work: frames into the buffer, until the source ends or the buffer is closed."""
        with closing(self.feed.slots(first, self._stop)) as slots:
            for slot in self._selection.of(with_times(slots, fps=self.options.fps, name=self.name)):
                self._arrivals.append((slot.index, self._clock.now_s()))
                if not buffer.put(slot):
                    break
                self.captured += 1


@dataclass(frozen=True)
class _BufferedSlots:
    """The buffer as a `LazyFrameSource`, which reports how it ended."""

    live: LiveFrames
    buffer: FrameBuffer[LazyFrame]
    first: int

    @property
    def name(self) -> str:
        return self.live.name

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        patience_s, given = self.live.feed.patience_s, 0
        while True:
            try:
                slot = self.buffer.take(patience_s)
            except ClosedError:
                break
            except TimeoutError:
                self.live.lost = f"nothing came for {patience_s:g} s"
                break
            except SourceLostError as error:
                self.live.lost = str(error)
                break
            except OSError as error:  # its text may hold an address with a password
                self.live.lost = error.strerror or type(error).__name__
                break
            yield slot
            given += 1
        if given == 0 and self.first == 0:
            raise InputError(
                f"{self.name} gave no frame: {self.live.lost or 'it ended, or was stopped, before one came'}"
            )
        if self.live.lost is not None:
            logger.warning("%s: %s; the frames before are kept", self.name, self.live.lost)

    def outline(self, choice: Selection) -> Iterable[FrameStamp] | None:
        return None


def open_live(
    source: str | os.PathLike[str], *, options: LiveOptions | None = None, clock: Clock | None = None
) -> LiveFrames:
    """Frames of a source that goes on while it is read; it can be read once.

    `source` is one of
    - "0": a camera's number, or /dev/video0;
    - rtsp://…, http://…, udp://… and the like: a stream, connected to again when it breaks off;
    - a path to a video that is being written: MPEG-TS, Matroska, fragmented MP4, MJPEG; read until it grows no more;
    - a path to a folder that is being filled with pictures;
    - "-": MJPEG or MPEG-TS on standard input.

    Raises InputError for what cannot be one; iterating raises it where the source cannot be reached or read.
    """
    options, clock = options or LiveOptions(), clock or Clock()
    return LiveFrames(feed_of(source, options.patience, clock), options, clock=clock)
