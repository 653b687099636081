"""One channel of an OpenEXR picture (https://openexr.com/en/latest/OpenEXRFileLayout.html), as OpenCV writes depth.

Read are single-part scan-line files, uncompressed or by ZIP or ZIPS. The rest of the format (tiles, several parts,
deep pixels, PIZ and other codecs) is refused by name.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openloger.datasets.text import read_binary
from openloger.errors import InputError
from openloger.shapes import Float32

_MAGIC = b"\x76\x2f\x31\x01"
_SCAN_LINES = 2  # the version field of a single-part file of scan lines
_LONG_NAMES = 0x400
_SAMPLES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
_LINES = {0: 1, 2: 1, 3: 16}  # in a chunk, by codec: none, ZIPS, ZIP
_CODECS = ("none", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB")
_MOST_PIXELS = 1 << 28


@dataclass(frozen=True)
class _Header:
    channels: tuple[tuple[str, np.dtype], ...]  # in the order in which a line holds them
    codec: int
    height: int
    width: int
    first_line: int
    end: int  # bytes

    @property
    def line_bytes(self) -> int:
        return self.width * sum(samples.itemsize for _, samples in self.channels)


def read_exr(path: Path) -> Float32[np.ndarray, "height width"]:
    """The samples of a picture's only channel.

    Raises InputError where it is missing, damaged, of several channels, or of a kind that is not read.
    """
    try:
        content = read_binary(path, "OpenEXR")
        header = _header(content)
        if len(header.channels) != 1:
            names = ", ".join(name for name, _ in header.channels)
            raise ValueError(f"it has the channels {names}, where one is wanted")
        return _pixels(content, header)
    except (OSError, ValueError, KeyError, IndexError, struct.error, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as OpenEXR: {error}") from error


def _header(content: bytes) -> _Header:
    if content[:4] != _MAGIC:
        raise ValueError("it does not begin like one")
    (version,) = struct.unpack_from("<I", content, 4)
    if version & ~_LONG_NAMES != _SCAN_LINES:
        raise ValueError("tiles, deep pixels and several parts are not read; write it as scan lines")
    at, values = 8, dict[str, bytes]()
    while content[at] != 0:
        name, at = _text(content, at)
        _, at = _text(content, at)
        (size,) = struct.unpack_from("<i", content, at)
        values[name] = content[at + 4 : at + 4 + size]
        at += 4 + size
        if size < 0 or at >= len(content):
            raise ValueError("it is cut short in its header")
    codec = values["compression"][0]
    if codec not in _LINES:
        known = _CODECS[codec] if codec < len(_CODECS) else codec
        raise ValueError(f"its compression is {known}; write it with ZIP, or none")
    left, top, right, bottom = struct.unpack("<4i", values["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    if min(width, height) < 1 or width * height > _MOST_PIXELS:
        raise ValueError(f"it has {width}×{height} pixels")
    return _Header(_channels(values["channels"]), codec, height, width, top, at + 1)


def _channels(content: bytes) -> tuple[tuple[str, np.dtype], ...]:
    at, found = 0, []
    while content[at] != 0:
        name, at = _text(content, at)
        kind, *_, across, down = struct.unpack_from("<i4x2i", content, at)
        if (across, down) != (1, 1):
            raise ValueError(f"its channel {name} is subsampled")
        found.append((name, _SAMPLES[kind]))
        at += 16
    return tuple(found)


def _text(content: bytes, at: int) -> tuple[str, int]:
    end = content.index(b"\0", at)
    return content[at:end].decode("latin-1"), end + 1


def _pixels(content: bytes, header: _Header) -> Float32[np.ndarray, "height width"]:
    ((_, samples),) = header.channels
    each = _LINES[header.codec]
    count = -(-header.height // each)
    pixels = np.zeros((header.height, header.width), dtype=np.float32)
    for at in struct.unpack_from(f"<{count}Q", content, header.end):
        line, size = struct.unpack_from("<2i", content, at)
        row = line - header.first_line
        rows = min(each, header.height - row)
        if row % each or not 0 <= row < header.height or not 0 <= size <= len(content) - at - 8:
            raise ValueError(f"the lines from {line} on are damaged or cut off")
        wanted = rows * header.line_bytes
        stored = content[at + 8 : at + 8 + size]
        raw = stored if size == wanted else _unzipped(stored, wanted)
        pixels[row : row + rows] = np.frombuffer(raw, samples).reshape(rows, header.width)
    return pixels


def _unzipped(stored: bytes, wanted: int) -> bytes:
    """Of the ZIP codecs: differences of bytes summed up, then even and odd bytes, which stand apart, joined."""
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(stored, wanted + 1)
    if len(found) != wanted:
        raise ValueError(f"lines have {len(found)} bytes, not {wanted}")
    steps = np.frombuffer(found, np.uint8).copy()
    steps[1:] -= 128
    apart = np.cumsum(steps, dtype=np.uint8)
    joined = np.empty_like(apart)
    half = -(-wanted // 2)
    joined[::2], joined[1::2] = apart[:half], apart[half:]
    return joined.tobytes()
