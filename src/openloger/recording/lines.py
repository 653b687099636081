"""JSON with checksums: documents with a checksum, and files of numbered lines that each have one.

A line is `{"frame": 12, …, "crc32c": "1a2b3c4d"}`: the CRC-32C of everything before its own key. Damage costs the lines
that it hits; the others keep their numbers, even where the end of a line is lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from openloger.errors import RecordingError, counted
from openloger.outputs import write_atomically
from openloger.runtime.platform import read_bytes

CHECKSUM = "crc32c"
_MARK = f', "{CHECKSUM}": "'.encode()


def crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C (Castagnoli) of some bytes, as in zarr's codec of that name."""
    import google_crc32c

    return google_crc32c.value(bytes(data))


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON document with its checksum."""
    return {**value, CHECKSUM: _document_checksum(value)}


def is_whole(value: Mapping[str, Any]) -> bool:
    """Whether a document agrees with its checksum; one of an older version has none."""
    rest = {name: entry for name, entry in value.items() if name != CHECKSUM}
    return value.get(CHECKSUM, _document_checksum(rest)) == _document_checksum(rest)


def _document_checksum(value: Mapping[str, Any]) -> str:
    return f"{crc32c(json.dumps(value, sort_keys=True).encode()):08x}"


class LineFile:
    """A file of JSON objects, one a line; the member `key` numbers them from 0.

    `checked` lines have checksums. Those of recordings of format 1 have none, and are any JSON.
    """

    def __init__(self, path: Path, *, key: str, checked: bool) -> None:
        self.path = path
        self._key = key
        self._checked = checked

    def append(self, values: Iterable[Any]) -> None:
        """Append one line a value and wait until the disk has them.

        Raises:
            OSError: what the file system reported; the file may then end in half a line.
        """
        with self.path.open("ab") as file:
            file.write(b"".join(map(self._encoded, values)))
            file.flush()
            os.fsync(file.fileno())

    def read(self, count: int) -> list[Any | None]:
        """The first `count` values, None where a line is damaged; whatever follows them does not count.

        Raises:
            RecordingError: the file cannot be read, or lines without checksums are damaged or too few.
        """
        if count == 0:
            return []
        if not self.path.is_file():
            raise RecordingError(f"{self.path}: is missing, or no file; the recording is damaged")
        try:
            data = read_bytes(self.path)
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot be read ({error.strerror or error})") from error
        return self._checked_lines(data, count) if self._checked else self._plain_lines(data, count)

    def cut(self, count: int) -> None:
        """Keep what comes before line `count`; a missing file becomes an empty one.

        Raises:
            OSError: what the file system reported.
        """
        old = read_bytes(self.path) if self.path.exists() else b""
        lines = old.split(b"\n")[:-1]  # what has no end was cut off by a kill
        kept = b"".join(line + b"\n" for line in lines[: self._first_beyond(lines, count)])
        if kept != old or not self.path.exists():
            write_atomically(self.path, kept)

    def _first_beyond(self, lines: list[bytes], count: int) -> int:
        if not self._checked:
            return count
        beyond = (place for place, line in enumerate(lines) if (self._number(_decoded(line)) or 0) >= count)
        return 0 if count == 0 else next(beyond, len(lines))

    def _encoded(self, value: Any) -> bytes:
        text = json.dumps(value).encode()
        if not self._checked:
            return text + b"\n"
        body = text[:-1]
        return body + _MARK + f'{crc32c(body):08x}"}}\n'.encode()

    def _checked_lines(self, data: bytes, count: int) -> list[Any | None]:
        values = (value for line in data.split(b"\n") if (value := _decoded(line)) is not None)
        found = {self._number(value): value for value in values}
        return [found.get(number) for number in range(count)]

    def _number(self, value: dict[str, Any] | None) -> int | None:
        number = None if value is None else value.get(self._key)
        return number if isinstance(number, int) else None

    def _plain_lines(self, data: bytes, count: int) -> list[Any | None]:
        *lines, _rest = data.split(b"\n", count)
        try:
            values = [json.loads(line) for line in lines]
        except (ValueError, RecursionError) as error:
            raise RecordingError(f"{self.path}: cannot be read ({error}); the recording is damaged") from error
        if len(values) < count:
            raise RecordingError(
                f"{self.path}: {counted(len(values), 'line')} where {count} were committed; the recording is damaged"
            )
        return values


def _decoded(line: bytes) -> dict[str, Any] | None:
    """The value of a checked line; None where it is damaged."""
    body, mark, rest = line.rpartition(_MARK)
    if not mark or rest != f'{crc32c(body):08x}"}}'.encode():
        return None
    try:
        value: Any = json.loads(body + b"}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
