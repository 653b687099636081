"""Beginning a recording, and going on with one: what is checked and cleared before the first append."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from openloger.errors import RecordingError
from openloger.outputs.atomic import PARTIAL_SUFFIX
from openloger.recording.committed import NOTHING, Committed, read_committed, write_committed
from openloger.recording.files import WriterLock, explain_os_errors, keep_lines, read_json_lines
from openloger.recording.layout import ARRAYS_FOLDER, ENTRIES, META_FILE, NAMES_FILE, WINDOWS_FILE
from openloger.recording.meta import RecordingMeta, is_recording, read_meta, write_meta
from openloger.recording.windows import window_from_json
from openloger.recording.writer import RecordingWriter

_ADVICE = "choose a folder that can be written to"


def create_recording(path: str | os.PathLike[str], meta: RecordingMeta, *, overwrite: bool = False) -> RecordingWriter:
    """Begin a recording in a new or empty folder.

    With `overwrite`, a recording that is there is deleted first: its own files, and nothing else in the folder. A
    folder that is neither empty nor a recording is never touched.

    Raises:
        RecordingError: the folder cannot be used, or another run is writing to it.
    """
    folder = Path(path)
    with explain_os_errors(folder, _ADVICE), ExitStack() as on_error:
        _make_room(folder, overwrite=overwrite)
        write_meta(folder, meta)  # first: from here on the folder is a recording, which --overwrite may delete
        lock = WriterLock(folder / META_FILE)
        on_error.callback(lock.release)
        write_committed(folder, NOTHING)
        writer = RecordingWriter(folder, meta, committed=NOTHING, lock=lock)
        on_error.pop_all()
        return writer


def resume_recording(path: str | os.PathLike[str], meta: RecordingMeta, *, frames: int) -> RecordingWriter:
    """Go on with a recording after its first `frames` frames; later ones, and windows that reach past them, go.

    Raises:
        RecordingError: there is none, it was made otherwise than `meta` says, it has fewer frames, or another run is
            writing to it.
    """
    folder = Path(path)
    stored = read_meta(folder)
    if differences := stored.differences(meta):
        raise RecordingError(
            f"{folder}: cannot be continued, it was made with {'; '.join(differences)}: "
            "resume with the same settings, or begin again with --overwrite"
        )
    with explain_os_errors(folder, _ADVICE), ExitStack() as on_error:
        lock = WriterLock(folder / META_FILE)
        on_error.callback(lock.release)
        committed = _roll_back(folder, frames)
        writer = RecordingWriter(folder, stored, committed=committed, lock=lock)
        on_error.pop_all()
        return writer


def _make_room(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise RecordingError(f"{folder}: is a file; give a folder for the recording")
    folder.mkdir(parents=True, exist_ok=True)
    if is_recording(folder):
        if not overwrite:
            raise RecordingError(
                f"{folder}: already holds a recording; go on with it (--resume), "
                "replace it (--overwrite), or choose another folder"
            )
        _delete_recording(folder)
    elif {entry.name for entry in folder.iterdir()} - {META_FILE + PARTIAL_SUFFIX}:
        raise RecordingError(
            f"{folder}: is not empty and not a recording, so it is left alone (--overwrite too); choose another folder"
        )


def _delete_recording(folder: Path) -> None:
    lock = WriterLock(folder / META_FILE)
    try:
        for partial in _partials(folder):
            partial.unlink()
        for entry in (folder / name for name in ENTRIES):  # meta.json last: till then it is a recording, to be deleted
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    finally:
        lock.release()


def _roll_back(folder: Path, frames: int) -> Committed:
    committed = read_committed(folder)
    if not 0 <= frames <= committed.frames:
        raise RecordingError(f"{folder}: cannot go on after {frames} frames; {committed.frames} are committed")
    windows = [window_from_json(row) for row in read_json_lines(folder / WINDOWS_FILE, committed.windows)]
    kept = sum(window.first_frame + window.final_count <= frames for window in windows)
    rolled_back = Committed(frames, kept, complete=False)
    write_committed(folder, rolled_back)  # first: what it no longer counts may then go
    keep_lines(folder / NAMES_FILE, frames)
    keep_lines(folder / WINDOWS_FILE, kept)
    for partial in _partials(folder):
        partial.unlink()
    return rolled_back


def _partials(folder: Path) -> Iterator[Path]:
    """Files that a killed writer left half-written."""
    for name in ENTRIES:
        yield from folder.glob(name + PARTIAL_SUFFIX)
    yield from (folder / ARRAYS_FOLDER).rglob("*" + PARTIAL_SUFFIX)
