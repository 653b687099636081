"""The two line files of a recording, names and windows, in both formats."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openloger.errors import RecordingError, listed_numbers
from openloger.recording.layout import NAMES_FILE, WINDOWS_FILE
from openloger.recording.lines import CHECKSUM, LineFile
from openloger.recording.meta import RecordingMeta
from openloger.recording.windows import RecordedWindow, window_from_json, window_to_json

FRAME_KEY, ROW_KEY = "frame", "row"
_OUR_KEYS = (ROW_KEY, CHECKSUM)  # of a line, beside those of a window
_log = logging.getLogger("openloger")


def name_lines(folder: Path, meta: RecordingMeta) -> LineFile:
    """The file of names, by frame."""
    return LineFile(folder / NAMES_FILE, key=FRAME_KEY, checked=meta.has_checksums)


def window_lines(folder: Path, meta: RecordingMeta) -> LineFile:
    """The file of windows, in the order in which they were written."""
    return LineFile(folder / WINDOWS_FILE, key=ROW_KEY, checked=meta.has_checksums)


def name_values(names: Sequence[str], meta: RecordingMeta, *, first_frame: int) -> list[Any]:
    """The bytes to append for the names of frames from `first_frame` on."""
    if not meta.has_checksums:
        return list(names)
    return [{FRAME_KEY: first_frame + place, "name": name} for place, name in enumerate(names)]


def window_value(window: RecordedWindow, meta: RecordingMeta, *, row: int) -> dict[str, Any]:
    """The bytes to append for a window."""
    value = window_to_json(window)
    return {ROW_KEY: row, **value} if meta.has_checksums else value


def read_names(folder: Path, meta: RecordingMeta, frames: int) -> tuple[str | None, ...]:
    """Every frame's name; None where its line is damaged.

    Raises:
        RecordingError: the file cannot be read.
    """
    values = name_lines(folder, meta).read(frames)
    return tuple(_name(folder, value, meta) for value in values)


def read_windows(folder: Path, meta: RecordingMeta, windows: int) -> tuple[RecordedWindow | None, ...]:
    """Every window's numbers; None where its line is damaged.

    Raises:
        RecordingError: the file cannot be read.
    """
    return tuple(_window(folder, value, meta) for value in window_lines(folder, meta).read(windows))


def lost_names(folder: Path, names: Sequence[str | None]) -> str | None:
    """For people: the frames whose name is damaged; None where none is."""
    lost = [frame for frame, name in enumerate(names) if name is None]
    if not lost:
        return None
    what, verb = ("name of frame", "is") if len(lost) == 1 else ("names of frames", "are")
    return f"{folder / NAMES_FILE}: damaged: the {what} {listed_numbers(lost)} {verb} lost; all else can be read"


def lost_windows(folder: Path, windows: Sequence[RecordedWindow | None], *, frames: int) -> str | None:
    """For people: the windows whose numbers are damaged, with the frames that they wrote; None where none is.

    `frames` are all of the recording's.
    """
    lost = [row for row, window in enumerate(windows) if window is None]
    if not lost:
        return None
    written = sorted({frame for row in lost for frame in _frames_of_damaged(windows, row, frames)})
    what, verb = ("record of window", "is") if len(lost) == 1 else ("records of windows", "are")
    of_frames = f"{'frame' if len(written) == 1 else 'frames'} {listed_numbers(written)}"
    return (
        f"{folder / WINDOWS_FILE}: damaged: the {what} {listed_numbers(lost)} ({of_frames}) {verb} lost; "
        "the frames themselves can be read"
    )


def _frames_of_damaged(windows: Sequence[RecordedWindow | None], row: int, frames: int) -> range:
    """Those between the nearest windows that are whole."""
    before = next((window for window in reversed(windows[:row]) if window is not None), None)
    after = next((window for window in windows[row:] if window is not None), None)
    begins = 0 if before is None else before.first_frame + before.final_count
    return range(begins, frames if after is None else after.first_frame)


def _name(folder: Path, value: Any, meta: RecordingMeta) -> str | None:
    name = value.get("name") if meta.has_checksums and value is not None else value
    if name is not None and not isinstance(name, str):
        raise RecordingError(f"{folder / NAMES_FILE}: {name!r} is no name of a frame; the recording is damaged")
    return name


def _window(folder: Path, line: Any, meta: RecordingMeta) -> RecordedWindow | None:
    if line is None and meta.has_checksums:
        return None
    value: dict[str, Any] = {} if line is None else line
    try:
        return window_from_json({name: entry for name, entry in value.items() if name not in _OUR_KEYS})
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise RecordingError(
            f"{folder / WINDOWS_FILE}: a line is no window ({error}); the recording is damaged"
        ) from error
