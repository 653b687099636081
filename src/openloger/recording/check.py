"""Reading everything once: what of a recording is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from openloger.errors import RecordingError
from openloger.recording.committed import read_committed
from openloger.recording.correction import read_correction
from openloger.recording.layout import NAMES_FILE, WINDOWS_FILE, ArrayLayout, array_layouts
from openloger.recording.line_files import lost_lines, read_names, read_windows
from openloger.recording.meta import read_meta
from openloger.recording.store import ChunkReader


def find_damage(path: Path) -> Iterator[str]:
    """A line for each damaged file of a recording, with what is lost, as it is found; nothing where all is whole.

    Damage in recordings of format 1, which have no checksums, is found only where it cannot be decoded.

    Raises:
        RecordingError: there is no recording, or what describes it is damaged.
    """
    meta, committed = read_meta(path), read_committed(path)
    for file, what, read, count in (
        (NAMES_FILE, "the names of frames", read_names, committed.frames),
        (WINDOWS_FILE, "windows", read_windows, committed.windows),
    ):
        try:
            values = read(path, meta, count)
        except RecordingError as error:
            yield str(error)
            continue
        if None in values:
            yield f"{path / file}: damaged; {what} {lost_lines(values)} are lost"
    try:
        read_correction(path)
    except RecordingError as error:
        yield str(error)
    for layout in array_layouts(meta.height, meta.width, depth_dtype=meta.depth_dtype) if committed.frames else ():
        yield from _damaged_chunks(path, layout, committed.frames)


def _damaged_chunks(path: Path, layout: ArrayLayout, frames: int) -> Iterator[str]:
    try:
        array = ChunkReader(path, layout)
    except RecordingError as error:
        yield str(error)
        return
    for number in range(-(-frames // array.chunk_frames)):
        try:
            array.chunk(number)
        except RecordingError as error:
            yield str(error)
