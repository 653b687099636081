"""Continuing an interrupted run: the stream's state on disk, and the frames that a live source gave before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError

from openloger.errors import InputError, RecordingError
from openloger.frames.identity import difference
from openloger.frames.masks import Masks
from openloger.geometry import SE3, Sim3
from openloger.outputs import write_atomically
from openloger.recording import RecordedWindow, Recording, open_recording
from openloger.recording.background import GROUP_S
from openloger.recording.files import explain_os_errors
from openloger.recording.meta import is_recording, meta_hash
from openloger.shapes import Float64
from openloger.streaming import RigState, RigStream, Stream, StreamState
from openloger.streaming.placement import Anchor
from openloger.streaming.windows import SizedFrame
from openloger.values import Frame, FrameSource

_log = logging.getLogger("openloger")
LARGE_STATE = 64 << 20  # bytes of memory on a device


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
        latest_s = np.unique(self.times_s)[-10:]  # a rig's views share theirs
        step_s = float(np.median(np.diff(latest_s))) if len(latest_s) > 1 else 0.0
        return float(self.times_s[-1]) + step_s - frame.timestamp_s


class StateSaver:
    """Keeps the stream's state on disk. It is never ahead of the committed frames; a resume rolls them back to it.

    Saving a large network's state takes seconds, so it waits until that is a small share of the time since the last.
    As each save has its window committed at once, there is at most one in `pause_s`.
    """

    share_of_time, pause_s = 0.05, GROUP_S

    def __init__(self, path: Path) -> None:
        """`path` lies in the recording's folder."""
        self.path = path
        self.made_for = meta_hash(path.parent)
        self._saved_at_s, self._cost_s = time.perf_counter(), 0.0
        self._waiting = False

    def after_commit(self, state: StreamState | RigState) -> Callable[[int], None] | None:
        """What saves it once its window is committed; None where the last time is not long enough ago.

        A window that waits to be written holds its state, which is up to a gigabyte on a card: of large states at most
        one waits.
        """
        since_s = time.perf_counter() - self._saved_at_s
        if self._cost_s > 0 and since_s < max(self.pause_s, self._cost_s / self.share_of_time):
            return None
        if self._waiting and state.memory_bytes > LARGE_STATE:
            return None
        self._waiting = True
        return lambda _: self.save(state)

    def save(self, state: StreamState | RigState) -> None:
        """Save it now.

        Raises RecordingError where it cannot be saved.
        """
        self._waiting = False
        if state.finished:  # a bad frame may have ended the video here; a resume shall try that window again
            return
        began_s = time.perf_counter()
        try:
            content = state.to_bytes(made_for=self.made_for)
        except (RuntimeError, ValueError, SafetensorError) as error:
            raise RecordingError(f"{self.path}: the run's state cannot be saved: {error}") from error
        with explain_os_errors(self.path, "the run's state cannot be saved; make room, then --resume goes on"):
            write_atomically(self.path, content)
        self._saved_at_s = time.perf_counter()
        self._cost_s = self._saved_at_s - began_s


def recording_to_resume(path: Path) -> Recording | None:
    """The recording in a folder, as it was recorded; None where there is none yet.

    Raises RecordingError where it cannot be read, or is damaged.
    """
    with explain_os_errors(path, "choose another folder"):
        return open_recording(path, corrected=False) if is_recording(path) else None


def check_source(stored: Recording, source: FrameSource) -> None:
    """Check that a recording is continued from the source that it was begun with.

    Files that have grown, or become more, are the same source, as is one that was moved.

    Raises RecordingError where it is another one, by its name or by its files.
    """
    ways_out = "give that source, choose another folder, or start over with --overwrite"
    known = stored.meta.source_identity  # recordings once had none
    found = None if known is None else difference(known, source)
    may_have_moved = known is not None and known["files"] > 0 and found is None
    if source.name != stored.meta.source and not may_have_moved:
        raise RecordingError(
            f"{stored.path}: was made from {stored.meta.source!r}, not from {source.name!r}: {ways_out}"
        )
    if found is not None:
        raise RecordingError(f"{stored.path}: was made from another {source.name!r}; {found}: {ways_out}")


def check_masks(stored: Recording, masks: Masks) -> None:
    """Check that a recording has the masks that are given now, wherever they lie; those of frames in memory may be any.

    Raises RecordingError where it has others.
    """
    known = stored.meta.masks or Masks().identity()
    if "given" not in known and known != masks.identity():
        before, now = "other masks" if stored.meta.masks else "no masks", "none" if masks == Masks() else "these"
        raise RecordingError(
            f"{stored.path}: was made with {before}, not with {now}: give the same, choose another folder, or start "
            "over with --overwrite"
        )


