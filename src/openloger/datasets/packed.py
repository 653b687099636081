"""Sequences of any dataset, packed for training by `packing.py`: few large files, and every frame read alone.

    packed.json              what was packed, and how
    shard-00000.tar          uncompressed; of its sequence 12 the members 00012/000345.jpg, 00012/000345.depth.png, …
                             and, after its frames, 00012/sequence.npz: cameras, times, and where each member begins
    shard-00000.json         the names of its sequences, and where their sequence.npz begin

A shard is an ordinary archive, which any reader of tar files streams; the two tables make it one of random access.
Every frame and table has a checksum (CRC-32), so that damage is found when it is read, and named by its shard and
sequence.

Depth is a PNG of 16 bits: 0 for none, else code c of 1 to 65535 for low · (high / low)^((c − 1) / 65534), where low and
high are the frame's own least and largest depth. A rounded code is off by at most `depth_error` of these two, relative:
5e-5 where the farthest is a thousand times as far as the nearest.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from openloger.datasets.files import ARRAY_DAMAGE, is_data, read_member
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, Sequence
from openloger.datasets.text import read_text
from openloger.errors import BadFrameError, InputError, OpenlogerError
from openloger.frames.image_file import IMAGE_DAMAGE, open_image
from openloger.shapes import Float32, Float64
from openloger.values import Frame

PACK_FILE, SHARDS = "packed.json", "shard-*.json"
FORMAT = 1
_FORMS = {"JPEG": (np.uint8, 3), "PNG": (np.uint16,)}  # type, and channels
CODES = 65534  # steps of depth between the least and the largest
# Of a sequence.npz by their names: their axes beside that of frames
TABLES = {"world_from_cam": (4, 4), "intrinsics": (3, 3), "timestamp_s": (), "depth_range": (2,)}
PLACES = {"place": (2, 2), "crc32": (2,)}  # of picture and depth: first byte and length, in the shard


@dataclass(frozen=True)
class PackedEntry:
    """One sequence of a shard."""

    name: str
    frames: int
    place: int  # of its sequence.npz: the first byte …
    bytes: int  # … and its length
    crc32: int


@dataclass(frozen=True)
class PackSettings:
    """What was packed, and how; all shards of a folder have the same."""

    dataset: str  # a key of DATASETS
    depth: DepthKind
    pixels: int  # the most of a picture
    quality: int  # of JPEG


def find(folder: Path) -> list[str]:
    return sorted(_places(folder)) if (folder / PACK_FILE).is_file() else []


def read(folder: Path, name: str) -> Sequence:
    shard, entry = _places(folder)[name]
    path = shard.with_suffix(".tar")
    tables = _tables(path, entry)
    labels = tuple(
        Label(
            float(tables["timestamp_s"][number]),
            _known(tables["world_from_cam"][number]),
            _known(tables["intrinsics"][number]),
            partial(_read_depth, PackedPiece.of(path, name, number, tables, 1), tables["depth_range"][number])
            if tables["place"][number, 1, 1] > 0
            else None,
        )
        for number in range(entry.frames)
    )
    pictures = tuple(PackedPiece.of(path, name, number, tables, 0) for number in range(entry.frames))
    times_s = tuple(float(time_s) for time_s in tables["timestamp_s"])
    return FileSequence(name, labels, PackedPictures(name, pictures, times_s))


def read_settings(folder: Path) -> PackSettings:
    """Raises InputError where `packed.json` is missing, damaged or of another version."""
    path = folder / PACK_FILE
    try:
        value = json.loads(read_text(path, "of packed sequences"))
        if value.pop("format") != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}; update openloger, or pack anew")
        return PackSettings(**{**value, "depth": DepthKind(**value["depth"])})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} cannot be used: {error}") from error


def read_shard(path: Path) -> list[PackedEntry]:
    """The sequences of a shard by its `.json`. Raises InputError where that is missing or damaged."""
    try:
        value = json.loads(read_text(path, "the sequences of a shard"))
        entries = [_entry(one) for one in value["sequences"]]
        if value["crc32"] != crc32_of(value["sequences"]):
            raise ValueError("its checksum is another")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): pack its sequences anew, or put a copy back") from error
    return entries


def _entry(value: dict[str, Any]) -> PackedEntry:
    numbers = {name: one for name, one in value.items() if name != "name"}
    if not isinstance(value["name"], str) or not all(type(one) is int and one >= 0 for one in numbers.values()):
        raise ValueError(f"{value['name']!r} has {numbers}")
    return PackedEntry(**value)


def crc32_of(entries: Any) -> int:
    """Of plain JSON values."""
    return zlib.crc32(json.dumps(entries, sort_keys=True).encode())


@dataclass(frozen=True)
class PackedPiece:
    """One picture or depth map within a shard."""

    shard: Path
    sequence: str
    frame: int
    first: int
    length: int
    crc32: int

    @staticmethod
    def of(shard: Path, sequence: str, frame: int, tables: dict[str, np.ndarray], which: int) -> PackedPiece:
        """The picture (0) or depth map (1) of a frame."""
        first, length = tables["place"][frame, which].tolist()
        return PackedPiece(shard, sequence, frame, first, length, int(tables["crc32"][frame, which]))

    def read(self) -> bytes:
        """Raises InputError where the shard is missing, cut off or damaged there."""
        return _checked(self.shard, f"frame {self.frame} of sequence {self.sequence!r}", *self._place)

    @property
    def _place(self) -> tuple[int, int, int]:
        return self.first, self.length, self.crc32


@dataclass(frozen=True)
class PackedPictures:
    """The pictures of a sequence as a `FrameSource`."""

    name: str
    pieces: tuple[PackedPiece, ...]
    times_s: tuple[float, ...]
    random_access = True  # `frames_at` reads those alone that are wanted

    @property
    def length(self) -> int:
        return len(self.pieces)

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """Raises InputError for a damaged shard, BadFrameError for what is whole there and no picture."""
        for piece in self.pieces[first:]:
            rgb = _pixels(piece, "JPEG")
            yield Frame(rgb, piece.frame, self.times_s[piece.frame], f"{piece.frame:06d}")

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()


def depth_error(low: float, high: float) -> float:
    """By how much depth between these two may differ from what was packed, as a part of it."""
    return float(np.expm1(0.5 * np.log(high / low) / CODES))


def encode_depth(depth: Float32[np.ndarray, "height width"]) -> tuple[np.ndarray, float, float]:
    """The codes of a depth map (uint16), and its least and largest depth (both nan where it has none)."""
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        return np.zeros(depth.shape, dtype=np.uint16), np.nan, np.nan
    low, high = float(depth[known].min()), float(depth[known].max())
    part = np.log(np.where(known, depth, low).astype(np.float64) / low)  # float32 has not the digits
    codes = np.rint(part * (CODES / np.log(high / low))) if high > low else np.zeros(depth.shape)
    return np.where(known, codes + 1, 0).astype(np.uint16), low, high


def decode_depth(codes: np.ndarray, low: float, high: float) -> Float32[np.ndarray, "height width"]:
    """The inverse of `encode_depth`."""
    table = np.zeros(CODES + 2, dtype=np.float32)
    table[1:] = low * np.exp(np.arange(CODES + 1) * (np.log(high / low) / CODES))
    return table[codes]


def _read_depth(piece: PackedPiece, of_frame: Float64[np.ndarray, "2"]) -> Float32[np.ndarray, "height width"]:
    low, high = map(float, of_frame)
    if not 0 < low <= high < np.inf:
        what = f"depth of frame {piece.frame} of sequence {piece.sequence!r}"
        raise InputError(f"{piece.shard}: {what} is from {low:g} to {high:g}, which is no range: pack it anew")
    return decode_depth(_pixels(piece, "PNG"), low, high)


def _pixels(piece: PackedPiece, kind: str) -> np.ndarray:
    """Of a JPEG (height, width, 3) of uint8, of a PNG (height, width) of uint16."""
    content = piece.read()
    try:
        with open_image(BytesIO(content), formats=(kind,)) as opened:
            pixels = np.array(opened)
        if (pixels.dtype, *pixels.shape[2:]) != _FORMS[kind]:
            raise ValueError(f"it has {pixels.dtype} of {pixels.shape}")
        return pixels
    except (*IMAGE_DAMAGE, OpenlogerError) as error:
        reason = f"{piece.shard}: frame {piece.frame} of sequence {piece.sequence!r} is no {kind}: {error}"
        raise BadFrameError(reason, index=piece.frame) from error


def _checked(shard: Path, what: str, first: int, length: int, crc32: int) -> bytes:
    try:
        with shard.open("rb") as file:
            is_within = 0 <= first <= first + length <= os.fstat(file.fileno()).st_size
            file.seek(first if is_within else 0)
            content = file.read(length if is_within else 0)
    except (OSError, ValueError) as error:
        raise InputError(f"{shard} cannot be read ({what}): {error}") from error
    if len(content) != length or zlib.crc32(content) != crc32:
        raise InputError(
            f"{shard} is damaged: {what} is not what was packed; put a copy of the shard back, or remove it with its "
            ".json and go on packing with --resume"
        )
    return content


def _tables(shard: Path, entry: PackedEntry) -> dict[str, np.ndarray]:
    content = _checked(shard, f"sequence {entry.name!r}", entry.place, entry.bytes, entry.crc32)
    try:
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            tables = {name: read_member(archive, name, shard) for name in (*TABLES, *PLACES)}
    except ARRAY_DAMAGE as error:
        raise InputError(f"{shard}: the tables of sequence {entry.name!r} cannot be read: {error!r}") from error
    for names, kinds in ((TABLES, "f"), (PLACES, "iu")):
        for name, axes in names.items():
            shape, table = (entry.frames, *axes), tables[name]
            if table.shape != shape or table.dtype.kind not in kinds:
                found = f"{table.dtype} {table.shape}, not {shape}"
                raise InputError(f"{shard}: of sequence {entry.name!r} the table {name} is {found}: pack it anew")
    return tables


def _known(matrix: np.ndarray) -> np.ndarray | None:
    return matrix if np.isfinite(matrix).all() else None


def _places(folder: Path) -> dict[str, tuple[Path, PackedEntry]]:
    return _places_as_of(folder, folder.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _places_as_of(folder: Path, changed_ns: int) -> dict[str, tuple[Path, PackedEntry]]:
    """The shard and entry of each sequence, as long as nothing is added to the folder."""
    found: dict[str, tuple[Path, PackedEntry]] = {}
    for path in sorted(one for one in folder.glob(SHARDS) if is_data(one)):
        for entry in read_shard(path):
            if entry.name in found:
                raise InputError(f"{path} and {found[entry.name][0]} both have sequence {entry.name!r}; remove one")
            found[entry.name] = path, entry
    return found


PACKED = Reader(
    title="packed sequences",
    layout="{packed.json, shard-00000.tar, shard-00000.json}, of `openloger datasets pack`",
    find=find,
    read=read,
    depth_in=lambda folder: read_settings(folder).depth,
)
