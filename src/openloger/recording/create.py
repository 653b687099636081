"""Beginning a recording, and going on with one: what is checked and cleared before the first append."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from openloger.diagnostics import doubt_of_centre
from openloger.errors import RecordingError, counted
from openloger.outputs import is_clutter, make_folder
from openloger.outputs.atomic import PARTIAL_SUFFIX
from openloger.recording.committed import NOTHING, Committed, read_committed, write_committed
from openloger.recording.files import explain_os_errors, writer_lock
from openloger.recording.layout import ARRAYS_FOLDER, FILES, LOCK_FILE, META_FILE
from openloger.recording.line_files import name_lines, read_windows, window_lines
from openloger.recording.meta import RecordingMeta, is_recording, read_meta, restore_meta, write_meta
from openloger.recording.store import remove_arrays
from openloger.recording.writer import RecordingWriter
from openloger.runtime.platform import remove_file

_log = logging.getLogger("openloger")
_ADVICE = "choose a folder that can be written to"


def create_recording(path: str | os.PathLike[str], meta: RecordingMeta, *, overwrite: bool = False) -> RecordingWriter:
    """Begin a recording in a new or empty folder.

    With `overwrite`, a recording that is there is deleted first: its own files, and nothing else in the folder. A
    folder that is neither empty nor a recording is never touched.

    Raises:
        RecordingError: the folder cannot be used, or another run is writing to it.
    """
    folder = Path(path)
    existing = "overwrite" if overwrite else "refuse"
    with explain_os_errors(folder, _ADVICE), ExitStack() as on_error:
        check_folder(folder, existing=existing)  # before anything is made in it, and again once it is ours alone
        make_folder(folder)
        lock = writer_lock(folder)
        on_error.callback(lock.release)
        check_folder(folder, existing=existing)
        if is_recording(folder):
            _delete_recording(folder)
        write_meta(folder, meta)  # first: from here on the folder is a recording, which --overwrite may delete
        write_committed(folder, NOTHING)
        writer = RecordingWriter(folder, meta, committed=NOTHING, lock=lock)
        if doubt := doubt_of_centre(meta.source_lens):
            _log.warning("%s", doubt)  # now, as the run may take hours; `findings` have it afterwards
        on_error.pop_all()
        return writer


def resume_recording(path: str | os.PathLike[str], meta: RecordingMeta, *, frames: int) -> RecordingWriter:
    """Go on with a recording after its first `frames` frames; later ones, and windows that reach past them, go.

    Raises:
        RecordingError: there is none, its settings differ from `meta`'s, it has fewer frames, or another run is
            writing to it.
    """
    folder = Path(path)
    read_meta(folder)  # a folder that holds no recording is left as it is
    with explain_os_errors(folder, _ADVICE), ExitStack() as on_error:
        lock = writer_lock(folder)
        on_error.callback(lock.release)
        stored = read_meta(folder)
        _check_settings(folder, stored, meta)
        restore_meta(folder)
        committed = _roll_back(folder, stored, frames)
        writer = RecordingWriter(folder, stored, committed=committed, lock=lock)
        on_error.pop_all()
        return writer


def _check_settings(folder: Path, stored: RecordingMeta, meta: RecordingMeta) -> None:
    if differences := stored.differences(meta):
        raise RecordingError(
            f"{folder}: cannot be continued, it was made with {'; '.join(differences)}: "
            "resume with the same settings, or start over with --overwrite"
        )


def check_folder(path: str | os.PathLike[str], *, existing: Literal["refuse", "resume", "overwrite"]) -> None:
    """Check that a recording may go to a folder, before anything long is begun; nothing is changed.

    Raises:
        RecordingError: the folder cannot be used, or holds a recording that is to be kept.
    """
    folder = Path(path)
    if "\0" in str(folder):
        raise RecordingError(f"{str(folder)!r}: no path holds a NUL; choose another folder")
    with explain_os_errors(folder, _ADVICE):
        _check_kind(folder)
        if is_recording(folder):
            if existing == "refuse":
                raise RecordingError(
                    f"{folder}: already holds a recording; go on with it (--resume), "
                    "replace it (--overwrite), or choose another folder"
                )
        elif folder.is_dir() and _foreign_entries(folder):
            raise RecordingError(
                f"{folder}: is not empty and not a recording, so it is left alone (--overwrite too); "
                "choose another folder"
            )


def _check_kind(folder: Path) -> None:
    """Check that the existing parents of the path are folders."""
    there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), None)
    if there is not None and not there.is_dir():
        kind = "a file" if there.exists() else "a link to nothing"
        raise RecordingError(f"{there}: is {kind}; give a folder for the recording")


def _foreign_entries(folder: Path) -> set[str]:
    entries = {entry.name for entry in folder.iterdir() if not is_clutter(entry.name)}
    return entries - {META_FILE + PARTIAL_SUFFIX, LOCK_FILE}


def _delete_recording(folder: Path) -> None:
    """Its own files; what else lies in its folders stays."""
    for partial in _partials(folder):
        remove_file(partial)
    remove_arrays(folder)
    for name in FILES:  # meta.json last: till then it is a recording, to be deleted
        remove_file(folder / name)


def _roll_back(folder: Path, meta: RecordingMeta, frames: int) -> Committed:
    committed = read_committed(folder)
    if not 0 <= frames <= committed.frames:
        wanted = counted(frames, "frame")
        raise RecordingError(f"{folder}: cannot go on after {wanted}; {committed.frames} are committed")
    windows = read_windows(folder, meta, committed.windows)
    ends = [0 if window is None else window.first_frame + window.final_count for window in windows]
    kept = next((row for row, end in enumerate(ends) if end > frames), len(windows))  # damaged ones before it stay
    rolled_back = Committed(frames, kept, complete=False)
    write_committed(folder, rolled_back)  # first: what it no longer counts may then go
    name_lines(folder, meta).cut(frames)
    window_lines(folder, meta).cut(kept)
    for partial in _partials(folder):
        remove_file(partial)
    return rolled_back


def _partials(folder: Path) -> Iterator[Path]:
    """Files that a killed writer left half-written."""
    for name in FILES:
        yield from folder.glob(name + PARTIAL_SUFFIX)
    yield from (folder / ARRAYS_FOLDER).rglob("*" + PARTIAL_SUFFIX)
