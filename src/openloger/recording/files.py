"""JSON files that are replaced whole, errors of the disk in words, and the lock that one writer at a time holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openloger.errors import RecordingError
from openloger.outputs import FileLock, write_atomically
from openloger.recording.layout import LOCK_FILE
from openloger.runtime.platform import IrregularFileError

_LONGEST_NAME = 200  # letters of a path in a message


def write_json(path: Path, value: object) -> None:
    """Write one JSON document atomically.

    Raises:
        OSError: of the file system.
    """
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


@contextmanager
def explain_os_errors(path: Path, advice: str) -> Iterator[None]:
    """Turn an `OSError` into one line about the recording at `path`; of what is no file where one belongs, into a line
    about that.

    Raises:
        RecordingError: in the place of any OSError.
    """
    try:
        yield
    except (IsADirectoryError, IrregularFileError) as error:
        place = error.filename2 or error.filename or path  # the second is what a rename was to replace
        kind = error.strerror if isinstance(error, IrregularFileError) else "a folder, not a regular file"
        raise RecordingError(f"{place}: {kind}; move it away") from error
    except OSError as error:
        name = str(path) if len(str(path)) <= _LONGEST_NAME else f"{str(path)[:_LONGEST_NAME]}…"
        raise RecordingError(f"{name}: {error.strerror or error}; {advice}") from error


def writer_lock(folder: Path) -> FileLock:
    """Keep other runs from writing to a recording's folder; the lock ends with the process that holds it.

    Raises:
        RecordingError: another run holds it.
        OSError: what the file system reported.
    """
    try:
        return FileLock(folder / LOCK_FILE)
    except BlockingIOError as error:
        raise RecordingError(f"{folder}: another run is writing to it; wait for it, or end it") from error
