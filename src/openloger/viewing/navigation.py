"""The viewers' own cameras: put somewhere, led along, and asked where they look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from openloger.shapes import Float64
from openloger.viewing.cameras import Viewpoint
from openloger.viewing.known import Known
from openloger.viewing.scene import Settings

DETAIL_PIXELS = 2.0  # on the screen between the overview's points, from which on detail is fetched
ORBIT_FOV = float(np.deg2rad(55))


@dataclass(frozen=True, eq=False)
class Gaze:
    """Where a viewer looks; display units."""

    position: Float64[np.ndarray, " 3"]
    look_at: Float64[np.ndarray, " 3"]
    pixels_per_radian: float

    @property
    def distance(self) -> float:
        return max(float(np.linalg.norm(self.look_at - self.position)), 1e-6)


@dataclass(frozen=True, eq=False)
class Closeness:
    """What detail is wanted of; in the recording's unit."""

    focus: Float64[np.ndarray, " 3"]
    distance: float
    stop: int  # the frame before which

    def differs(self, other: Closeness) -> bool:
        """So much that it is worth fetching."""
        moved = float(np.linalg.norm(self.focus - other.focus))
        return moved > 0.25 * self.distance or not 0.5 < self.distance / other.distance < 2 or self.stop < other.stop


def closeness(gaze: Gaze, known: Known, settings: Settings) -> Closeness | None:
    """None: the overview's points are near enough to one another on the screen, or as near as pixels are."""
    snapshot, unit = known.snapshot, known.place.unit
    apart = snapshot.edge * unit / gaze.distance * gaze.pixels_per_radian
    is_fine = snapshot.edge < 1.5 * snapshot.scale.pixel or apart < DETAIL_PIXELS
    if is_fine or settings.extent == "this frame":
        return None
    stop = len(known.cameras) if settings.extent == "everything" else settings.frame + 1
    return Closeness(gaze.look_at / unit, gaze.distance / unit, stop)


class Navigation:
    """Of all clients of a server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._put: dict[int, Viewpoint] = {}  # clients that stand where they were put

    def set_home(self, viewpoint: Viewpoint) -> None:
        """Where newcomers begin; who has not moved since he was put moves along."""
        self._server.initial_camera.position = viewpoint.position
        self._server.initial_camera.look_at = viewpoint.look_at
        self._server.initial_camera.fov = ORBIT_FOV
        for number, client in self._server.get_clients().items():
            before = self._put.get(number)
            if before is None or np.allclose(client.camera.position, before.position, rtol=1e-3, atol=1e-4):
                self.put(client, viewpoint)

    def put(self, client: Any, viewpoint: Viewpoint) -> None:
        """Let one client look from there."""
        with client.atomic():
            client.camera.fov = ORBIT_FOV
            client.camera.position = viewpoint.position
            client.camera.look_at = viewpoint.look_at
        self._put[client.client_id] = viewpoint

    def lead(self, viewpoint: Viewpoint, up: Float64[np.ndarray, " 3"], *, fov: float) -> None:
        """Take all clients along."""
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.fov = fov
                client.camera.up_direction = up
                client.camera.position = viewpoint.position
                client.camera.look_at = viewpoint.look_at
            self._put.pop(client.client_id, None)

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
