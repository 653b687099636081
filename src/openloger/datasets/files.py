"""Pictures and depth maps of datasets: which files, in which order, and their samples. Every fault names its file."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from openloger.datasets.text import require
from openloger.errors import BadFrameError, InputError, in_a_line
from openloger.frames import open_frames
from openloger.frames.files import MOST_ARRAY_BYTES
from openloger.frames.image_file import IMAGE_DAMAGE, open_image
from openloger.frames.images import PictureFiles
from openloger.frames.lazy import UndecodableError
from openloger.outputs import is_clutter
from openloger.shapes import Float32, Float64
from openloger.values import Frame, FrameSource
from openloger.version import install_command

_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
# What Pillow and numpy raise over a bad file
ARRAY_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, OverflowError, MemoryError, struct.error, zlib.error),
    *(BadZipFile, LookupError, TypeError, AttributeError),
)


def natural(paths: Iterable[Path]) -> tuple[Path, ...]:
    """In the order in which people number things: 2 before 10, and decimal numbers (seconds) by their value."""
    found = list(paths)
    if all(_DECIMAL.fullmatch(path.stem) for path in found) and any("." in path.stem for path in found):
        return tuple(sorted(found, key=lambda path: (Decimal(path.stem), str(path))))
    return tuple(sorted(found, key=lambda path: (_natural_key(str(path.with_suffix(""))), str(path))))


def listed(folder: Path, pattern: str) -> tuple[Path, ...]:
    """The files of a folder that match, in natural order, without hidden ones and clutter (`._0.jpg`).

    Raises InputError where there are none.
    """
    found = natural(path for path in require(folder, pattern).glob(pattern) if is_data(path))
    if not found:
        raise InputError(f"{folder} holds no {pattern}; see docs/datasets.md for the layout")
    return found


def is_data(path: Path) -> bool:
    """Whether a file's name is neither hidden nor that of a file which systems leave behind."""
    return not (path.name.startswith(".") or is_clutter(path.name))


def image_pixels(path: Path, *, formats: tuple[str, ...], what: str) -> np.ndarray:
    """The samples of a picture as they are stored. Raises InputError where it is none of these formats, or damaged."""
    with labelled_image(path, formats=formats, what=what) as opened:
        return np.array(opened)


def image_size(path: Path, *, formats: tuple[str, ...], what: str) -> tuple[int, int]:
    """Height and width of a picture, from its header."""
    with labelled_image(path, formats=formats, what=what) as opened:
        return opened.height, opened.width


@contextmanager
def labelled_image(path: Path, *, formats: tuple[str, ...], what: str) -> Iterator[Any]:
    """A Pillow image; what Pillow raises over a bad file, in the block too, becomes one InputError."""
    try:
        with open_image(require(path, what), formats=formats) as opened:
            yield opened
    except IMAGE_DAMAGE as error:
        raise InputError(f"{path} cannot be read as {what}: {in_a_line(error)}") from error


def read_depth_png(path: Path, *, per_unit: float, none: int | None = None) -> Float32[np.ndarray, "rows columns"]:
    """A 16-bit PNG or PGM whose values are `per_unit` to the world's unit; 0 and `none` stand for no depth."""
    values = image_pixels(path, formats=("PNG", "PPM"), what="depth")
    if values.ndim != 2 or values.dtype == np.uint8:
        raise InputError(f"{path} is {values.dtype} {values.shape}; depth is one channel of 16 bits")
    depth = values.astype(np.float32) / np.float32(per_unit)
    return depth if none is None else np.where(values == none, np.float32(0), depth)


