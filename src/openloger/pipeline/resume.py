"""Continuing an interrupted run: the stream's state on disk, and the frames that a live source gave before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openloger.errors import RecordingError
from openloger.outputs import write_atomically
from openloger.recording import Recording
from openloger.recording.layout import STATE_FILE
from openloger.shapes import Float64
from openloger.streaming import Stream, StreamState
from openloger.values import Frame


class RecordedPrefix(NamedTuple):
    """Frames that a live source gave in an earlier run."""

    unseen: list[Frame]  # by the stream's state; they are few, as it is saved every few windows
    times_s: Float64[np.ndarray, " frame"]  # of all that is recorded

    def continue_with(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames that follow; where their clock stands before the last recorded one, it is moved on to one step
        after it, so that a recording's times never run back."""
        moved_s = None
        for frame in frames:
            if moved_s is None:
                moved_s = self._behind_s(frame)
            yield replace(frame, timestamp_s=frame.timestamp_s + moved_s)

    def _behind_s(self, frame: Frame) -> float:
        if len(self.times_s) == 0 or frame.timestamp_s > self.times_s[-1]:
            return 0.0
        step_s = float(np.median(np.diff(self.times_s[-10:]))) if len(self.times_s) > 1 else 0.0
        return float(self.times_s[-1]) + step_s - frame.timestamp_s


class StateSaver:
    """Keeps the stream's state on disk. It is never ahead of the committed frames; a resume rolls them back to it.

    Saving a large network's state takes seconds, so it waits until that is a small share of the time since the last.
    """

    share_of_time = 0.05

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved_at_s, self._cost_s = time.perf_counter(), 0.0

    def offer(self, state: StreamState) -> None:
        """Save it if the last time is long enough ago."""
        if self._cost_s <= self.share_of_time * (time.perf_counter() - self._saved_at_s):
            self.save(state)

    def save(self, state: StreamState) -> None:
        if state.finished:  # a bad frame may have ended the video here; a resume shall try that window again
            return
        began_s = time.perf_counter()
        write_atomically(self.path, state.to_bytes())
        self._saved_at_s = time.perf_counter()
        self._cost_s = self._saved_at_s - began_s


def restore(stream: Stream, stored: Recording) -> None:
    """Put the stream where the interrupted run last left its state; at the beginning where it left none."""
    path = stored.path / STATE_FILE
    if path.is_file():
        stream.state = StreamState.from_bytes(path.read_bytes(), device=stream.network.device)


def recorded_prefix(stream: Stream, stored: Recording) -> RecordedPrefix:
    """The part of a live source that a recording has.

    It has the frames as the network saw them, so what follows is what an uncut run would have made of them.
    Raises RecordingError where there is no state although there was more than a window.
    """
    if not stored.state_path.is_file() and len(stored) > stream.window:
        raise RecordingError(
            f"{stored.path}: cannot be appended to, as no state of the run was kept, which only live runs keep when "
            "they are complete; choose another folder, or begin again with --overwrite"
        )
    seen = int(np.searchsorted(stored.source_index, stream.state.next_index))
    kept = stored.frames(start=seen)
    size = stored.meta.source_size
    unseen = [Frame(frame.rgb, frame.source_index, frame.timestamp_s, frame.name, size) for frame in kept]
    return RecordedPrefix(unseen, stored.timestamps_s)
