"""Reading a recording, whole or while it is written: lazily, one chunk at a time, in memory that does not grow."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from openloger.diagnostics import Finding, findings
from openloger.errors import RecordingError, counted
from openloger.geometry import LensFit, Sim3, fit_lens, unproject
from openloger.geometry.earth import GeoOrigin
from openloger.recording.committed import Committed, read_committed
from openloger.recording.correction import Correction, correction_stamp, read_correction
from openloger.recording.layout import STATE_FILE, WINDOWS_FILE, array_layouts
from openloger.recording.line_files import lost_names, lost_windows, read_names, read_windows
from openloger.recording.meta import RecordingMeta, lost_meta, read_meta
from openloger.recording.store import ChunkReader
from openloger.recording.windows import RecordedWindow, moved_window
from openloger.shapes import Bool, Float32, Float64, Int, UInt8
from openloger.values import Frame

CACHED_CHUNKS = 6  # two of each kind of picture; as many of the small arrays
_log = logging.getLogger("openloger")


@dataclass(frozen=True, eq=False)
class RecordedFrame:
    """One frame of a recording."""

    number: int  # in the recording, from 0
    name: str
    source_index: int
    timestamp_s: float
    world_from_cam: Float64[np.ndarray, "4 4"]
    intrinsics: Float64[np.ndarray, "3 3"]
    depth: Float32[np.ndarray, "height width"]  # along z, in world units; 0 where a mask hides the pixel
    confidence: Float32[np.ndarray, "height width"]  # 0..1
    rgb: UInt8[np.ndarray, "height width 3"]

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """False where masks hide a pixel: its depth and its confidence are 0, and it gives no point."""
        return self.depth > 0

    @property
    def mean_confidence(self) -> float:
        """Over the pixels that no mask hides; 0 where all are hidden."""
        return float(self.confidence[self.mask].mean()) if self.mask.any() else 0.0

    def as_given(self, meta: RecordingMeta) -> Frame:
        """The frame as the network had it; where it had a mask, what the network masked is taken for a part of it."""
        given = (meta.masks or {}).keys() - {"predicted"}
        mask = self.mask if given else None
        return Frame(self.rgb, self.source_index, self.timestamp_s, self.name, meta.source_size, mask)

    @property
    def points_cam(self) -> Float32[np.ndarray, "height width 3"]:
        """Points in the camera's frame."""
        return _unproject(self.depth, self.intrinsics).astype(np.float32)

    @property
    def points_world(self) -> Float32[np.ndarray, "height width 3"]:
        """Points in the world's frame."""
        return _move(self.world_from_cam, _unproject(self.depth, self.intrinsics)).astype(np.float32)


