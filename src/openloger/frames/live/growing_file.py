"""A video file that is still being written, read as a stream that ends when the file has stopped growing."""

from __future__ import annotations

import io
import struct
import threading
from pathlib import Path
from typing import Any

from openloger.errors import InputError
from openloger.frames.live.clock import Clock

POLL_S = 0.05
_BOX_HEADER = struct.Struct(">I4s")
_BEFORE_INDEX = frozenset({b"ftyp", b"free", b"skip", b"wide", b"uuid"})  # boxes of an MP4


class GrowingFile(io.RawIOBase):
    """Bytes of a file in order. Where it ends, reading waits for more, and for `idle_s` seconds at most.

    Setting `stop` ends it at once. Reading raises InputError where the file becomes shorter than what was read.
    """

    def __init__(self, path: Path, *, idle_s: float, stop: threading.Event, clock: Clock) -> None:
        super().__init__()
        self._path, self._idle_s, self._stop, self._clock = path, idle_s, stop, clock
        self._file = path.open("rb", buffering=0)
        self._read = 0
        self._grew_s = clock.now_s()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As of any raw stream: how many bytes came, 0 at the end."""
        while not self._stop.is_set():
            count = self._file.readinto(buffer)
            if count:
                self._read += count
                self._grew_s = self._clock.now_s()
                return count
            self._check()
            if self._clock.now_s() - self._grew_s >= self._idle_s:
                return 0
            self._clock.wait(self._stop, POLL_S)
        return 0

    def close(self) -> None:
        self._file.close()
        super().close()

    def _check(self) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return  # deleted, or renamed when it was done: what was opened is still there to be read
        if size < self._read:
            raise InputError(
                f"{self._path} had {self._read} bytes and now has {size}: it was begun anew while it was read; "
                "record into a new file, and start again with it"
            )


def check_growing(path: Path) -> None:
    """Raises InputError for an MP4 that cannot be read before it is finished."""
    if _has_index_last(path):
        raise InputError(
            f"{path} is an MP4 whose index is written last, so it cannot be read while it is written; record MPEG-TS, "
            "Matroska or a fragmented MP4, or give it to `openloger reconstruct` when it is finished"
        )


def _has_index_last(path: Path) -> bool:
    """True where media data precedes the index in what is written so far."""
    position, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while position + _BOX_HEADER.size <= size:
            file.seek(position)
            length, kind = _BOX_HEADER.unpack(file.read(_BOX_HEADER.size))
            if kind == b"mdat":
                return True
            if kind not in _BEFORE_INDEX or length < _BOX_HEADER.size:
                return False
            position += length
    return False
