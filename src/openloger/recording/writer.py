"""Writing a recording, window by window.

Each commit gives the arrays their chunks, then the files of names and windows their lines, and last replaces
`committed.json`, each on the disk before the next. Until that moment no reader has the new frames; after it every
reader does, a power cut included. So a kill or a power cut at any time costs what was not committed: the window in
hand, and with `BackgroundWriter` the windows of the last second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from openloger.errors import RecordingError
from openloger.outputs import FileLock
from openloger.recording.committed import Committed, write_committed
from openloger.recording.files import explain_os_errors
from openloger.recording.layout import FLOAT16_DEPTH_MAX, FLOAT16_DEPTH_MIN, STATE_FILE, array_layouts
from openloger.recording.line_files import name_lines, name_values, window_lines, window_value
from openloger.recording.meta import RecordingMeta
from openloger.recording.store import GrowingArray, open_for_writing
from openloger.recording.windows import Cost, RecordedWindow, window_row
from openloger.shapes import Tensor
from openloger.values import PlacedWindow

_log = logging.getLogger(__name__)


class RecordingWriter:
    """Appends to one recording; made by `create_recording` or `resume_recording`. A context manager: leaving closes."""

    def __init__(self, path: Path, meta: RecordingMeta, *, committed: Committed, lock: FileLock) -> None:
        self.path = path
        self.meta = meta
        self._committed = committed
        self._lock = lock
        layouts = array_layouts(meta.height, meta.width, depth_dtype=meta.depth_dtype)
        self._arrays = open_for_writing(path, layouts, frames=committed.frames, checked=meta.has_checksums)
        self._threads = {name: ThreadPoolExecutor(1, thread_name_prefix=f"chunks of {name}") for name in self._arrays}
        self._appending: list[Future[None]] = []  # what the arrays are still to take
        self._names: list[Any] = []  # to be committed
        self._windows: list[Any] = []
        self._uncommitted_bytes = 0
        self._usable = True
        self._clipping_reported = False

    @property
    def frame_count(self) -> int:
        """The number of committed frames."""
        return self._committed.frames

    @property
    def state_path(self) -> Path:
        """Where whoever runs the stream keeps its state (with the frame count it belongs to), after the commit."""
        return self.path / STATE_FILE

    @property
    def uncommitted_bytes(self) -> int:
        """The size of the frames that wait for a commit, before compression."""
        return self._uncommitted_bytes

    def append(self, placed: PlacedWindow, *, cost: Cost | None = None, commit: bool = True) -> None:
        """Write the window's first `final` frames, and what it cost; with `commit`, `commit` them, too.

        Without, they may still be compressed on return: the window must not be changed before the commit.

        Raises:
            RecordingError: the disk refuses (now, or what an earlier call left), the frames do not fit this recording,
                or a prediction is not finite. What was committed before stays; the writer takes no more.
        """
        self.append_rows(partial(rows_of, placed, self.meta, cost=cost), commit=commit)

    def append_rows(self, compute: Callable[[], Rows], *, commit: bool) -> None:
        """The same for rows that `compute` gives or waits for; those of one window at most are left to be compressed.

        Raises:
            RecordingError: as `append`.
        """
        with self._writing():
            rows = compute()
            before, self._appending = self._appending, []
            for name, values in rows.arrays.items():
                self._appending.append(self._threads[name].submit(self._arrays[name].append, values))
            _results(before)
            first, number = self.frame_count + len(self._names), self._committed.windows + len(self._windows)
            self._windows.append(window_value(replace(rows.window, first_frame=first), self.meta, row=number))
            self._names += name_values(rows.names, self.meta, first_frame=first)
            self._uncommitted_bytes += sum(values.nbytes for values in rows.arrays.values())
            if commit:
                self._commit(GrowingArray.commit)
        if rows.window.clipped_pixels:
            self._report_clipping(rows.window.clipped_pixels)

    def commit(self) -> None:
        """Make what was appended count: on return the disk has it, and readers find it.

        Raises:
            RecordingError: the disk refuses. What was committed before stays; the writer takes no more.
        """
        if self._windows:
            with self._writing():
                self._commit(GrowingArray.commit)

    def finish(self, complete: bool = True) -> None:
        """Commit, trim the arrays to their frames, record whether the source was taken in whole, and close.

        Raises:
            RecordingError: the disk refuses.
        """
        with self._writing():
            self._commit(GrowingArray.trim, complete=complete)
        self.close()

    def close(self) -> None:
        """Commit what was appended, and let others write.

        Raises:
            RecordingError: as `commit`; others may write all the same.
        """
        try:
            if self._usable:
                self.commit()
        finally:
            self._usable = False
            for thread in self._threads.values():
                thread.shutdown(wait=True)
            self._lock.release()

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _commit(self, place: Callable[[GrowingArray], None], *, complete: bool = False) -> None:
        """Place the arrays' chunks, all at once, then the lines, and count them."""
        _results(self._appending)
        _results([self._threads[name].submit(place, array) for name, array in self._arrays.items()])
        if self._windows:
            name_lines(self.path, self.meta).append(self._names)
            window_lines(self.path, self.meta).append(self._windows)
        frames = self.frame_count + len(self._names)
        committed = Committed(frames, self._committed.windows + len(self._windows), complete=complete)
        write_committed(self.path, committed)
        self._committed = committed
        self._names, self._windows, self._uncommitted_bytes = [], [], 0

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if not self._usable:
            raise RecordingError(f"{self.path}: closed, or stopped by an error; go on with resume_recording (--resume)")
        self._usable = False  # until the commit: what an error leaves behind is for resume_recording to clear
        advice = (
            f"its {self.frame_count} committed frames can be read, and once that is fixed --resume continues from there"
        )
        with explain_os_errors(self.path, advice):
            try:
                yield
            except BaseException:
                wait(self._appending)
                for array in self._arrays.values():
                    array.discard()
                raise
        self._usable = True

    def _report_clipping(self, pixels: int) -> None:
        if not self._clipping_reported:
            _log.warning(
                "%s: %d depths of this window lie outside float16's range and are put on its end; "
                "depth_dtype float32 keeps them (later windows are counted in the recording only)",
                self.path,
                pixels,
            )
        self._clipping_reported = True