class Recording:
    """A recording on disk. It shows the frames that were committed when it was opened or last refreshed.

    Threads may share it. Frames are numbered from 0 in the order they were written; an `IndexError` means that there is
    no such frame, a `RecordingError` that the disk does not hold what was committed.

    Cameras, depth and windows are corrected by what `openloger align` and `close-loops` left beside the recording; with
    `corrected=False` they are as they were recorded.
    """

    def __init__(self, path: Path, *, corrected: bool = True) -> None:
        self.path = path
        self.meta = read_meta(path)
        if lost := lost_meta(path):
            _log.warning("%s", lost)
        self._corrected = corrected
        self._correction: tuple[tuple[int, int] | None, Correction | None] = (None, None)  # with its file's stamp
        self._view = self._look()

    def _look(self) -> _View:
        stamp = correction_stamp(self.path) if self._corrected else None
        if stamp != self._correction[0]:
            self._correction = (stamp, None if stamp is None else read_correction(self.path))
        return _View(self.path, self.meta, read_committed(self.path), self._correction[1])

    def __repr__(self) -> str:
        frames, size = counted(len(self), "frame"), f"{self.meta.height}×{self.meta.width}"
        return f"Recording({str(self.path)!r}: {frames}, {size}, {'' if self.complete else 'in'}complete)"

    def refresh(self) -> bool:
        """Read what was committed or corrected since; whether anything was (or was taken back)."""
        stamp = correction_stamp(self.path) if self._corrected else None
        changed = read_committed(self.path) != self._view.committed or stamp != self._correction[0]
        if changed:
            self.meta = read_meta(self.path)  # --overwrite may have been at work
            self._view = self._look()
        return changed

    @property
    def correction(self) -> Correction | None:
        """The correction of all cameras and depths, the same object until its file changes; None: there is none."""
        return self._view.correction

    @property
    def correction_texts(self) -> tuple[str, ...]:
        """The steps of its correction, first to last, a phrase for each."""
        return () if self.correction is None else tuple(step.text for step in self.correction.steps)

    @property
    def is_metric(self) -> bool:
        """Whether lengths are metres: the recording was aligned, or the network gave every window a metric scale."""
        if self.correction is not None:
            return self.correction.is_metric
        windows = self.windows
        return bool(windows) and all(window.metric_scale is not None for window in windows)

    @property
    def unit(self) -> Literal["m", "units"]:
        """The name of the unit of lengths: units are the recording's own where no scale is known."""
        return "m" if self.is_metric else "units"

    @property
    def is_upright(self) -> bool:
        """Whether y is down along gravity."""
        return self.correction is not None and self.correction.is_upright

    @property
    def frame_count(self) -> int:
        return self._view.committed.frames

    def __len__(self) -> int:
        return self.frame_count

    @property
    def complete(self) -> bool:
        """True where the source was read to its end."""
        return self._view.committed.complete

    @property
    def state_path(self) -> Path:
        """The file from which a resumed run reads the stream's state; there may be none."""
        return self.path / STATE_FILE

    @property
    def views(self) -> int:
        """Frames of one instant, which follow each other: of a rig more than one, and they have one centre."""
        return self.meta.views

    @property
    def first_views(self) -> range:
        """The frames of a rig's first view, which are one an instant; otherwise all frames."""
        return range(0, len(self), self.views)

    @property
    def world_from_cam(self) -> Float64[np.ndarray, "frame 4 4"]:
        """Every camera; a copy, as are the arrays below: take it once, not once a frame."""
        return self._view.cameras.copy()

    @property
    def origin(self) -> GeoOrigin | None:
        """Where on the earth the world has its origin (x east, y down, z north); None where that is not known."""
        return None if self.correction is None else self.correction.origin

    @property
    def intrinsics(self) -> Float64[np.ndarray, "frame 3 3"]:
        """In pixels; where `meta.lens` is "fixed", every frame has the camera of `lens_fit`."""
        return self._view.intrinsics.copy()

    @property
    def residual_px(self) -> Float32[np.ndarray, " frame"]:
        """The distance in pixels by which points from depth and intrinsics miss the network's; inf: no fit.

        A median over the frame; where `meta.lens` is "fixed", the RMS of the pixels that count in the frame's own fit.
        """
        fit = self.lens_fit
        return (self._view.numbers("residual_px") if fit is None else fit.frame_residual_px.float().numpy()).copy()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings about the input and the result: cuts, blank frames, no motion, a lens that disagrees, …"""
        windows = self.windows
        return findings(
            [window.measures for window in windows if window.measures is not None],
            [window.disagreement for window in windows if window.disagreement is not None],
            self.meta.source_lens,
        )

    @property
    def lens_fit(self) -> LensFit | None:
        """The camera that all frames share; None where `meta.lens` is "varying", the camera is known, or none fits."""
        return self._view.lens_fit

    @property
    def timestamps_s(self) -> Float64[np.ndarray, " frame"]:
        return self._view.numbers("timestamp_s").copy()

    @property
    def source_index(self) -> Int[np.ndarray, " frame"]:
        """Each frame's number in the source."""
        return self._view.numbers("source_index").copy()

    @property
    def names(self) -> tuple[str, ...]:
        return self._view.names

    @property
    def windows(self) -> tuple[RecordedWindow, ...]:
        """The numbers kept of each window."""
        return self._view.windows

    def depth(self, number: int) -> Float32[np.ndarray, "height width"]:
        """Along z, in the units of `world_from_cam`; 0 where a mask hides the pixel, which gives no point."""
        return self._view.depth(number)

    def confidence(self, number: int) -> Float32[np.ndarray, "height width"]:
        """From 0 to 1, in steps of 1/255."""
        return self._view.image("confidence", number).astype(np.float32) / np.float32(255)

    def rgb(self, number: int) -> UInt8[np.ndarray, "height width 3"]:
        """The picture at the network's size, sRGB."""
        return self._view.image("rgb", number).copy()

    def points_cam(self, number: int) -> Float32[np.ndarray, "height width 3"]:
        """Points in the camera's frame."""
        return _unproject(self.depth(number), self._view.camera(number)).astype(np.float32)

    def points_world(self, number: int) -> Float32[np.ndarray, "height width 3"]:
        """Points in the world's frame."""
        points = _unproject(self.depth(number), self._view.camera(number))
        return _move(self._view.world_from_cam(number), points).astype(np.float32)

    def frame(self, number: int) -> RecordedFrame:
        """All of one frame."""
        view = self._view
        return RecordedFrame(
            number=number,
            depth=self.depth(number),
            confidence=self.confidence(number),
            rgb=self.rgb(number),
            name=view.names[number],
            source_index=int(view.row("source_index", number)),
            timestamp_s=float(view.row("timestamp_s", number)),
            world_from_cam=view.world_from_cam(number).copy(),
            intrinsics=view.camera(number).copy(),
        )

    def frames(self, start: int = 0, stop: int | None = None, stride: int = 1) -> Iterator[RecordedFrame]:
        """Frames in order, sliced as a list would be; each chunk is decoded once, two of each kind are held."""
        return map(self.frame, range(len(self))[start:stop:stride])

    def __iter__(self) -> Iterator[RecordedFrame]:
        return self.frames()


