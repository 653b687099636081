"""The viewer: one loop that gives every browser window what it requests, and draws the recording.

Three threads work for a page: viser's own, which only puts wishes into a queue; the reader, which fills the overview;
and this loop, which alone touches the scenes. So nothing is drawn twice, and a slider that is dragged draws no faster
than the browser takes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from openloger.errors import InputError
from openloger.recording import Recording
from openloger.recording.windows import drift_series
from openloger.viewing.browser.drawing import about, alignment, reading
from openloger.viewing.browser.mesher import Mesher
from openloger.viewing.browser.navigation import Closeness
from openloger.viewing.browser.reader import BackgroundReader
from openloger.viewing.browser.server import Access, free_port, start_server, stop_server
from openloger.viewing.browser.session import SceneUpdate, Session, frame_rate
from openloger.viewing.browser.tools import page_name
from openloger.viewing.scene.cameras import ORBIT_FOV, home
from openloger.viewing.scene.overview import LEAST_POINTS, Overview, Snapshot
from openloger.viewing.scene.snapshot import Overlay, TrueCameras, overlay, snapshot_of

POINT_BUDGET = 1_000_000  # 15 MB in the browser
_TICK_S = 0.05
_LEAST_PAUSE_S = 0.005


@dataclass(frozen=True)
class ViewOptions:
    """Settings of the server."""

    host: str = "127.0.0.1"
    port: int = 8080  # or the next that is free
    budget: int = POINT_BUDGET  # points of the overview; a third as many more where the viewer looks closely
    truth: TrueCameras | None = None


class Viewer:
    """Serves one recording until it is closed; `run` does the work.

    Raises InputError where viser is not installed, or the address cannot be served at.
    """

    def __init__(self, recording: Recording, *, options: ViewOptions | None = None) -> None:
        self.options = options or ViewOptions()
        overview = Overview(recording, budget=self.options.budget)
        port = free_port(self.options.host, self.options.port)
        self._recording = recording
        self._access = Access.at(self.options.host)
        self._server = start_server(self._access, port, label=f"openloger · {page_name(recording.path)}")
        self.port = int(self._server.get_port())  # another program may have been quicker
        self._server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        self._server.gui.main_panel.dock_right()
        self._sessions: dict[int, Session] = {}
        self._sent_before = 0  # bytes, to windows that are closed
        self._shown: SceneUpdate | None = None
        self._close: Closeness | None = None
        self._mesher, self._mesh_is_of = Mesher(recording), (recording.complete, recording.correction)
        self._reader = BackgroundReader(overview, detail_budget=max(self.options.budget // 3, LEAST_POINTS))

    @property
    def url(self) -> str:
        """To open in a browser; where the network can reach it, with the token that lets in."""
        return self._access.url(self.port)

    @property
    def sent_bytes(self) -> int:
        """Of points, to all browsers, so far."""
        return self._sent_before + sum(session.sent_bytes for session in self._sessions.values())

    @property
    def latest(self) -> Snapshot | None:
        """The latest snapshot of the overview."""
        return self._reader.latest

    def run(self, *, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Serve until `should_stop`, or interrupted."""
        while not should_stop():
            began_s = time.monotonic()
            self.tick()
            time.sleep(max(_TICK_S - (time.monotonic() - began_s), _LEAST_PAUSE_S))

    def close(self) -> None:
        """Let browsers and threads go."""
        self._reader.close()
        self._mesher.close()
        stop_server(self._server)

    def tick(self) -> None:
        """One turn: take in what is new, and give every window its own."""
        latest = self._reader.latest
        self._greet()
        if latest is not None and (self._shown is None or self._shown.scene.snapshot is not latest):
            self._take_in(latest)
        for session in self._sessions.values():
            with session.may_be_closed():
                session.tick(self._reader.detail)
        self._look_closely()

    def _greet(self) -> None:
        """Windows that were opened, and those that were closed."""
        clients = self._server.get_clients()
        for number in [number for number in self._sessions if number not in clients]:
            self._sent_before += self._sessions.pop(number).sent_bytes
        for number, client in clients.items():
            if number not in self._sessions:
                has_truth = self.options.truth is not None
                self._sessions[number] = session = Session(client, self._recording, self._mesher, has_truth=has_truth)
                if self._shown is not None:
                    with session.may_be_closed():
                        session.take_in(self._shown)

    def _take_in(self, snapshot: Snapshot) -> None:
        """The reader has more."""
        recording = self._recording
        if (recording.complete, recording.correction) != self._mesh_is_of:
            self._mesh_is_of = (recording.complete, recording.correction)
            self._mesher.discard()
        aligned, truth = self._align(snapshot.frame_count)
        scene = snapshot_of(recording, snapshot, aligned)
        self._shown = SceneUpdate(
            scene=scene,
            fps=frame_rate(recording.timestamps_s),
            notes={
                "state": reading(snapshot, recording, problem=self._reader.problem),
                "about": about(recording),
                "truth": truth,
            },
            drift=drift_series(recording.windows, recording.timestamps_s) if len(scene.cameras) else {},
        )
        if len(scene.cameras):
            self._server.scene.set_up_direction(tuple(scene.place.up.tolist()))
            start = home(scene.cameras, scene.place)
            self._server.initial_camera.position = start.position
            self._server.initial_camera.look_at = start.look_at
            self._server.initial_camera.fov = ORBIT_FOV
        for session in self._sessions.values():
            with session.may_be_closed():
                session.take_in(self._shown)

    def _align(self, count: int) -> tuple[Overlay | None, str]:
        """The true path, and a note about it."""
        if self.options.truth is None or count == 0:
            return None, ""
        try:
            aligned = overlay(self._recording.world_from_cam[:count], self.options.truth(self._recording)[:count])
        except InputError as error:  # as the first few frames of a recording may be; later it goes away or stands here
            return None, f"No ground truth is shown: {error}."
        return aligned, alignment(aligned)

    def _look_closely(self) -> None:
        """Fetch detail where the window whose camera moved last shows the overview's points far apart."""
        last = max(self._sessions.values(), key=lambda session: session.moved_s, default=None)
        wanted = None if last is None else last.closeness()
        if wanted is None and self._close is None:
            return
        if wanted is not None and self._close is not None and not wanted.differs(self._close):
            return
        self._close = wanted
        self._reader.want_detail(None if wanted is None else wanted.focus, stop=0 if wanted is None else wanted.stop)
