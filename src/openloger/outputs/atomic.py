"""Files that are whole or not there, and that survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from openloger.runtime.platform import remove_file, replace_file, sync_folder

PARTIAL_SUFFIX = ".partial"


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Put `data` at `path` so that a reader, or whoever comes after a kill, finds the old file or the new one, whole.

    On return the disk has it under its name.

    Raises:
        OSError: what the file system reported; the old file is still there.
    """
    replace_whole(path, data)
    sync_folder(path.parent)


def replace_whole(path: Path, data: bytes | memoryview) -> None:
    """The same for one of many files: the new name is certain only after `sync_folder` of its folder.

    Raises:
        OSError: what the file system reported; the old file is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace_file(partial, path)
    except OSError:
        remove_file(partial)  # a full disk must not stay full because of us
        raise


def sync_file(path: Path) -> None:
    """Wait until the disk holds a file that another writer closed."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