def restore(stream: Stream | RigStream, stored: Recording) -> None:
    """Put the stream where the interrupted run last left its state.

    A run that was interrupted before it kept one starts over. Where the state is damaged, missing or another run's, it
    is rebuilt from the recording, with a warning.

    Raises RecordingError where it cannot be read, or not be rebuilt, or a folder is in its place.
    """
    path = stored.state_path
    if path.is_dir():
        raise RecordingError(
            f"{path}: a folder, not a regular file; move it away, and --resume goes on from the last recorded window"
        )
    if not path.exists() and (stored.complete or len(stored.windows) < 2):
        return
    try:
        if path.exists() and not path.is_file():
            raise InputError("it is no regular file")
        with explain_os_errors(path, "allow it to be read"):
            content = path.read_bytes() if path.exists() else None
        if content is None:
            raise InputError("it is missing")
        _restore_from(content, stream, stored)
    except InputError as error:
        if isinstance(stream, RigStream):
            raise RecordingError(
                f"{path} cannot be used ({error}), and a rig's run cannot be continued without it: start over with "
                "--overwrite"
            ) from error
        stream.state = rebuilt_state(stream, stored, reason=str(error))
        _log.warning(
            "%s cannot be used (%s): the run goes on from the last recorded window, its memory begun anew", path, error
        )


def _restore_from(content: bytes, stream: Stream | RigStream, stored: Recording) -> None:
    """Raises InputError where the state is none of this run."""
    own = {"device": stream.network.device, "made_for": meta_hash(stored.path)}
    if isinstance(stream, RigStream):
        state = stream.state = RigState.from_bytes(content, **own)
    else:
        state = stream.state = StreamState.from_bytes(content, **own)
    if state.final_frames > len(stored):
        raise InputError(f"it is of frame {state.final_frames}, and {len(stored)} are recorded")


def rebuilt_state(stream: Stream, stored: Recording, *, reason: str) -> StreamState:
    """The state before the last recorded window, from the recording alone.

    Pictures, cameras and depth of the frames that it shares with the one before place it; only memory begins anew, as
    it does after a reset. The window's frames are computed again; all before them stay. Windows that share no frame
    are where they are predicted to be: without memory there is nothing to restore.

    Raises RecordingError where windows share no frame but memory, so that nothing places the next one.
    """
    fresh, rows = stream.state, stored.windows
    if stream.overlap == 0 and stream.network.config.memory is not None and len(rows) > 1:
        raise RecordingError(
            f"{stored.path}: the state of the run cannot be used ({reason}), and windows that share no frame cannot be "
            f"continued without it, as memory alone ties them: start over with --overwrite, or keep these frames and "
            f"reconstruct the rest into another folder (--start {int(stored.source_index[-1]) + 1})"
        )
    states = (_state_before(stream, stored, window) for window in reversed(rows[1:]))
    return next((state for state in states if state is not None), fresh)


def _state_before(stream: Stream, stored: Recording, window: RecordedWindow) -> StreamState | None:
    """The state before a window; None where not all frames that it shares with the one before are recorded."""
    frames = (SizedFrame.of(frame.as_given(stored.meta)) for frame in stored.frames(window.first_frame))
    if stream.overlap == 0:  # a frame was read ahead, and nothing else is left of the windows before
        ahead = tuple(islice(stream.keyed(frames), 1))
        return replace(stream.state, number=window.number, final_frames=window.first_frame, pending=ahead)
    shared = tuple(islice(stream.keyed(frames), stream.overlap))
    if len(shared) < stream.overlap:
        return None
    places = window.first_frame + np.cumsum([0, *(len(keyed.frames) for keyed in shared[1:])])
    rigid = SE3.from_matrix(torch.tensor(window.world_from_window, dtype=torch.float64))
    scale = torch.tensor(window.world_from_window_scale, dtype=torch.float64)
    return replace(
        stream.state,
        number=window.number,
        final_frames=window.first_frame,
        anchor=Anchor(
            Sim3(scale, rigid.rotation, rigid.translation),
            torch.from_numpy(stored.world_from_cam[places]),
            torch.from_numpy(np.stack([stored.depth(int(place)) for place in places])),
        ),
        pending=shared,
        memory_lost=True,
    )


def recorded_prefix(stream: Stream | RigStream, stored: Recording) -> RecordedPrefix:
    """The part of a live source that a recording has.

    It has the frames as the network saw them, so what follows is what an uncut run would have made of them.
    Raises RecordingError where there is no state although there was more than a window.
    """
    if stream.state.number == 0 and len(stored) > stream.window * stored.meta.views:
        raise RecordingError(
            f"{stored.path}: cannot be appended to, as no state of the run was kept, which only live runs keep when "
            "they are complete; choose another folder, or start over with --overwrite"
        )
    seen = int(np.searchsorted(stored.source_index, stream.state.next_index))
    return RecordedPrefix([frame.as_given(stored.meta) for frame in stored.frames(start=seen)], stored.timestamps_s)
