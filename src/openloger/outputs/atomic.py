"""Files that are whole or not there, and that survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path

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
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk must not stay full because of us
        raise


def sync_file(path: Path) -> None:
    """Wait until the disk holds a file that another writer closed."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk holds the names in a folder, which a rename changed. Windows does this by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
