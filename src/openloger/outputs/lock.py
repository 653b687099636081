"""A lock between processes on a file that is never replaced."""

from __future__ import annotations

import logging
import os
import weakref
from pathlib import Path

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
