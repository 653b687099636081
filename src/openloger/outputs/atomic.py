"""Files that are whole or not there, and that survive a power cut.

Their names are plain strings: pathlib puts every new part of a path into CPython's table of interned names, where it
takes up room even once it is gone. In a run of hours, which writes a dozen files a second, it grew by megabytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from openloger.runtime.platform import AnyPath, remove_file, replace_file, sync_folder

PARTIAL_SUFFIX = ".partial"


def write_atomically(path: AnyPath, data: bytes | memoryview) -> None:
    """Put `data` at `path` so that a reader, or whoever comes after a kill, finds the old file or the new one, whole.

    On return the disk has it under its name.

    Raises:
        OSError: what the file system reported; the old file is still there.
    """
    replace_whole(path, data)
    sync_folder(_folder_of(path))


def replace_whole(path: AnyPath, data: bytes | memoryview) -> None:
    """The same for one of many files: the new name is certain only after `sync_folder` of its folder.

    Raises:
        OSError: what the file system reported; the old file is still there.
    """
    prepare(path, data)
    put_in_place(path)


def prepare(path: AnyPath, *data: bytes | memoryview) -> None:
    """Write all of `data` beside `path`, for `put_in_place`, without waiting for the disk.

    Raises:
        OSError: what the file system reported.
    """
    os.makedirs(_folder_of(path), exist_ok=True)
    try:
        with open(partial_of(path), "wb") as file:
            file.writelines(data)
    except OSError:
        remove_file(partial_of(path))  # a full disk must not stay full because of us
        raise


def put_in_place(path: AnyPath) -> None:
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


def partial_of(path: AnyPath) -> str:
    """The file that becomes `path` once it is whole."""
    return os.fspath(path) + PARTIAL_SUFFIX


def make_folder(path: AnyPath) -> None:
    """Make a folder, and the parents that are missing; on return the disk has their names. One that is there stays.

    Raises:
        OSError: what the file system reported.
    """
    folder = Path(path)
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def _folder_of(path: AnyPath) -> str:
    return os.path.dirname(path) or os.curdir


def sync_file(path: AnyPath) -> None:
    """Wait until the disk holds a file that another writer closed."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
