"""The viewer: one loop that reads the page's settings, and draws the recording.

Three threads work for a page: viser's own, which only puts wishes into a queue; the reader, which fills the overview;
and this loop, which alone touches the scene. So nothing is drawn twice, and a slider that is dragged draws no faster
than the browser takes it.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.recording import Recording
from openloger.recording.windows import drift_series
from openloger.shapes import Float
from openloger.viewing.browser.controls import Controls, Page
from openloger.viewing.browser.drawing import Drawing, about, alignment, reading
from openloger.viewing.browser.navigation import Closeness, Navigation, closeness
from openloger.viewing.browser.reader import BackgroundReader
from openloger.viewing.browser.server import Access, free_port, start_server, stop_server
from openloger.viewing.browser.tools import Tools, page_name
from openloger.viewing.scene.cameras import home
from openloger.viewing.scene.overview import LEAST_POINTS, Overview, Snapshot, usual_edge
from openloger.viewing.scene.snapshot import Overlay, SceneSnapshot, TrueCameras, overlay, snapshot_of

_FALLBACK_FPS = 30.0  # of a single frame, or timestamps that stand still


@dataclass(frozen=True)
class PlaybackClock:
    """Where playing is, with the fraction of a frame that a slider does not show."""

    position: float = 0.0  # frames
    playing: bool = False

    @property
    def frame(self) -> int:
        return int(self.position)

    def at(self, frame: int) -> PlaybackClock:
        """Somebody moved the slider there; the fraction stays where it is that frame already."""
        return self if self.frame == frame else replace(self, position=float(frame))

    def stepped(self, frames: int, *, last: int) -> PlaybackClock:
        """So many frames on or back; whoever steps does not play."""
        return PlaybackClock(float(min(max(self.frame + frames, 0), last)))

    def toggled(self, *, last: int) -> PlaybackClock:
        """Played, from the beginning where it is at the end; or paused."""
        if self.playing:
            return replace(self, playing=False)
        return PlaybackClock(0.0 if self.frame >= last else self.position, playing=True)

    def advanced(self, seconds: float, *, fps: float, last: int, goes_on: bool) -> PlaybackClock:
        """So much later; it stops at the last frame, but waits there where the recording goes on."""
        if not self.playing:
            return self
        position = self.position + seconds * fps
        if position < last:
            return replace(self, position=position)
        return PlaybackClock(float(last), playing=goes_on)


def frame_rate(timestamps_s: Float[np.ndarray, " frame"]) -> float:
    """Frames a second, by the median step."""
    steps = np.diff(timestamps_s)
    step = float(np.median(steps)) if len(steps) else 0.0
    return 1 / step if step > 0 else _FALLBACK_FPS


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
        self._wishes: queue.Queue[tuple[str, Any]] = queue.Queue()
        name = page_name(recording.path)
        self._access = Access.at(self.options.host)
        self._server = start_server(self._access, port, label=f"openloger · {name}")
        self.port = int(self._server.get_port())  # another program may have been quicker
        self._server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        self._server.gui.main_panel.dock_right()
        self._controls = Controls(
            self._server.gui,
            edge_max=usual_edge(recording.meta.height),
            has_truth=self.options.truth is not None,
            request=self._request,
        )
        self._navigation = Navigation(self._server)
        self._drawing = Drawing(self._server, self._controls, self._navigation, recording)
        self._tools = Tools(self._server, self._controls, name=name, request=self._request)
        self._clock = PlaybackClock(position=float(max(len(recording) - 1, 0)))
        self._fps, self._ticked_s = 30.0, time.monotonic()
        self._scene: SceneSnapshot | None = None
        self._page: Page | None = None
        self._detail: Snapshot | None = None
        self._shows: tuple[object, ...] | None = None  # what was drawn last
        self._close: Closeness | None = None
        self._reader = BackgroundReader(overview, detail_budget=max(self.options.budget // 3, LEAST_POINTS))

    @property
    def url(self) -> str:
        """To open in a browser; where the network can reach it, with the token that lets in."""
        return self._access.url(self.port)

    @property
    def sent_bytes(self) -> int:
        """Of points, to each browser, so far."""
        return self._drawing.layers.sent_bytes

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
        stop_server(self._server)

    def tick(self) -> None:
        """One turn: take in what is new, fulfil wishes, move the clock, draw what is different."""
        latest = self._reader.latest
        if latest is not None and (self._scene is None or self._scene.snapshot is not latest):
            self._take_in(latest)
        scene = self._scene
        if scene is None or len(scene.cameras) == 0:
            return
        while not self._wishes.empty():
            self._fulfil(*self._wishes.get(), scene)
        self._move_clock(scene)
        page = self._controls.page(self._clock.frame)
        shows = (scene.snapshot.version, page, self._reader.detail)
        if self._navigation.welcome() or shows != self._shows:
            before, self._page, self._detail, self._shows = self._page, page, self._reader.detail, shows
            with self._server.atomic():
                self._drawing.draw(scene, page, before, self._detail)
            if before is None or page.measuring != before.measuring:
                self._tools.set_measuring(page.measuring)
        self._look_closely(scene, page)

    def _request(self, wish: str, asker: Any) -> None:
        self._wishes.put((wish, asker))

    def _take_in(self, snapshot: Snapshot) -> None:
        """The reader has more."""
        recording, last = self._recording, max(snapshot.frame_count - 1, 0)
        was_at_end = self._scene is None or self._clock.frame >= self._scene.last
        self._scene = scene = snapshot_of(recording, snapshot, self._align(snapshot.frame_count))
        self._drawing.forget()
        if (was_at_end and not self._clock.playing) or self._clock.frame > last:
            self._clock = self._clock.at(last)
        self._controls.move_to(self._clock.frame, last=last)
        self._controls.show_notes(
            state=reading(snapshot, recording, problem=self._reader.problem), about=about(recording)
        )
        if len(scene.cameras):
            self._fps = frame_rate(recording.timestamps_s)
            self._server.scene.set_up_direction(tuple(scene.place.up.tolist()))
            self._navigation.set_home(lambda aspect: home(scene.cameras, scene.place, aspect=aspect))
            self._controls.suggest(overhead=not scene.place.roofed)
            self._controls.show_drift(drift_series(recording.windows, recording.timestamps_s))

    def _align(self, count: int) -> Overlay | None:
        if self.options.truth is None or count == 0:
            return None
        try:
            aligned = overlay(self._recording.world_from_cam[:count], self.options.truth(self._recording)[:count])
        except InputError as error:  # as the first few frames of a recording may be; later it goes away or stands here
            self._controls.show_notes(truth=f"No ground truth is shown: {error}.")
            return None
        self._controls.show_notes(truth=alignment(aligned))
        return aligned

    def _move_clock(self, scene: SceneSnapshot) -> None:
        now_s = time.monotonic()
        elapsed_s, self._ticked_s = now_s - self._ticked_s, now_s
        moved = self._controls.moved_to()
        if moved is not None:
            self._clock = self._clock.at(moved)
        fps = self._fps * self._controls.speed
        self._clock = self._clock.advanced(elapsed_s, fps=fps, last=scene.last, goes_on=not self._recording.complete)
        self._controls.move_to(self._clock.frame, last=scene.last)

    def _look_closely(self, scene: SceneSnapshot, page: Page) -> None:
        """Fetch detail where the overview's points are far apart on the screen."""
        gaze = self._navigation.gaze()
        wanted = None if gaze is None else closeness(gaze, scene, page.settings)
        if wanted is None and self._close is None:
            return
        if wanted is not None and self._close is not None and not wanted.differs(self._close):
            return
        self._close = wanted
        self._reader.want_detail(None if wanted is None else wanted.focus, stop=0 if wanted is None else wanted.stop)

    def _fulfil(self, wish: str, asker: Any, scene: SceneSnapshot) -> None:
        second = max(round(self._fps), 1)
        steps = {
            "back": -1,
            "on": 1,
            "second back": -second,
            "second on": second,
            "first": -scene.last,
            "last": scene.last,
        }
        settings = self._controls.page(self._clock.frame).settings
        if wish == "play":
            self._clock = self._clock.toggled(last=scene.last)
        elif wish in steps:
            self._clock = self._clock.stepped(steps[wish], last=scene.last)
        elif wish == "home":
            self._navigation.go_home(asker)
        elif wish == "click":
            self._tools.click(asker, scene, self._detail, settings)
        elif wish in ("snapshot", "points", "share"):
            self._tools.save(wish, asker, scene, settings)
        else:
            self._controls.cycle(wish)
