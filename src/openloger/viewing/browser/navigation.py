"""The viewers' own cameras: placed, led along, and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from openloger.shapes import Float64
from openloger.viewing.scene.cameras import ORBIT_FOV, Viewpoint
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.snapshot import SceneSnapshot

_USUAL_ASPECT = 1.2
DETAIL_PIXELS = 2.0  # on the screen between the overview's points, from which on detail is fetched


@dataclass(frozen=True, eq=False)
class Gaze:
    """A viewer's position and target; display units."""

    position: Float64[np.ndarray, " 3"]
    look_at: Float64[np.ndarray, " 3"]
    pixels_per_radian: float

    @property
    def distance(self) -> float:
        return max(float(np.linalg.norm(self.look_at - self.position)), 1e-6)


@dataclass(frozen=True, eq=False)
class Closeness:
    """The region of which detail is wanted, in the recording's unit."""

    focus: Float64[np.ndarray, " 3"]
    distance: float
    stop: int  # the frame before which

    def differs(self, other: Closeness) -> bool:
        """So much that it is worth fetching."""
        moved = float(np.linalg.norm(self.focus - other.focus))
        return moved > 0.25 * self.distance or not 0.5 < self.distance / other.distance < 2 or self.stop < other.stop


def closeness(gaze: Gaze, scene: SceneSnapshot, settings: Settings) -> Closeness | None:
    """None: the overview's points are near enough to one another on the screen, or as near as pixels are."""
    snapshot, unit = scene.snapshot, scene.place.unit
    apart = snapshot.edge * unit / gaze.distance * gaze.pixels_per_radian
    is_fine = snapshot.edge < 1.5 * snapshot.scale.pixel or apart < DETAIL_PIXELS
    if is_fine or settings.extent == "this frame":
        return None
    stop = len(scene.cameras) if settings.extent == "everything" else settings.frame + 1
    return Closeness(gaze.look_at / unit, gaze.distance / unit, stop)


class Navigation:
    """Of all clients of a server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._home: Callable[[float], Viewpoint] | None = None
        # where clients were put, and for what width over height; None: they went somewhere themselves
        self._put: dict[int, tuple[Viewpoint, float] | None] = {}

    def set_home(self, home: Callable[[float], Viewpoint]) -> None:
        """Where newcomers begin, by their window's width over height; who stands where he was put moves along."""
        self._home = home
        start = home(_USUAL_ASPECT)
        self._server.initial_camera.position = start.position
        self._server.initial_camera.look_at = start.look_at
        self._server.initial_camera.fov = ORBIT_FOV
        for number, client in self._server.get_clients().items():
            if _stands(client, self._put.get(number)):
                self.go_home(client)

    def welcome(self) -> bool:
        """Put newcomers where their windows show the whole scene, and again those whose window has another shape now
        but who have not moved; whether there are any.
        """
        found = False
        for number, client in self._server.get_clients().items():
            put = self._put.get(number)
            if number not in self._put or (put and client.camera.aspect != put[1] and _stands(client, put)):
                self.go_home(client)
                found = True
        return found

    def go_home(self, client: Any) -> None:
        """Show one client the whole scene."""
        assert self._home is not None  # who is asked for is known
        viewpoint = self._home(client.camera.aspect)
        with client.atomic():
            client.camera.fov = ORBIT_FOV
            client.camera.position = viewpoint.position
            client.camera.look_at = viewpoint.look_at
        self._put[client.client_id] = viewpoint, client.camera.aspect

    def lead(self, viewpoint: Viewpoint, up: Float64[np.ndarray, " 3"], *, fov: float) -> None:
        """Take all clients along."""
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.fov = fov
                client.camera.up_direction = up
                client.camera.position = viewpoint.position
                client.camera.look_at = viewpoint.look_at
            self._put[client.client_id] = None

    def let_go(self, up: Float64[np.ndarray, " 3"]) -> None:
        """From here on they orbit by themselves."""
        for client in self._server.get_clients().values():
            client.camera.fov = ORBIT_FOV
            client.camera.up_direction = up

    def gaze(self) -> Gaze | None:
        """Of the client that moved last; None: there is none."""
        cameras = [client.camera for client in self._server.get_clients().values()]
        if not cameras:
            return None
        camera = max(cameras, key=lambda camera: camera.update_timestamp)
        per_radian = camera.image_height / (2 * np.tan(camera.fov / 2))
        return Gaze(camera.position, camera.look_at, float(per_radian))


def _stands(client: Any, put: tuple[Viewpoint, float] | None) -> bool:
    """Whether a client is still where it was put."""
    return put is not None and np.allclose(client.camera.position, put[0].position, rtol=1e-3, atol=1e-4)
