"""A folder that is being filled with pictures: each is given when it is whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openloger.errors import InputError
from openloger.frames.lazy import LazyFrame, UndecodableError
from openloger.frames.listing import SUFFIXES, natural_key
from openloger.frames.live.buffer import Keep
from openloger.frames.live.clock import Clock
from openloger.frames.live.growing_file import POLL_S
from openloger.frames.pixels import read_picture
from openloger.shapes import UInt8

SETTLED_S = 2.0  # a picture that cannot be decoded and has not changed for so long is a bad one


@dataclass(frozen=True)
class GrowingFolder:
    """The pictures of a folder in the order in which they appear, in natural order where several do at once.

    A picture's time is its file's last change, but never before the picture it follows. One that cannot be decoded is
    read again until it can, or does not change any more. The folder is finished when none came for `idle_s`.
    """

    path: Path
    idle_s: float
    clock: Clock
    keep: Keep = "all"
    patience_s: None = None

    @property
    def name(self) -> str:
        return str(self.path)

    def slots(self, first: int, stop: threading.Event) -> Generator[LazyFrame, None, None]:
        """From number `first` on, until it is finished or `stop` is set. Raises InputError where none ever came."""
        seen: set[str] = set()
        last_s, came_s = float("-inf"), self.clock.now_s()
        while not stop.is_set():
            new = self._new(seen)
            for path in new:
                index = len(seen)
                seen.add(path.name)
                if index >= first:
                    rgb = self._whole(path, stop)
                    if rgb is None:
                        return
                    last_s = max(last_s, _state(path)[1] / 1e9)
                    yield LazyFrame(index, last_s, path.name, rgb)
            if new:
                came_s = self.clock.now_s()
            elif self.clock.now_s() - came_s >= self.idle_s:
                break
            else:
                self.clock.wait(stop, POLL_S)
        if not seen and not stop.is_set():
            raise InputError(
                f"{self.path} stayed without a picture for {self.idle_s:g} s; check what writes there, or wait longer "
                f"(--idle); pictures are {', '.join(sorted(SUFFIXES))}"
            )

    def _new(self, seen: set[str]) -> list[Path]:
        """Pictures that were not there before."""
        with os.scandir(self.path) as entries:
            names = [entry.name for entry in entries if entry.name not in seen]
        pictures = [name for name in names if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")]
        return [self.path / name for name in sorted(pictures, key=lambda name: (natural_key(name), name))]

    def _whole(self, path: Path, stop: threading.Event) -> _Loaded | None:
        """The picture, or what is wrong with it, once that will not change; None where `stop` came first."""
        tried, wrong = (-1, -1), ""
        since_s = self.clock.now_s()
        while not stop.is_set():
            state = _state(path)
            if state != tried:
                tried, since_s = state, self.clock.now_s()
                try:
                    return _Loaded(read_picture(path))
                except UndecodableError as error:
                    wrong = str(error)
            if self.clock.now_s() - since_s >= SETTLED_S:
                return _Loaded(None, wrong)
            self.clock.wait(stop, POLL_S)
        return None


@dataclass(frozen=True)
class _Loaded:
    """A picture that was read already, as a slot loads it."""

    rgb: UInt8[np.ndarray, "height width 3"] | None
    wrong: str = ""

    def __call__(self) -> UInt8[np.ndarray, "height width 3"]:
        if self.rgb is None:
            raise UndecodableError(self.wrong)
        return self.rgb


def _state(path: Path) -> tuple[int, int]:
    """(bytes, nanoseconds of its last change)"""
    try:
        found = path.stat()
    except FileNotFoundError:  # taken away before it could be read
        return 0, 0
    return found.st_size, found.st_mtime_ns
