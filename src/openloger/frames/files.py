"""Opens files safely: never a pipe that blocks, a device without an end, or a path that the system cannot take.

What a file declares about itself has a ceiling, so that a small hostile file cannot take all memory. Each ceiling is an
environment variable; set it to a larger number to open files beyond it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from openloger.errors import InputError
from openloger.runtime import platform


@dataclass(frozen=True)
class Limit:
    """A number that `variable` in the environment replaces."""

    variable: str
    default: int
    unit: str

    @property
    def value(self) -> int:
        """Raises InputError where the environment holds no positive whole number."""
        text = os.environ.get(self.variable, "")
        if not text:
            return self.default
        if not (text.isascii() and text.isdecimal()) or int(text) < 1:
            raise InputError(f"{self.variable}={text!r}: give a positive whole number of {self.unit}")
        return int(text)

    def check(self, amount: int, what: str) -> None:
        """Raises InputError where `amount` is beyond the limit; `what` names its owner in the message."""
        if amount > self.value:
            raise InputError(
                f"{what} has {amount:,} {self.unit}, and at most {self.value:,} are read; "
                f"if that is meant, set {self.variable}={amount}"
            )


MOST_PIXELS = Limit("OPENLOGER_MAX_PIXELS", 2**27, "pixels")  # a picture or video frame; 16K video is just below
MOST_LIST_BYTES = Limit("OPENLOGER_MAX_LIST_BYTES", 2**28, "bytes")  # a list of pictures
MOST_LIST_LINES = Limit("OPENLOGER_MAX_LIST_LINES", 3_000_000, "lines")  # a day of video; each takes 0.5 kB
MOST_ARRAY_BYTES = Limit("OPENLOGER_MAX_ARRAY_BYTES", 2**31, "bytes")  # an array of a dataset, unpacked
MOST_MEMBER_BYTES = Limit("OPENLOGER_MAX_PICTURE_BYTES", 2**29, "bytes")  # a picture in a zip file, unpacked


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """The file, opened to be read; links are followed. It never waits, as opening a named pipe otherwise does.

    Raises InputError for what is no regular file, and OSError as `open` does.
    """
    try:
        return platform.open_regular(path)
    except platform.IrregularFileError as error:
        raise InputError(f"{os.fspath(path)} is {error.strerror}") from None
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{os.fspath(path)!r} cannot be a path ({error})") from None


def check_regular(path: Path) -> None:
    """Check what another library opens by its name; raises as `open_regular` does."""
    open_regular(path).close()


def read_list_text(path: Path) -> str:
    """A text file of lines, at most `MOST_LIST_BYTES` long; raises InputError for another, or one that is not UTF-8."""
    with open_regular(path) as file:
        MOST_LIST_BYTES.check(os.fstat(file.fileno()).st_size, str(path))
        data = file.read(MOST_LIST_BYTES.value + 1)
    MOST_LIST_BYTES.check(len(data), str(path))  # it may grow, or have no size
    MOST_LIST_LINES.check(data.count(b"\n"), str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: byte {error.start} is not UTF-8; give a list of paths") from None
