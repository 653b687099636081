"""The sources of `openloger live`: one `Feed` for each kind."""

from __future__ import annotations

import io
import math
import os
import re
import select
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from openloger.errors import InputError
from openloger.frames.addresses import shown_address
from openloger.frames.lazy import LazyFrame
from openloger.frames.live import camera
from openloger.frames.live.buffer import Keep
from openloger.frames.live.clock import CaptureClock, Clock
from openloger.frames.live.growing_file import GrowingFile, check_growing
from openloger.frames.live.growing_folder import GrowingFolder
from openloger.frames.live.network_stream import Address, connect
from openloger.frames.live.reconnect import Reconnecting, SourceLostError
from openloger.frames.video import LIVE, container_slots, log_untimed, open_pipe
from openloger.frames.world import PREFIX

_LOOK_S = 0.1


class PipedInput(io.RawIOBase):
    """A file descriptor as a raw stream that ends with its input, when `stop` is set, or after `stall_s` of nothing.

    Where the system cannot wait for a pipe (Windows), reading waits as long as the pipe does.
    """

    def __init__(self, descriptor: int, *, stall_s: float, stop: threading.Event, clock: Clock) -> None:
        super().__init__()
        self.stalled = False  # whether that is how it ended
        self._descriptor, self._stall_s, self._stop, self._clock = descriptor, stall_s, stop, clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As of any raw stream: how many bytes came, 0 at the end."""
        began_s = self._clock.now_s()
        while not self._stop.is_set() and not self.stalled:
            if sys.platform == "win32" or select.select([self._descriptor], [], [], _LOOK_S)[0]:
                data = os.read(self._descriptor, len(buffer))
                buffer[: len(data)] = data
                return len(data)
            self.stalled = self._clock.now_s() - began_s >= self._stall_s
        return 0


SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "rtp", "tcp", "rtmp", "rtmps", "srt")
_CAMERA = re.compile(r"(?:camera )?(\d+)")


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for a source."""

    stall_s: float = 10.0  # a camera, a stream or a pipe that gives nothing for so long is lost
    idle_s: float = 10.0  # a file or folder that has not grown for so long is finished
    reconnect_s: float = 60.0  # how long to try to get a lost camera or stream back; 0: not at all

    def __post_init__(self) -> None:
        for name in ("stall", "idle", "reconnect"):
            seconds = getattr(self, f"{name}_s")
            if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and name != "reconnect"):
                raise InputError(f"{name} {seconds:g}: give a positive number of seconds")


@runtime_checkable
class Feed(Protocol):
    """A source that goes on while it is read."""

    @property
    def name(self) -> str:
        """The name used in messages and recordings, without a password."""
        ...

    @property
    def keep(self) -> Keep:
        """The default when the network is slower: "all" where the source can wait or be read later."""
        ...

    @property
    def patience_s(self) -> float | None:
        """Seconds that `slots` may block; None where they time out by themselves."""
        ...

    def slots(self, first: int, stop: threading.Event) -> Generator[LazyFrame, None, None]:
        """From number `first` on, until it ends or `stop` is set.

        Raises InputError where it cannot be read as given, SourceLostError where it gives no more before its end.
        """
        ...


@dataclass(frozen=True)
class CapturedFeed:
    """A camera or a network stream; both may go and come back."""

    address: Address
    reconnect_s: float
    clock: Clock
    keep: Keep = "latest"

    @property
    def name(self) -> str:
        return self.address.name

    @property
    def patience_s(self) -> float | None:
        """A device's driver cannot be interrupted; a stream's reader keeps time itself."""
        return None if self.address.format is None else self.address.patience_s

    def slots(self, first: int, stop: threading.Event) -> Generator[LazyFrame, None, None]:
        again = Reconnecting(self.name, partial(connect, self.address, self.clock), self.reconnect_s, self.clock)
        return again.slots(first, stop)


