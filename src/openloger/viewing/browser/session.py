"""One browser window: its settings and clock, its camera, and the nodes that are drawn for it alone.

So one person's sliders change nobody else's view, and a page that is reloaded begins anew.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from openloger.recording import Recording
from openloger.shapes import Float, Float64
from openloger.viewing.browser.controls import Controls, Page
from openloger.viewing.browser.drawing import Drawing
from openloger.viewing.browser.mesher import Mesher
from openloger.viewing.browser.navigation import HOME, Closeness, Navigation, closeness
from openloger.viewing.browser.tools import Tools
from openloger.viewing.scene.cameras import Viewpoint, home
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.mesh import MeshKey, SceneMesh
from openloger.viewing.scene.overview import Snapshot, usual_edge
from openloger.viewing.scene.plans import plan_from_above, plan_from_the_side
from openloger.viewing.scene.snapshot import SceneSnapshot

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


@dataclass(frozen=True, eq=False)
class SceneUpdate:
    """The content of every window: the recording as it is read at a moment."""

    scene: SceneSnapshot
    fps: float
    notes: dict[str, str]  # by place, as `Controls.show_notes`
    drift: dict[str, Float64[np.ndarray, " window"]]


class Session:
    """Of one client of viser's."""

    def __init__(self, client: Any, recording: Recording, mesher: Mesher, *, has_truth: bool) -> None:
        self._client, self._recording, self._mesher = client, recording, mesher
        self._wishes: queue.Queue[tuple[str, Any]] = queue.Queue()
        edge_max = usual_edge(recording.meta.height)
        self._controls = Controls(
            client.gui,
            edge_max=edge_max,
            has_truth=has_truth,
            has_masks=recording.meta.masks is not None,
            request=self._request,
        )
        self._navigation = Navigation(client)
        self._drawing = Drawing(client.scene, self._controls, self._navigation, recording)
        self._tools = Tools(client, self._controls, recording, request=self._request)
        self._clock, self._ticked_s = PlaybackClock(), time.monotonic()
        self._shown: SceneUpdate | None = None
        self._page: Page | None = None
        self._detail: Snapshot | None = None
        self._draws: tuple[object, ...] | None = None  # what was drawn last

    @property
    def sent_bytes(self) -> int:
        """Of points, so far."""
        return self._drawing.layers.sent_bytes

    @property
    def moved_s(self) -> float:
        """When its camera moved last."""
        return self._navigation.moved_s

    def may_be_closed(self) -> AbstractContextManager[None]:
        """Inside, the window may be closed at any moment: viser does not warn of what it is sent afterwards."""
        return self._client._websock_connection.get_message_buffer().sanctioned_dead_writes()

    def take_in(self, shown: SceneUpdate) -> None:
        """More of the recording is known."""
        scene, last = shown.scene, shown.scene.last
        was_at_end = self._shown is None or self._clock.frame >= self._shown.scene.last
        self._shown = shown
        self._drawing.discard()
        if (was_at_end and not self._clock.playing) or self._clock.frame > last:
            self._clock = self._clock.at(last)
        self._controls.move_to(self._clock.frame, last=last)
        self._controls.show_notes(**shown.notes)
        if len(scene.cameras):
            self._navigation.set_views(_views(scene))
            self._controls.suggest(overhead=not scene.place.roofed)
            self._controls.offer_correction(scene.recorded_path is not None or bool(scene.loops))
            self._controls.show_drift(shown.drift)

    def tick(self, detail: Snapshot | None) -> None:
        """One turn: fulfil wishes, move the clock, draw what is different."""
        if self._shown is None or len(self._shown.scene.cameras) == 0:
            return
        while not self._wishes.empty():
            self._fulfil(*self._wishes.get(), self._shown)
        self._move_clock(self._shown)
        scene, page = self._shown.scene, self._controls.page(self._clock.frame)
        mesh = self._mesh(page.settings)
        draws = (scene.snapshot.version, page, detail, mesh)
        if not self._navigation.welcome() and draws == self._draws:
            return
        before, self._page, self._detail, self._draws = self._page, page, detail, draws
        with self._client.atomic():
            self._drawing.draw(scene, page, before, detail, mesh)
        if before is None or page.measuring != before.measuring:
            self._tools.set_measuring(page.measuring)

    def _mesh(self, settings: Settings) -> SceneMesh | None:
        """The mesh that the settings request, once it is made."""
        key = MeshKey.of(settings)
        mesh = self._mesher.mesh(key) if settings.style == "mesh" else None
        self._controls.show_mesh_note(self._mesher.note(key) if settings.style == "mesh" else "")
        return mesh

    def closeness(self) -> Closeness | None:
        """Where it looks so closely that the overview's points are far apart on the screen."""
        if self._shown is None or self._page is None:
            return None
        return closeness(self._navigation.gaze(), self._shown.scene, self._page.settings)

    def _request(self, wish: str, event: Any) -> None:
        self._wishes.put((wish, event))

    def _move_clock(self, shown: SceneUpdate) -> None:
        last, now_s = shown.scene.last, time.monotonic()
        elapsed_s, self._ticked_s = now_s - self._ticked_s, now_s
        moved = self._controls.moved_to()
        if moved is not None:
            self._clock = self._clock.at(moved)
        fps = shown.fps * self._controls.speed
        self._clock = self._clock.advanced(elapsed_s, fps=fps, last=last, goes_on=not self._recording.complete)
        self._controls.move_to(self._clock.frame, last=last)

    def _fulfil(self, wish: str, event: Any, shown: SceneUpdate) -> None:
        scene, second = shown.scene, max(round(shown.fps), 1)
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
        elif wish in self._navigation.views:
            self._navigation.go(wish)
        elif wish == "click":
            self._tools.click(event, scene, self._detail, settings)
        elif wish in ("snapshot", "shown", "share"):
            self._tools.save(wish, scene, settings, self._mesh(settings))
        else:
            self._controls.cycle(wish)


def _views(scene: SceneSnapshot) -> dict[str, Callable[[float], Viewpoint]]:
    """Places to look from, by the names of their buttons' wishes, for a window of some width over height."""
    place = scene.place
    return {
        HOME: lambda aspect: home(scene.cameras, place, aspect=aspect),
        "above": lambda aspect: plan_from_above(scene).viewpoint(place, aspect=aspect),
        "side": lambda aspect: plan_from_the_side(scene).viewpoint(place, aspect=aspect),
    }
