"""Tracks of points, gathered frame by frame on disk: they may be longer than memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from openloger.export.sightings import Sightings
from openloger.shapes import Float64, Int

_SIGHTING = np.dtype([("point", "<u4"), ("image", "<u4"), ("index", "<u4")])
_BATCH = 1 << 14  # sightings moved at a time; each takes some 60 bytes meanwhile


class TrackFile:
    """Appended to by frame, then read by point. A context manager; leaving it deletes the file."""

    def __init__(self, folder: Path, *, points: int) -> None:
        """The file lies, without a name, in `folder`."""
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._count = 0
        self.lengths = np.zeros(points, np.int64)  # of the tracks
        self._errors_px = np.zeros(points)

    def __enter__(self) -> TrackFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, image_id: int, sightings: Sightings, *, pixels: float) -> None:
        """The points that an image sees; `pixels` of the image are one of the sightings' pixels."""
        rows = np.empty(len(sightings.points), _SIGHTING)
        rows["point"], rows["image"] = sightings.points, image_id
        rows["index"] = np.arange(len(rows))
        self._file.write(rows.tobytes())
        self._count += len(rows)
        self.lengths[sightings.points] += 1
        self._errors_px[sightings.points] += pixels * sightings.error_px

    @property
    def mean_errors_px(self) -> Float64[np.ndarray, " point"]:
        return self._errors_px / np.maximum(self.lengths, 1)

    def tracks(self) -> Iterator[tuple[int, Int[np.ndarray, "sighting 2"]]]:
        """Each point's number and its (image id, index in the image), in order; a counting sort on disk."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        with tempfile.TemporaryFile(dir=self._folder) as file:
            file.truncate(max(1, self._count) * 8)
            ordered = np.memmap(file, "<i4", "r+", shape=(max(1, self._count), 2))
            self._fill(ordered, starts[:-1].copy())
            for point, (start, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
                yield point, ordered[start:stop]

    def _fill(self, ordered: np.ndarray, places: np.ndarray) -> None:
        """`places` is where each point's next sighting goes."""
        self._file.seek(0)
        while content := self._file.read(_BATCH * _SIGHTING.itemsize):
            rows = np.frombuffer(content, _SIGHTING)
            rows = rows[np.argsort(rows["point"], kind="stable")]
            points, first, counts = np.unique(rows["point"], return_index=True, return_counts=True)
            nth = np.arange(len(rows)) - np.repeat(first, counts)
            at = places[rows["point"]] + nth
            ordered[at, 0], ordered[at, 1] = rows["image"], rows["index"]
            places[points] += counts
