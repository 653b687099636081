"""Meshes are made on a background thread, one at a time; it starts with the first that is requested."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict

from openloger.errors import InputError, RecordingError
from openloger.recording import Recording
from openloger.viewing.scene.mesh import MeshInterruptedError, MeshKey, SceneMesh, build_mesh

_log = logging.getLogger(__name__)
_KEPT = 3  # meshes
_WANTED_S = 30.0  # after which a mesh that no window has requested again is given up


class Mesher:
    """Windows request what they show, turn by turn, and get it once it is there."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._made: OrderedDict[MeshKey, SceneMesh] = OrderedDict()
        self._failed: dict[MeshKey, str] = {}
        self._wanted: dict[MeshKey, float] = {}  # when each was requested last
        self._progress: tuple[MeshKey, float] | None = None
        self._edition = 0  # of the recording: a mesh of an earlier one is not kept
        self._lock, self._waking = threading.Lock(), threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def mesh(self, key: MeshKey) -> SceneMesh | None:
        """The mesh; None: it is being made from now on, or cannot be."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
            if key not in self._failed:
                self._wanted[key] = time.monotonic()
                self._waking.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="viewer-mesher", daemon=True)
                self._thread.start()
        return None

    def note(self, key: MeshKey) -> str:
        """How far it is, as text for the page."""
        with self._lock:
            if key in self._made:
                made = self._made[key]
                count = f"{len(made.faces):,}".replace(",", "\u202f")
                return f"A mesh of {made.frame_count} frames: {count} triangles"
            if key in self._failed:
                return f"No mesh: {self._failed[key]}"
            share = self._progress[1] if self._progress is not None and self._progress[0] == key else 0.0
        return f"The mesh is being made: {100 * share:.0f} %"

    def discard(self) -> None:
        """The recording has changed: what is made, or being made, is of no use."""
        with self._lock:
            self._edition += 1
            self._made.clear()
            self._failed.clear()

    def close(self) -> None:
        """End the thread."""
        self._stopping = True
        self._waking.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._stopping:
            edition, key = self._edition, self._next()
            if key is None:
                self._waking.wait()
                self._waking.clear()
                continue
            try:
                made = build_mesh(
                    self._recording,
                    key,
                    progress=lambda share, key=key: self._show(key, share),
                    is_wanted=lambda key=key, edition=edition: edition == self._edition and self._is_wanted(key),
                )
            except MeshInterruptedError:
                continue
            except (InputError, RecordingError, OSError) as error:
                _log.warning("no mesh: %s", error)
                with self._lock:
                    if edition == self._edition:
                        self._failed[key] = str(error)
                continue
            with self._lock:
                if edition == self._edition:
                    self._made[key] = made
                while len(self._made) > _KEPT:
                    self._made.popitem(last=False)

    def _next(self) -> MeshKey | None:
        """The one that was requested last."""
        with self._lock:
            for key in [key for key in self._wanted if key in self._made or key in self._failed]:
                del self._wanted[key]
            wanted = max(self._wanted, key=self._wanted.__getitem__, default=None)
        return wanted if wanted is not None and self._is_wanted(wanted) else None

    def _show(self, key: MeshKey, share: float) -> None:
        with self._lock:
            self._progress = key, share

    def _is_wanted(self, key: MeshKey) -> bool:
        return not self._stopping and time.monotonic() - self._wanted.get(key, 0.0) < _WANTED_S
