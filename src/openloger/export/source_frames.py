"""The frames of a recording's source at their full size, undistorted where the run was."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.frames.identity import difference
from openloger.frames.lenses import read_camera, undistorted
from openloger.recording import Recording
from openloger.shapes import UInt8
from openloger.values import Frame, FrameSource

_log = logging.getLogger("openloger")


@dataclass(frozen=True)
class SourceFrames:
    """Pictures of an export that are taken from the recorded source once more, at its full size."""

    source: str | os.PathLike[str] | None = None  # where it is now; None: where it was


class FullSizePictures:
    """The pictures of a recording's frames, which are read in order; one is held at a time."""

    def __init__(self, recording: Recording, chosen: SourceFrames) -> None:
        """Raises InputError where the source cannot be opened, or is another one, by its files or the frames' size."""
        self._indices, self._views = recording.source_index, recording.views
        self._source = _opened(recording, chosen)
        self._name = self._source.name
        self._frames = self._source.frames(int(self._indices[0]))
        self._next: Frame | None = next(self._frames)
        self._view = 0  # of a rig, that the next one is of
        self.size = self._next.native_size  # (height, width)
        expected = recording.meta.source_size
        if expected is not None and expected != self.size:
            raise InputError(
                f"{self._name} has pictures of {self.size[1]}×{self.size[0]}, and the recording was made from "
                f"{expected[1]}×{expected[0]}: give the video that it was made from (--source)"
            )

    def rgb(self, frame: int) -> UInt8[np.ndarray, "height width 3"]:
        """Of the recording's frame of this number. Raises InputError where the source has it no more."""
        wanted, view = int(self._indices[frame]), frame % self._views
        while self._next is not None and (self._next.index, self._view) < (wanted, view):
            self._next, self._view = next(self._frames, None), (self._view + 1) % self._views
        if self._next is None or self._next.index != wanted:
            raise InputError(f"{self._name} has no frame {wanted} any more; export without --pictures full")
        return self._next.rgb


def _opened(recording: Recording, chosen: SourceFrames) -> FrameSource:
    meta = recording.meta
    identity = meta.source_identity
    given = meta.source if chosen.source is None else os.fspath(chosen.source)
    if chosen.source is None and given != "-" and not _is_there(given):
        raise InputError(f"{given}, which the recording was made from, is not there: give its present path (--source)")
    if given == "-":
        raise InputError("the recording was made from standard input, which is gone: give its file (--source)")
    *later, first = (identity or {}).get("selections") or [{}]  # the last choice first
    source = open_frames(given, on_bad_frame="repeat", **first)
    for one in reversed(later):
        source = open_frames(source, on_bad_frame="repeat", **one)
    if identity is None:
        _log.warning("%s: the recording has no identity of its source, so only the frames' size is checked", given)
    elif (found := difference(identity, source)) is not None:
        raise InputError(f"{given} is not what the recording was made from; {found}: give that (--source)")
    return source if meta.camera is None else undistorted(source, read_camera(meta.camera))


def _is_there(source: str) -> bool:
    """Or is no path that can exist."""
    named = source.startswith("world:") or any(letter in source for letter in "*?[")
    return named or Path(source).exists() or Path(source.partition("#")[0]).exists()  # a bag's topic