@dataclass(frozen=True)
class GrowingFeed:
    """A video file that is being written; its frames have the file's own times."""

    path: Path
    idle_s: float
    clock: Clock
    keep: Keep = "all"
    patience_s: None = None

    @property
    def name(self) -> str:
        return str(self.path)

    def slots(self, first: int, stop: threading.Event) -> Generator[LazyFrame, None, None]:
        with GrowingFile(self.path, idle_s=self.idle_s, stop=stop, clock=self.clock) as raw:
            stream = io.BufferedReader(raw)
            if not stream.peek(1):
                if stop.is_set():
                    return
                raise InputError(f"{self.path} stayed empty for {self.idle_s:g} s; check what writes it (--idle waits)")
            check_growing(self.path)
            with open_pipe(stream, self.name, options=LIVE) as container:
                log_untimed(container, self.name)
                yield from container_slots(container, first, name=self.name)


@dataclass(frozen=True)
class PipedFeed:
    """Live video on standard input; its frames are timed as they come."""

    descriptor: int
    stall_s: float
    clock: Clock
    name: str = "-"
    keep: Keep = "all"
    patience_s: None = None

    def slots(self, first: int, stop: threading.Event) -> Generator[LazyFrame, None, None]:
        raw = PipedInput(self.descriptor, stall_s=self.stall_s, stop=stop, clock=self.clock)
        capture = CaptureClock(self.clock)
        with open_pipe(io.BufferedReader(raw), "standard input", options=LIVE) as container:
            for slot in container_slots(container, 0, name="standard input", threads="SLICE"):
                taken_s = capture.time_of(slot.timestamp_s if slot.timed else None)
                index = first + slot.index
                yield replace(slot, index=index, name=f"frame_{index:06d}", timestamp_s=taken_s, timed=True)
        if raw.stalled:
            raise SourceLostError(f"nothing came for {self.stall_s:g} s")


def feed_of(source: str | os.PathLike[str], patience: Patience, clock: Clock) -> Feed:
    """The feed that `source` names: "0" or /dev/video0, an address, "-", a growing file, or a folder being filled.

    Raises InputError where it names none.
    """
    text = os.fspath(source)
    captured = partial(CapturedFeed, reconnect_s=patience.reconnect_s, clock=clock)
    if text == "-":
        return PipedFeed(_piped_descriptor(), patience.stall_s, clock)
    if number := _CAMERA.fullmatch(text):
        return captured(camera.by_number(int(number[1]), patience_s=patience.stall_s))
    if text.startswith("/dev/video"):
        return captured(camera.by_path(Path(text), patience_s=patience.stall_s))
    if "://" in text:
        return captured(address(text, patience_s=patience.stall_s))
    return _on_disk(Path(text), patience, clock)


def address(text: str, *, patience_s: float) -> Address:
    """Of a network stream; raises InputError for what no video comes by."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        scheme = text.partition("://")[0]  # the rest, and the error, may hold a password
        raise InputError(f"{scheme}://… is not an address; write it as {scheme}://HOST:PORT/PATH") from error
    if parts.scheme not in SCHEMES:
        raise InputError(f"{shown_address(parts)}: {parts.scheme!r} brings no video here; {', '.join(SCHEMES)} do")
    if not host:
        raise InputError(f"{shown_address(parts)} names no host; write it as {parts.scheme}://HOST:PORT/PATH")
    options = {"rtsp_flags": "prefer_tcp"} if parts.scheme == "rtsp" else {}  # over UDP, pictures come with holes
    return Address(shown_address(parts), text, options=options, patience_s=patience_s)


def is_captured(name: str) -> bool:
    """True where a source of this name can be read once only: a camera, a stream or a pipe."""
    return name == "-" or "://" in name or name.startswith("/dev/video") or _CAMERA.fullmatch(name) is not None


def _on_disk(path: Path, patience: Patience, clock: Clock) -> Feed:
    if str(path).startswith(PREFIX):
        raise InputError(f"{str(path)!r} is not live; give it to `openloger reconstruct`")
    if path.is_dir():
        return GrowingFolder(path, patience.idle_s, clock)
    if not path.exists():
        raise InputError(
            f"there is no file or folder {str(path)!r}; a camera is given by its number (0), a stream by its address "
            "(rtsp://…)"
        )
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; pipe it in and give '-' as the source")
    check_growing(path)
    return GrowingFeed(path, patience.idle_s, clock)


def _piped_descriptor() -> int:
    if sys.stdin.isatty():
        raise InputError("source '-' is standard input, and nothing is piped into it; pipe MJPEG or MPEG-TS")
    return sys.stdin.fileno()
