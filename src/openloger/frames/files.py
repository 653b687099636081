"""Opens files as files: never a pipe that blocks, a device without an end, or a path that the system cannot take."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from openloger.errors import InputError
from openloger.frames.limits import MOST_LIST_BYTES

_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """The file, opened to be read; links are followed. It never waits, as opening a named pipe otherwise does.

    Raises InputError for what is no regular file, and OSError as `open` does.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NON_BLOCKING)
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{os.fspath(path)!r} cannot be a path ({error})") from None
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise InputError(f"{os.fspath(path)} is {_KINDS.get(kind, 'something else')}, not a regular file")
    return os.fdopen(descriptor, "rb")


def read_list_text(path: Path) -> str:
    """A text file of lines, at most `MOST_LIST_BYTES` long; raises InputError for another, or one that is not UTF-8."""
    with open_regular(path) as file:
        MOST_LIST_BYTES.check(os.fstat(file.fileno()).st_size, str(path))
        data = file.read(MOST_LIST_BYTES.value + 1)
    MOST_LIST_BYTES.check(len(data), str(path))  # it may grow, or have no size
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: byte {error.start} is not UTF-8; give a list of paths") from None
