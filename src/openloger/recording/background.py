"""Writes windows on two background threads, with a short queue before them, and commits them in groups.

One computes what is stored of a window (its cameras are fitted, it is measured), while the other has those before it
compressed and written. A commit waits for the disk some twenty times, which takes longer than a small network's window.
So commits take a tenth of the time at most, and none waits longer than `GROUP_S`, or is larger than `GROUP_BYTES`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from openloger.recording.files import explain_os_errors
from openloger.recording.meta import RecordingMeta
from openloger.recording.windows import Cost
from openloger.recording.writer import RecordingWriter, Rows, rows_of
from openloger.values import PlacedWindow

GROUP_S = 1.0  # of work that a kill or a power cut may cost, beside the window in hand
GROUP_BYTES = 256 << 20  # of frames before compression
SHARE_OF_TIME = 0.1  # of commits


class BackgroundWriter:
    """A `RecordingWriter` whose appends run in threads, in order, while the caller goes on.

    A window is committed when it is written, or, where commits take long beside it, within `group_s` and together with
    others; 0: each by itself. At most `ahead` windows wait; `append` blocks while they do. What goes wrong in a thread
    is raised by the next call, and by every call from then on. Close it (or leave its `with` block) before the program
    ends: the windows that wait are written and committed first.
    """

    def __init__(self, writer: RecordingWriter, *, ahead: int = 2, group_s: float = GROUP_S) -> None:
        self._writer = writer
        self._ahead, self._group_s = ahead, group_s
        self._pending: deque[Future[None]] = deque()
        self._computing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rows")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recording")
        self._changed = threading.Condition()
        self._given, self._flushing = 0, False  # the number of windows; whether a caller waits for all of them
        self._committed_at_s, self._commit_s = -math.inf, 0.0

    @property
    def path(self) -> Path:
        return self._writer.path

    @property
    def meta(self) -> RecordingMeta:
        return self._writer.meta

    @property
    def frame_count(self) -> int:
        """The number of frames committed so far."""
        return self._writer.frame_count

    @property
    def state_path(self) -> Path:
        """The file for the stream's state; see `append`."""
        return self._writer.state_path

    def append(
        self, placed: PlacedWindow, *, cost: Cost | None = None, after_commit: Callable[[int], None] | None = None
    ) -> None:
        """Have the window, and what it cost, written.

        With `after_commit` it is committed as soon as it is written, and `after_commit` then called in the thread with
        the count of committed frames: the place to save the stream's state as it was after this window. What is passed
        must not be changed afterwards.

        Raises:
            RecordingError: as `RecordingWriter.append`, of an earlier window.
        """

        with self._changed:
            self._given += 1
            self._changed.notify()
        number = self._given

        def work(rows: Future[Rows]) -> None:
            self._writer.append_rows(rows.result, commit=False)
            if after_commit is None:
                self._commit_in_time(number)
                return
            self._commit()
            with explain_os_errors(self.path, "the stream's state cannot be saved there; make room"):
                after_commit(self._writer.frame_count)

        while self._pending and (self._pending[0].done() or len(self._pending) >= self._ahead):
            self._take_first()
        rows = self._computing.submit(rows_of, placed, self.meta, cost=cost)
        self._pending.append(self._thread.submit(work, rows))

    def flush(self) -> None:
        """Wait until all windows are committed.

        Raises:
            RecordingError: as `append`.
        """
        self._write_pending()
        self._writer.commit()

    def finish(self, complete: bool = True) -> None:
        """Write what waits, then `RecordingWriter.finish`.

        Raises:
            RecordingError: as `append`, or the disk refuses.
        """
        self._write_pending()
        self._writer.finish(complete)
        self.close()

    def close(self) -> None:
        """Write what waits, end the thread and let others write.

        Raises:
            RecordingError: as `append`.
        """
        try:
            self.flush()
        finally:
            for thread in (self._thread, self._computing):
                thread.shutdown(wait=True, cancel_futures=True)
            self._pending.clear()
            self._writer.close()

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _commit_in_time(self, number: int) -> None:
        """Commit what was written, once that is due; leave it to the next window where that comes before."""

        def wait_s() -> float:
            if self._writer.uncommitted_bytes >= GROUP_BYTES:
                return 0.0
            pause_s = min(self._group_s, self._commit_s / SHARE_OF_TIME)
            return max(0.0, self._committed_at_s + pause_s - time.monotonic())

        with self._changed:
            left = self._changed.wait_for(lambda: self._flushing or self._given > number, timeout=wait_s())
        if not left or wait_s() == 0.0:
            self._commit()

    def _commit(self) -> None:
        began_s = time.monotonic()
        self._writer.commit()
        self._committed_at_s = time.monotonic()
        self._commit_s = self._committed_at_s - began_s

    def _write_pending(self) -> None:
        """Wait until all windows are written, committed or not."""
        with self._changed:
            self._flushing = True
            self._changed.notify()
        while self._pending:
            self._take_first()
        self._flushing = False

    def _take_first(self) -> None:
        self._pending[0].result()
        self._pending.popleft()
