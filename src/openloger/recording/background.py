"""Writes windows on a background thread, with a short queue before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from openloger.recording.files import explain_os_errors
from openloger.recording.meta import RecordingMeta
from openloger.recording.windows import Cost
from openloger.recording.writer import RecordingWriter
from openloger.values import PlacedWindow


class BackgroundWriter:
    """A `RecordingWriter` whose appends run in one thread, in order, while the caller goes on.

    At most `ahead` windows wait; `append` blocks while they do. What goes wrong in the thread is raised by the next
    call, and by every call from then on. Close it (or leave its `with` block) before the program ends: the windows
    that wait are written first.
    """

    def __init__(self, writer: RecordingWriter, *, ahead: int = 2) -> None:
        self._writer = writer
        self._ahead = ahead
        self._pending: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recording")

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

        `after_commit` is then called in the thread with the count of committed frames: the place to save the stream's
        state as it was after this window. What is passed must not be changed afterwards.

        Raises:
            RecordingError: as `RecordingWriter.append`, of an earlier window.
        """

        def work() -> None:
            self._writer.append(placed, cost=cost)
            if after_commit is not None:
                with explain_os_errors(self.path, "the stream's state cannot be saved there; make room"):
                    after_commit(self._writer.frame_count)

        while self._pending and (self._pending[0].done() or len(self._pending) >= self._ahead):
            self._take_first()
        self._pending.append(self._thread.submit(work))

    def flush(self) -> None:
        """Wait until all windows are committed.

        Raises:
            RecordingError: as `append`.
        """
        while self._pending:
            self._take_first()

    def finish(self, complete: bool = True) -> None:
        """Write what waits, then `RecordingWriter.finish`.

        Raises:
            RecordingError: as `append`, or the disk refuses.
        """
        self.flush()
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
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._pending.clear()
            self._writer.close()

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take_first(self) -> None:
        self._pending[0].result()
        self._pending.popleft()
