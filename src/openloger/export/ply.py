"""PLY: a point cloud with colour, binary little endian, 15 bytes a point, written as it streams.

Coordinates stay as in the recording: x right, y down, z forward, in the world of the first window.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointChunk, PointSelection, select_points

MAX_POINTS = 20_000_000  # 300 MB, which viewers still open
_COLOURS = ("red", "green", "blue")
_TYPES = {"<f4": "float", "|u1": "uchar"}
_POINT = np.dtype([*((axis, "<f4") for axis in "xyz"), *((colour, "u1") for colour in _COLOURS)])
_COUNT_DIGITS = 12


def write_ply(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> int:
    """The selected points, and how many; `selection.max_points` is taken as it is: None is all."""
    with PlyFile(path) as file:
        for chunk in select_points(recording, selection, progress=progress):
            file.add(chunk)
    return file.count


class PlyRows:
    """Grows by rows of a structured array; the header, as long for any count, is written anew at the end."""

    def __init__(self, path: Path, row: np.dtype) -> None:
        """The fields of `row` are named as the properties, and are <f4 or u1."""
        self.count = 0
        self._properties = [f"property {_TYPES[row[name].str]} {name}" for name in row.names or ()]
        self._file = path.open("wb")
        self._file.write(self._header(0))

    def __enter__(self) -> PlyRows:
        return self

    def __exit__(self, *failure: object) -> None:
        with self._file:
            self._file.seek(0)
            self._file.write(self._header(self.count))

    def add_rows(self, rows: np.ndarray) -> None:
        self._file.write(rows.tobytes())
        self.count += len(rows)

    def _header(self, count: int) -> bytes:
        """As long for any count: a comment takes up what the number leaves."""
        padding = "." * (_COUNT_DIGITS - len(str(count)))
        lines = [
            "ply",
            "format binary_little_endian 1.0",
            f"comment openloger: x right, y down, z forward {padding}",
            f"element vertex {count}",
            *self._properties,
            "end_header\n",
        ]
        return "\n".join(lines).encode("ascii")


class PlyFile(PlyRows):
    """Points with colour."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _POINT)

    def __enter__(self) -> PlyFile:
        return self

    def add(self, chunk: PointChunk) -> None:
        """Append the chunk's points."""
        rows = np.empty(len(chunk), _POINT)
        for axis, values in zip("xyz", chunk.points_world.T, strict=True):
            rows[axis] = values
        for colour, values in zip(_COLOURS, chunk.rgb.T, strict=True):
            rows[colour] = values
        self.add_rows(rows)