def read_depth_npy(path: Path) -> Float32[np.ndarray, "rows columns"]:
    """An array of depths in world units; what is not finite and positive stands for none."""
    try:
        with require(path, "depth").open("rb") as file:
            MOST_ARRAY_BYTES.check(os.fstat(file.fileno()).st_size, "it")
            depth = np.load(file, allow_pickle=False)
    except ARRAY_DAMAGE as error:
        raise InputError(f"{path} cannot be read as depth: {error}") from error
    if not isinstance(depth, np.ndarray) or depth.ndim != 2 or depth.dtype.kind not in "fiu":
        raise InputError(f"{path} is no array (height, width) of depths")
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def read_npz(
    path: Path, shapes: Mapping[str, tuple[int, ...]], *, optional: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Float64[np.ndarray, "..."]]:
    """Arrays of numbers of an archive by their names, each of its shape; the optional ones may be missing.

    Raises InputError where it is missing, damaged, or an array is missing or of another shape.
    """
    wanted = {**shapes, **(optional or {})}
    try:
        with require(path, ", ".join(wanted)).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = {name: read_member(archive, name, path) for name in wanted if name in shapes or name in archive}
    except ARRAY_DAMAGE as error:
        raise InputError(f"{path} cannot be read as an archive of {', '.join(wanted)}: {in_a_line(error)}") from error
    for name, array in found.items():
        if array.shape != wanted[name] or array.dtype.kind not in "fiu":
            raise InputError(f"{path}: {name!r} is {array.dtype} {array.shape}; numbers {wanted[name]} are wanted")
    return {name: array.astype(np.float64) for name, array in found.items()}


def read_member(archive: NpzFile, name: str, path: Path | str) -> np.ndarray:
    """An array of the archive at `path`.

    Raises:
        InputError: it takes more than `MOST_ARRAY_BYTES`.
        KeyError: it is missing. A damaged one raises any of ARRAY_DAMAGE.
    """
    assert archive.zip is not None, "it is open"
    MOST_ARRAY_BYTES.check(archive.zip.getinfo(f"{name}.npy").file_size, f"{path}: {name!r}")
    return np.asarray(archive[name])


def picture_source(paths: Iterable[Path]) -> FrameSource:
    """The pictures as frames 0, 1, 2, …; read one by one, on demand."""
    return open_frames([str(path) for path in paths])


def read_hdf5(path: Path, key: str, *, axes: int) -> np.ndarray:
    """A whole array of numbers of an HDF5 file. Raises InputError where it is missing, damaged or of another form."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path} is HDF5, which needs the package h5py: {install_command('hdf5')}") from error
    try:
        with h5py.File(require(path, "HDF5"), "r") as file:
            stored = file[key]
            if not isinstance(stored, h5py.Dataset):
                raise TypeError("it is no array")
            MOST_ARRAY_BYTES.check(stored.size * stored.dtype.itemsize, "it")
            array = np.asarray(stored)
    except ARRAY_DAMAGE as error:
        raise InputError(f"{path} has no readable array {key!r}: {in_a_line(error)}") from error
    if array.ndim != axes or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {key!r} is {array.dtype} {array.shape}; {axes} axes of numbers are wanted")
    return array


@dataclass(frozen=True)
class StoredPictures:
    """A `FrameSource` of pictures with their pixels as they are stored, whatever EXIF has about them; of any sizes."""

    name: str
    paths: tuple[Path, ...]

    @property
    def length(self) -> int:
        return len(self.paths)

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """The pictures from number `first` on. Raises BadFrameError for one that cannot be decoded."""
        for slot in PictureFiles(self.name, self.paths, upright=False).slots(first):
            try:
                rgb = slot.load()
            except UndecodableError as error:
                path = self.paths[slot.index]
                raise BadFrameError(f"{path} cannot be decoded: {error}", index=slot.index) from error
            yield Frame(rgb, slot.index, slot.timestamp_s, slot.name)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()


def same_count(name: str, **counts: int) -> None:
    """Raises InputError where the counts differ."""
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{count} {what}" for what, count in counts.items())
        raise InputError(f"{name}: {counted}; these belong together one by one, so something is missing")


def _natural_key(text: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"([0-9]+)", text) if part]