def _results(of: list[Future[None]]) -> None:
    """Wait for all.

    Raises:
        OSError: what the file system reported to the first that failed.
    """
    wait(of)
    for one in of:
        one.result()


@dataclass(frozen=True, eq=False)
class Rows:
    """What a recording keeps of a window."""

    arrays: dict[str, np.ndarray]  # a key for each array of the layout, one row a final frame
    names: list[str]  # of those frames
    window: RecordedWindow  # as if it were the first


def rows_of(placed: PlacedWindow, meta: RecordingMeta, *, cost: Cost | None = None) -> Rows:
    """The rows of the first `placed.final_count` frames: fits their cameras and measures the window.

    Raises:
        RecordingError: the frames have another size than the recording, or a prediction is not finite.
    """
    final = placed.final_count
    points, confidence = placed.points_cam[:final].detach(), placed.confidence[:final].detach()
    world_from_cam, frames = placed.world_from_cam[:final].detach(), placed.frames[:final]
    _check(placed, meta, {"points_cam": points, "confidence": confidence, "world_from_cam": world_from_cam})
    depth, clipped = _storable_depth(points[..., 2], meta)
    shape = (final, meta.height, meta.width, 3)
    arrays = {
        "depth": _numpy(depth),
        "confidence": _numpy((confidence * 255).round_().to(torch.uint8)),
        "rgb": np.stack([frame.rgb for frame in frames]) if frames else np.zeros(shape, np.uint8),
        "world_from_cam": _numpy(world_from_cam.double()),
        "intrinsics": _numpy(placed.intrinsics[:final].double()),
        "residual_px": _numpy(placed.residual_px[:final].float()),
        "timestamp_s": np.array([frame.timestamp_s for frame in frames], np.float64),
        "source_index": np.array([frame.index for frame in frames], np.int64),
    }
    window = window_row(placed, first_frame=0, clipped_pixels=clipped, cost=cost, fixed_lens=meta.lens == "fixed")
    return Rows(arrays, [frame.name for frame in frames], window)


def _storable_depth(depth: Tensor, meta: RecordingMeta) -> tuple[Tensor, int]:
    if meta.depth_dtype == "float32":
        return depth.float(), 0
    depth = depth.contiguous()  # it is a column of the points
    if depth.numel() == 0:
        return depth.half(), 0
    least, most = depth.aminmax()
    if least >= FLOAT16_DEPTH_MIN and most <= FLOAT16_DEPTH_MAX:
        return depth.half(), 0
    inside = torch.where(depth == 0, 0.0, depth.clamp(FLOAT16_DEPTH_MIN, FLOAT16_DEPTH_MAX))  # 0: masks hide it
    return inside.half(), int((inside != depth).sum())


def _is_finite(values: Tensor) -> bool:
    """Whether all are. A sum is finite only then; it is a tenth of the work, and may overflow."""
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def _check(placed: PlacedWindow, meta: RecordingMeta, predicted: dict[str, Tensor]) -> None:
    size = (meta.height, meta.width)
    for frame in placed.frames[: placed.final_count]:
        if frame.rgb.shape[:2] != size:
            given = "×".join(map(str, frame.rgb.shape[:2]))
            raise RecordingError(
                f"frame {frame.index} ({frame.name!r}) is {given} pixels, the recording {size[0]}×{size[1]}; "
                "resize all frames to one size"
            )
    for name, values in predicted.items():
        if not _is_finite(values):
            raise RecordingError(
                f"window {placed.number}: {name} is not finite; check the weights, or run in a wider dtype (float32)"
            )


def _numpy(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
