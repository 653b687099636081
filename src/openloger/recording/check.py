"""Reading everything once: what of a recording is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from openloger.errors import RecordingError
from openloger.recording.committed import read_committed
from openloger.recording.correction import read_correction
from openloger.recording.layout import ArrayLayout, array_layouts
from openloger.recording.line_files import lost_names, lost_windows, read_names, read_windows
from openloger.recording.meta import lost_meta, read_meta
from openloger.recording.store import ChunkReader


def find_damage(path: Path) -> Iterator[str]:
    """A line for each damaged file of a recording, with what is lost, as it is found; nothing where all is whole.

    Damage in recordings of format 1, which have no checksums, is found only where it cannot be decoded.

    Raises:
        RecordingError: there is no recording, or what describes it is damaged.
    """
    meta, committed = read_meta(path), read_committed(path)
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: lost_meta(path),
        lambda: lost_names(path, read_names(path, meta, committed.frames)),
        lambda: lost_windows(path, read_windows(path, meta, committed.windows), frames=committed.frames),
    )
    for check in checks:
        try:
            lost = check()
        except RecordingError as error:
            lost = str(error)
        if lost is not None:
            yield lost
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
