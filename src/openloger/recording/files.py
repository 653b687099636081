"""JSON files, replaced whole or appended to line by line, and the lock that one writer at a time holds."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openloger.errors import RecordingError
from openloger.outputs import write_atomically
from openloger.runtime.platform import try_lock


def write_json(path: Path, value: object) -> None:
    """Write one JSON document atomically.

    Raises:
        OSError: what the file system said.
    """
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def append_json_lines(path: Path, values: Iterable[object]) -> None:
    """Append one line a value and wait until the disk has them.

    Raises:
        OSError: what the file system said; the file may then end in half a line.
    """
    with path.open("ab") as file:
        file.write("".join(json.dumps(value) + "\n" for value in values).encode())
        file.flush()
        os.fsync(file.fileno())


def read_json_lines(path: Path, count: int) -> list[Any]:
    """The first `count` lines, whatever follows them.

    Raises:
        RecordingError: the file has fewer, or they are not JSON.
    """
    if count == 0:
        return []
    try:
        *lines, _rest = path.read_bytes().split(b"\n", count)
        values = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read ({error}); the recording is damaged") from error
    if len(values) < count:
        raise RecordingError(f"{path}: {len(values)} lines where {count} were committed; the recording is damaged")
    return values


def keep_lines(path: Path, count: int) -> None:
    """Cut a file of lines down to its first `count`; a missing file becomes an empty one.

    Raises:
        OSError: what the file system said.
    """
    old = path.read_bytes() if path.exists() else b""
    kept = b"".join(line + b"\n" for line in old.split(b"\n", count)[:count])
    if kept != old or not path.exists():
        write_atomically(path, kept)


@contextmanager
def explain_os_errors(path: Path, advice: str) -> Iterator[None]:
    """Turn an `OSError` into one line about the recording at `path`.

    Raises:
        RecordingError: in the place of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}; {advice}") from error


class WriterLock:
    """One writer a recording: an advisory lock on one of its files, which ends with the process that holds it.

    On systems and file systems without locks it does nothing.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR)
        self._finalizer = weakref.finalize(self, os.close, self._descriptor)
        if try_lock(self._descriptor) is False:
            self.release()
            raise RecordingError(f"{path.parent}: another run is writing to it; wait for it, or end it")

    def release(self) -> None:
        """Let others write."""
        self._finalizer()
