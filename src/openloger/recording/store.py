"""The zarr side: arrays that grow by frames, written chunk by whole chunk, so that no reader ever gets half of one.

zarr describes an array and reads it. Its chunks are compressed and written here, to the same bytes: through zarr,
what it does around each small write took four times as long.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openloger.errors import RecordingError
from openloger.outputs import partial_of, prepare, put_in_place, write_atomically
from openloger.recording.files import write_json
from openloger.recording.layout import ARRAY_NAMES, ARRAYS_FOLDER, GROWTH_FRAMES, ArrayLayout
from openloger.recording.lines import crc32c
from openloger.runtime.platform import read_bytes, remove_file, sync_folder

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer

STORED_LEVEL = 0  # Blosc's, without compression: for a chunk that is not full, and will be written again
ZSTD_LEVEL = 1  # on depths and pictures level 3 is within 4 % of its size at half the speed or less
BLOCK_BYTES = 1 << 19  # that Blosc compresses at a time; its own choice, a quarter of that, is slower and larger
METADATA_FILE = "zarr.json"
_CHUNK = re.compile(r"c(\.[0-9]+)+")
_NOUNS = {  # of what an array holds, for people; the others are words
    "rgb": "picture",
    "world_from_cam": "camera",
    "intrinsics": "camera matrix",
    "residual_px": "residual of the lens",
    "timestamp_s": "time",
    "source_index": "number in the source",
}


def open_for_writing(
    folder: Path, layouts: tuple[ArrayLayout, ...], *, frames: int, checked: bool
) -> dict[str, GrowingArray]:
    """The arrays of a recording, to be appended to after `frames`; those that are not there yet are made, empty.

    Chunks of `checked` arrays end in their CRC-32C.

    Raises:
        OSError: of the file system.
        RecordingError: an array or the chunk to be continued is damaged.
    """
    for key, content in _metadata(layouts, checked=checked).items():
        if not (folder / ARRAYS_FOLDER / key).exists():
            write_atomically(folder / ARRAYS_FOLDER / key, content)
    sync_folder(folder / ARRAYS_FOLDER)  # it has new folders
    return {layout.name: GrowingArray(folder, layout, frames=frames) for layout in layouts}


def remove_arrays(folder: Path) -> None:
    """Remove the files of a recording's arrays; whatever else lies among them stays.

    Raises:
        OSError: what the file system reported.
    """
    root = folder / ARRAYS_FOLDER
    for array in (root / name for name in ARRAY_NAMES):
        for file in array.iterdir() if array.is_dir() else ():
            if file.name == METADATA_FILE or _CHUNK.fullmatch(file.name):
                remove_file(file)
        _remove_if_empty(array)
    remove_file(root / METADATA_FILE)
    _remove_if_empty(root)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _metadata(layouts: tuple[ArrayLayout, ...], *, checked: bool) -> dict[str, bytes]:
    """The files that make a folder a zarr group with empty arrays."""
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec
    from zarr.storage import MemoryStore

    files: dict[str, Buffer] = {}
    store = MemoryStore(files)
    zarr.create_group(store, zarr_format=3)
    for layout in layouts:
        blosc = BloscCodec(cname="zstd", clevel=ZSTD_LEVEL, shuffle=layout.shuffle, blocksize=BLOCK_BYTES)
        zarr.create_array(
            store,
            name=layout.name,
            shape=(0, *layout.frame_shape),
            chunks=layout.chunk_shape,
            dtype=layout.dtype,
            compressors=[blosc, Crc32cCodec()] if checked else [blosc],
            fill_value=0,
            attributes={"meaning": layout.meaning},
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=("frame", *layout.axes),
        )
    return {key: content.to_bytes() for key, content in files.items()}


def _codecs(array: Path) -> list[dict[str, Any]]:
    return json.loads(read_bytes(array / METADATA_FILE))["codecs"]


def _chunk_file(array: Path, number: int, axes: int) -> str:
    return os.path.join(array, ".".join(["c", str(number), *["0"] * (axes - 1)]))


class GrowingArray:
    """A zarr array that frames are appended to.

    A chunk is compressed once, when it is full, and waits beside its place for the commit. The last one is kept in
    memory, and each commit writes it whole: nothing is read back, and a kill leaves either the chunk as it was or the
    chunk with the new frames behind the same old ones. Until it is full, or the array is trimmed, it is stored as it
    is, at a thirtieth of the processor's time.
    """

    def __init__(self, folder: Path, layout: ArrayLayout, *, frames: int) -> None:
        """Append after the first `frames`.

        Raises:
            RecordingError: the array, or its chunk that those leave unfinished, is damaged.
        """
        self._path = folder / ARRAYS_FOLDER / layout.name
        self._layout = layout
        self._frames = frames
        self._prepared: list[str] = []  # chunks that wait for the commit
        self._tail_committed = True
        self._tail = np.zeros(layout.chunk_shape, np.dtype(layout.dtype).newbyteorder("<"))
        stored = ChunkReader(folder, layout)
        self._length, self._checked = stored.length, stored.checked
        number, filled = divmod(frames, layout.chunk_frames)
        if filled:
            self._tail[:filled] = stored.chunk(number)[:filled]

    def append(self, rows: np.ndarray) -> None:
        """Take one row a frame; the array has them after the next commit.

        Raises:
            OSError: of the file system.
        """
        while len(rows) > 0:
            number, filled = divmod(self._frames, self._layout.chunk_frames)
            now, rows = np.split(rows, [self._layout.chunk_frames - filled])
            is_full = filled + len(now) == self._layout.chunk_frames
            if filled or not is_full:
                self._tail[filled : filled + len(now)] = now
            if is_full:
                self._prepare(number, self._tail if filled else now, level=ZSTD_LEVEL)
            self._frames += len(now)
            self._tail_committed = is_full

    def commit(self) -> None:
        """Give all rows to the array; on return the disk has them.

        Raises:
            OSError: of the file system.
        """
        self._reserve(self._frames)
        number, filled = divmod(self._frames, self._layout.chunk_frames)
        if filled and not self._tail_committed:
            self._prepare(number, self._padded_tail(filled), level=STORED_LEVEL)
        self._put_in_place()

    def trim(self) -> None:
        """Commit, and give the array exactly the length of its frames; chunks that a longer run left behind them go.

        Raises:
            OSError: of the file system.
        """
        number, filled = divmod(self._frames, self._layout.chunk_frames)
        if filled:
            self._prepare(number, self._padded_tail(filled), level=ZSTD_LEVEL)
            number += 1
        self._put_in_place()
        self._resize(self._frames)
        while os.path.exists(beyond := _chunk_file(self._path, number, self._tail.ndim)):
            remove_file(beyond)
            number += 1

    def discard(self) -> None:
        """Remove the chunks that wait for a commit which is not to be.

        Raises:
            OSError: of the file system.
        """
        for file in self._prepared:
            remove_file(partial_of(file))
        self._prepared.clear()

    def _reserve(self, frames: int) -> None:
        if frames > self._length:
            self._resize(-(-frames // GROWTH_FRAMES) * GROWTH_FRAMES)

    def _resize(self, frames: int) -> None:
        metadata = json.loads(read_bytes(self._path / METADATA_FILE))
        metadata["shape"][0] = frames
        write_json(self._path / METADATA_FILE, metadata)
        self._length = frames

    def _put_in_place(self) -> None:
        if not self._prepared:
            return
        for file in self._prepared:
            put_in_place(file)
        sync_folder(self._path)
        self._prepared.clear()
        self._tail_committed = True

    def _padded_tail(self, filled: int) -> np.ndarray:
        """The tail with zeros behind its first `filled` frames."""
        self._tail[filled:] = 0
        return self._tail

    def _prepare(self, number: int, values: np.ndarray, *, level: int) -> None:
        """Write `values` beside the chunk `number`, which they are to replace."""
        content = self._compressor(level).encode(np.ascontiguousarray(values, self._tail.dtype))
        checksum = crc32c(content).to_bytes(4, "little") if self._checked else b""
        file = _chunk_file(self._path, number, self._tail.ndim)
        prepare(file, content, checksum)
        self._prepared.append(file)

    def _compressor(self, level: int) -> Any:
        """As the array's metadata describe it, but for level and block, which Blosc's readers take from the chunk."""
        from numcodecs import Blosc

        shuffle = {"shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}[self._layout.shuffle]
        return Blosc(cname="zstd", clevel=level, shuffle=shuffle, blocksize=BLOCK_BYTES)


class ChunkReader:
    """One array of a recording, read chunk by chunk."""

    def __init__(self, folder: Path, layout: ArrayLayout) -> None:
        """Open it.

        Raises:
            RecordingError: it is missing, or its metadata do not describe this array.
        """
        import zarr

        self._folder = folder / ARRAYS_FOLDER / layout.name
        try:
            self.checked = any(codec["name"] == "crc32c" for codec in _codecs(self._folder))
            self._array = zarr.open_array(self._folder, mode="r")
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise RecordingError(f"{folder}: array {layout.name} cannot be read; the recording is damaged") from error
        stored = (self._array.chunks, self._array.shape[1:], self._array.dtype)
        if stored != (layout.chunk_shape, layout.frame_shape, np.dtype(layout.dtype)):
            raise RecordingError(f"{self._folder / METADATA_FILE}: describes another array; the recording is damaged")
        self.chunk_frames = layout.chunk_frames
        self.length: int = self._array.shape[0]  # committed or not

    def chunk(self, number: int) -> np.ndarray:
        """All frames of a chunk, committed or not; read-only.

        Raises:
            RecordingError: the chunk is missing or cannot be decoded.
        """
        file = _chunk_file(self._folder, number, self._array.ndim)
        start = number * self.chunk_frames
        noun = _NOUNS.get(self._folder.name, self._folder.name)
        lost = f"{self._damaged_frames(start)} no {noun}; all else can be read"
        if not os.path.isfile(file):
            raise RecordingError(f"{file}: missing; the recording is damaged or was copied in part: {lost}")
        try:
            values = np.asarray(self._array[start : start + self.chunk_frames])
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise RecordingError(f"{file}: cannot be decoded; the recording is damaged: {lost}") from error
        if len(values) < self.chunk_frames and start + len(values) < self.length:
            raise RecordingError(f"{file}: is cut off; the recording is damaged: {lost}")
        values.setflags(write=False)
        return values

    def _damaged_frames(self, start: int) -> str:
        """For people: the frames of the chunk that begins at a frame, with their verb."""
        last = min(start + self.chunk_frames, self.length) - 1
        return f"frame {start} has" if last <= start else f"frames {start} to {last} have"

    def first(self, frames: int) -> np.ndarray:
        """The first `frames` frames.

        Raises:
            RecordingError: a chunk is missing or cannot be decoded.
        """
        numbers = range(-(-frames // self.chunk_frames))
        empty = np.zeros((0, *self._array.shape[1:]), self._array.dtype)
        values = np.concatenate([empty, *map(self.chunk, numbers)])[:frames]
        values.setflags(write=False)
        return values
