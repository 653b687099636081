"""PLY: a point cloud with colour, binary little endian, 15 bytes a point, written as it streams.

Coordinates stay as in the recording: x right, y down, z forward, in the world of the first window.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointChunk, PointSelection, select_points

MAX_POINTS = 20_000_000  # 300 MB, which viewers still open
_POINT = np.dtype([("position", "<f4", 3), ("colour", "u1", 3)])
_COUNT_DIGITS = 12


def write_ply(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> int:
    """The selected points, and how many; `selection.max_points` is taken as it is: None is all."""
    with PlyFile(path) as file:
        for chunk in select_points(recording, selection, progress=progress):
            file.add(chunk)
    return file.count


class PlyFile:
    """Grows by chunks; the header, as long for any count, is written anew at the end."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._file = path.open("wb")
        self._file.write(_header(0))

    def __enter__(self) -> PlyFile:
        return self

    def __exit__(self, *failure: object) -> None:
        with self._file:
            self._file.seek(0)
            self._file.write(_header(self.count))

    def add(self, chunk: PointChunk) -> None:
        """Append the chunk's points."""
        rows = np.empty(len(chunk), _POINT)
        rows["position"], rows["colour"] = chunk.points_world, chunk.rgb
        self._file.write(rows.tobytes())
        self.count += len(chunk)


def _header(count: int) -> bytes:
    """As long for any count: a comment takes up what the number leaves."""
    padding = "." * (_COUNT_DIGITS - len(str(count)))
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment openloger: x right, y down, z forward {padding}",
        f"element vertex {count}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        "end_header\n",
    ]
    return "\n".join(lines).encode("ascii")
