"""A lock between processes on a file that is never replaced."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openloger.errors import InputError
from openloger.outputs.atomic import make_folder
from openloger.runtime.platform import try_lock

_log = logging.getLogger("openloger")


class FileLock:
    """An exclusive lock, held from its making until `release` or the end of the process, however that comes.

    The file is made where it is missing, and stays: a lock on a file that another process replaces locks nothing.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock; where the file system has no locks, a warning is logged.

        Raises:
            BlockingIOError: another process holds it.
            OSError: the file cannot be made.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._finalizer = weakref.finalize(self, os.close, descriptor)
        held = try_lock(descriptor)
        if held is False:
            self.release()
            raise BlockingIOError(f"{path} is locked")
        if held is None:
            _log.warning("%s cannot be locked: make sure that no second run writes there", path)

    def release(self) -> None:
        """Let others have it."""
        self._finalizer()


@contextmanager
def one_at_a_time(file: Path, *, at: str, other: str) -> Iterator[None]:
    """Hold the lock on `file`, whose folder is made where it is missing; `at` is the output's name for people.

    Raises InputError where another process, which is named `other` then, holds it, and where it cannot be made.
    """
    try:
        make_folder(file.parent)
        lock = FileLock(file)
    except BlockingIOError as error:
        raise InputError(f"{at}: {other}; wait for it, or end it") from error
    except OSError as error:
        raise InputError(f"{at} cannot be written to ({error.strerror or error}): choose another folder") from error
    try:
        yield
    finally:
        lock.release()
