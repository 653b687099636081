"""The zarr side: arrays that grow by frames, written chunk by whole chunk, so that no reader ever sees half of one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from openloger.errors import RecordingError
from openloger.recording.files import write_atomically
from openloger.recording.layout import ARRAYS_FOLDER, GROWTH_FRAMES, ArrayLayout

if TYPE_CHECKING:
    import zarr
    from zarr.storage import LocalStore

ZSTD_LEVEL = 1  # on depths and pictures level 3 is within 4 % of its size at half the speed or less


def open_for_writing(folder: Path, layouts: tuple[ArrayLayout, ...], *, frames: int) -> dict[str, GrowingArray]:
    """The arrays of a recording, to be appended to after `frames`; those that are not there yet are made, empty.

    Raises:
        OSError: what the file system said.
        RecordingError: an array or the chunk to be continued is damaged.
    """
    arrays = _open_or_create(folder, layouts)
    return {
        name: GrowingArray(array, frames=frames, kept=_unfinished_chunk(folder, name, array.chunks[0], frames))
        for name, array in arrays.items()
    }


def _unfinished_chunk(folder: Path, name: str, chunk_frames: int, frames: int) -> np.ndarray | None:
    """Those of the first `frames` that lie in a chunk with room for more; None: there is no such chunk."""
    number, filled = divmod(frames, chunk_frames)
    return ChunkReader(folder, name).chunk(number)[:filled] if filled else None


def _open_or_create(folder: Path, layouts: tuple[ArrayLayout, ...]) -> dict[str, zarr.Array]:
    import zarr

    group = folder / ARRAYS_FOLDER
    store = _atomic_store(group)
    with zarr.config.set({"array.write_empty_chunks": True}):  # so that a missing chunk means damage, not zeros
        if not (group / "zarr.json").exists():
            zarr.create_group(store, zarr_format=3)
        return {
            layout.name: zarr.open_array(store, path=layout.name, mode="r+")
            if (group / layout.name / "zarr.json").exists()
            else _create_array(store, layout)
            for layout in layouts
        }


def _create_array(store: LocalStore, layout: ArrayLayout) -> zarr.Array:
    import zarr
    from zarr.codecs import BloscCodec

    return zarr.create_array(
        store,
        name=layout.name,
        shape=(0, *layout.frame_shape),
        chunks=(layout.chunk_frames, *layout.frame_shape),
        dtype=layout.dtype,
        compressors=BloscCodec(cname="zstd", clevel=ZSTD_LEVEL, shuffle=layout.shuffle),
        fill_value=0,
        attributes={"meaning": layout.meaning},
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=("frame", *layout.axes),
    )


def _atomic_store(folder: Path) -> LocalStore:
    from zarr.core.buffer import Buffer
    from zarr.storage import LocalStore

    class AtomicStore(LocalStore):
        """A local store whose files are whole, and on the disk, before `set` returns."""

        async def set(self, key: str, value: Buffer) -> None:
            await asyncio.to_thread(write_atomically, self.root / key, value.to_bytes())

    return AtomicStore(folder)


class GrowingArray:
    """A zarr array that frames are appended to.

    The last chunk is kept in memory and written again, whole, until it is full: nothing is read back, and a kill
    leaves either the chunk as it was or the chunk with the new frames behind the same old ones.
    """

    def __init__(self, array: zarr.Array, *, frames: int, kept: np.ndarray | None) -> None:
        """Append to `array` after its first `frames`, of which `kept` are those in an unfinished chunk."""
        self._array = array
        self._frames = frames
        self._chunk_frames = array.chunks[0]
        self._tail = np.zeros(array.chunks, array.dtype)
        if kept is not None:
            self._tail[: len(kept)] = kept

    def append(self, rows: np.ndarray) -> None:
        """Write one row a frame.

        Raises:
            OSError: what the file system said.
        """
        self._reserve(self._frames + len(rows))
        while len(rows) > 0:
            filled = self._frames % self._chunk_frames
            now, rows = np.split(rows, [self._chunk_frames - filled])
            self._tail[filled : filled + len(now)] = now
            start = self._frames - filled
            self._array[start : start + self._chunk_frames] = self._tail
            self._frames += len(now)
            if filled + len(now) == self._chunk_frames:
                self._tail = np.zeros_like(self._tail)

    def trim(self) -> None:
        """Give the array exactly the length of its frames."""
        self._array.resize((self._frames, *self._array.shape[1:]))

    def _reserve(self, frames: int) -> None:
        length = -(-frames // GROWTH_FRAMES) * GROWTH_FRAMES
        if length > self._array.shape[0]:
            self._array.resize((length, *self._array.shape[1:]))


class ChunkReader:
    """One array of a recording, read chunk by chunk."""

    def __init__(self, folder: Path, name: str) -> None:
        import zarr

        self._folder = folder / ARRAYS_FOLDER / name
        try:
            self._array = zarr.open_array(self._folder, mode="r")
        except (OSError, ValueError) as error:
            raise RecordingError(f"{folder}: array {name} cannot be read; the recording is damaged") from error
        self.chunk_frames: int = self._array.chunks[0]

    def chunk(self, number: int) -> np.ndarray:
        """All frames of a chunk, committed or not; read-only.

        Raises:
            RecordingError: the chunk is missing or cannot be decoded.
        """
        file = self._folder / ".".join(["c", str(number), *["0"] * (self._array.ndim - 1)])
        if not file.is_file():
            raise RecordingError(f"{file}: missing; the recording is damaged or was copied in part")
        start = number * self.chunk_frames
        try:
            values = np.asarray(self._array[start : start + self.chunk_frames])
        except (OSError, RuntimeError, ValueError) as error:
            raise RecordingError(f"{file}: cannot be decoded; the recording is damaged") from error
        values.setflags(write=False)
        return values

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
