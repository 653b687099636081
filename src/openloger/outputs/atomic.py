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
    prepare(path, data)
    put_in_place(path)


def prepare(path: Path, data: bytes | memoryview) -> None:
    """Write `data` beside `path`, for `put_in_place`, without waiting for the disk.

    Raises:
        OSError: what the file system reported.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial_of(path).write_bytes(data)
    except OSError:
        remove_file(partial_of(path))  # a full disk must not stay full because of us
        raise


def put_in_place(path: Path) -> None:
    """Replace `path` by what was prepared beside it, once the disk holds that; see `replace_whole`.

    Raises:
        OSError: what the file system reported; the old file is still there.
    """
    try:
        sync_file(partial_of(path))
        replace_file(partial_of(path), path)
    except OSError:
        remove_file(partial_of(path))
        raise


def partial_of(path: Path) -> Path:
    """The file that becomes `path` once it is whole."""
    return path.with_name(path.name + PARTIAL_SUFFIX)


def sync_file(path: Path) -> None:
    """Wait until the disk holds a file that another writer closed."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