def open_recording(path: str | os.PathLike[str], *, corrected: bool = True) -> Recording:
    """Open a recording, finished or not, even while it is written; with `corrected=False`, as it was recorded.

    Raises:
        RecordingError: there is none, it is of another format version, or it is damaged.
    """
    return Recording(Path(path), corrected=corrected)


class _View:
    """A recording as of one commit and one correction. Replaced as a whole, so nothing in it grows stale."""

    def __init__(self, folder: Path, meta: RecordingMeta, committed: Committed, correction: Correction | None) -> None:
        self.committed = committed
        self.correction = correction
        self._folder = folder
        self._meta = meta
        layouts = array_layouts(meta.height, meta.width, depth_dtype=meta.depth_dtype)
        self._layouts = {layout.name: layout for layout in layouts}
        self._arrays: dict[str, ChunkReader] = {}
        self._numbers: dict[str, np.ndarray] = {}
        self._chunks: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._number_chunks: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def names(self) -> tuple[str, ...]:
        names = read_names(self._folder, self._meta, self.committed.frames)
        if lost := lost_names(self._folder, names):
            _log.warning("%s", lost)
        return tuple(f"lost-{frame:06d}" if name is None else name for frame, name in enumerate(names))

    @cached_property
    def windows(self) -> tuple[RecordedWindow, ...]:
        windows = read_windows(self._folder, self._meta, self.committed.windows)
        if lost := lost_windows(self._folder, windows, frames=self.committed.frames):
            _log.warning("%s", lost)
        kept = tuple(window for window in windows if window is not None)
        if self.correction is None:
            return kept
        moved = self.correction.at(np.array([window.first_frame for window in kept], np.int64))
        return tuple(moved_window(window, moved[row]) for row, window in enumerate(kept))

    @cached_property
    def _moved(self) -> Sim3 | None:
        """`corrected_from_recorded` of each frame; None: nothing is moved."""
        if self.correction is None:
            return None
        return self.correction.of_frames(self.committed.frames, views=self._meta.views)

    @cached_property
    def cameras(self) -> np.ndarray:
        """Every world_from_cam."""
        recorded, moved = self.numbers("world_from_cam"), self._moved
        return recorded if moved is None else _moved_cameras(recorded, moved)

    def world_from_cam(self, number: int) -> np.ndarray:
        """One frame's."""
        recorded, moved = self.row("world_from_cam", number), self._moved
        return recorded if moved is None else _moved_cameras(recorded[None], moved[number : number + 1])[0]

    def depth(self, number: int) -> np.ndarray:
        """One frame's, in the units of `world_from_cam`."""
        recorded, moved = self.image("depth", number).astype(np.float32), self._moved
        return recorded if moved is None else recorded * np.float32(moved.scale[number])

    @cached_property
    def intrinsics(self) -> np.ndarray:
        each = self.numbers("intrinsics")
        fit = self.lens_fit
        return each if fit is None else np.broadcast_to(fit.intrinsics.numpy(), each.shape)

    def camera(self, number: int) -> np.ndarray:
        """One frame's intrinsics."""
        fit = self.lens_fit
        return self.row("intrinsics", number) if fit is None else fit.intrinsics.numpy()

    @cached_property
    def lens_fit(self) -> LensFit | None:
        meta = self._meta
        if meta.lens == "varying" or meta.known_intrinsics_px is not None:
            return None
        rows = [row for window in self.windows for row in window.lens_statistics or ()]
        if len(rows) != self.committed.frames and len(self.windows) < self.committed.windows:
            raise RecordingError(f"{self._folder / WINDOWS_FILE}: damaged; the fixed lens cannot be fitted without it")
        if len(rows) != self.committed.frames:
            raise RecordingError(
                f"{self._folder}: its fixed lens was recorded by an older version, which kept no numbers to fit it to; "
                "reconstruct it again"
            )
        statistics = torch.tensor(rows, dtype=torch.float64).reshape(-1, 8)
        return fit_lens(statistics, size=(meta.height, meta.width), pixel_aspect=meta.pixel_aspect)

    def numbers(self, name: str) -> np.ndarray:
        """A small array, whole."""
        with self._lock:
            if name not in self._numbers:
                self._numbers[name] = self._read_numbers(name)
            return self._numbers[name]

    def row(self, name: str, number: int) -> Any:
        """One frame of a small array, which may be damaged elsewhere."""
        known = self._numbers.get(name)
        return self._cached(self._number_chunks, name, number) if known is None else known[number]

    def image(self, name: str, number: int) -> np.ndarray:
        """One frame of a large array."""
        return self._cached(self._chunks, name, number)

    def _cached(self, chunks: OrderedDict[tuple[str, int], np.ndarray], name: str, number: int) -> Any:
        if not 0 <= number < self.committed.frames:
            raise IndexError(f"frame {number} of a recording of {counted(self.committed.frames, 'frame')}")
        with self._lock:
            chunk_number, row = divmod(number, self._array(name).chunk_frames)
            key = (name, chunk_number)
            if key not in chunks:
                chunks[key] = self._array(name).chunk(chunk_number)
            chunks.move_to_end(key)
            if len(chunks) > CACHED_CHUNKS:
                chunks.popitem(last=False)
            return chunks[key][row]

    def _read_numbers(self, name: str) -> np.ndarray:
        if self.committed.frames == 0:  # the arrays may not be there yet
            layout = self._layouts[name]
            return np.zeros((0, *layout.frame_shape), layout.dtype)
        return self._array(name).first(self.committed.frames)

    def _array(self, name: str) -> ChunkReader:
        if name not in self._arrays:
            self._arrays[name] = ChunkReader(self._folder, self._layouts[name])
        return self._arrays[name]


def _unproject(depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """In float64, (height, width, 3)."""
    return unproject(torch.from_numpy(depth).double(), torch.tensor(intrinsics)).numpy()


def _moved_cameras(world_from_cam: np.ndarray, moved: Sim3) -> np.ndarray:
    cameras = world_from_cam.copy()
    cameras[:, :3, :3] = moved.rotation.numpy() @ world_from_cam[:, :3, :3]
    cameras[:, :3, 3] = moved.apply(torch.from_numpy(world_from_cam[:, :3, 3].copy())).numpy()
    return cameras


def _move(a_from_b: np.ndarray, points_b: np.ndarray) -> np.ndarray:
    return points_b @ a_from_b[:3, :3].T + a_from_b[:3, 3]
