"""Reading behind the page's back: a thread that feeds the overview, follows the recording, and fetches detail."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from openloger.errors import RecordingError
from openloger.shapes import Float
from openloger.viewing.scene.overview import Overview, Snapshot

_log = logging.getLogger(__name__)

REFRESH_S = 1.0
_FIRST_PUBLISH_S, _LAST_PUBLISH_S = 0.2, 4.0  # how long between snapshots; each wait is half as long again
_GROWTH = 1.5  # of what was read: each snapshot of a long recording is as large as the budget, and is sent whole


class BackgroundReader:
    """`latest` and `detail` are replaced as whole values; take them once and use what was taken."""

    def __init__(self, overview: Overview, *, detail_budget: int) -> None:
        self.latest: Snapshot | None = None
        self.detail: Snapshot | None = None
        self.problem: str | None = None  # the last thing that the disk did not hold
        self._overview, self._detail_budget = overview, detail_budget
        self._wish: tuple[Float[np.ndarray, " 3"], int] | None = None
        self._wishing = threading.Lock()
        self._stopping = threading.Event()
        self._waking = threading.Event()
        self._thread = threading.Thread(target=self._work, name="viewer-reader", daemon=True)
        self._thread.start()

    def want_detail(self, focus: Float[np.ndarray, " 3"] | None, *, stop: int) -> None:
        """Fetch a finer cloud around a point of the world, of frames before `stop`; None: no longer."""
        with self._wishing:
            self._wish = None if focus is None else (focus, stop)
        if focus is None:
            self.detail = None
        self._waking.set()

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._waking.set()
        self._thread.join()

    def _work(self) -> None:
        refreshed_s = published_s = 0.0
        wait_s, is_stale = _FIRST_PUBLISH_S, True
        while not self._stopping.is_set():
            if time.monotonic() - refreshed_s > REFRESH_S:
                is_stale |= self._guarded(self._overview.refresh)
                refreshed_s = time.monotonic()
            worked = self._guarded(self._overview.step)
            is_stale |= worked
            is_due = self.latest is None or (
                time.monotonic() - published_s > wait_s
                and self._overview.blocks_read >= _GROWTH * self.latest.blocks_read
            )
            if is_stale and (is_due or not worked):
                self.latest = self._overview.snapshot()
                is_stale, published_s = False, time.monotonic()
                wait_s = min(1.5 * wait_s, _LAST_PUBLISH_S)
            self._fetch_detail()
            if not worked:
                self._waking.wait(REFRESH_S / 4)
                self._waking.clear()

    def _fetch_detail(self) -> None:
        with self._wishing:
            wish, self._wish = self._wish, None
        if wish is None:
            return
        focus, stop = wish
        try:
            self.detail = self._overview.detail(focus, stop=stop, budget=self._detail_budget)
        except (RecordingError, IndexError) as error:
            self._report(error)

    def _guarded(self, action: Callable[[], bool]) -> bool:
        try:
            return action()
        except (RecordingError, IndexError) as error:  # IndexError: the recording was begun anew under our hands
            self._report(error)
            return True

    def _report(self, error: Exception) -> None:
        if str(error) != self.problem:
            _log.warning("%s", error)
        self.problem = str(error)
