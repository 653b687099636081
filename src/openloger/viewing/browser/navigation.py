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
    """Of one browser window's camera."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._home: Callable[[float], Viewpoint] | None = None
        self._is_new = True
        self._put: tuple[Viewpoint, float] | None = None  # where, for what width over height; None: it went by itself

    def set_home(self, home: Callable[[float], Viewpoint]) -> None:
        """Where it begins, by the window's width over height; a camera that stands where it was put moves along."""
        self._home = home
        if _stands(self._client, self._put):
            self.go_home()

    def welcome(self) -> bool:
        """Put a new window's camera where it shows the whole scene, and again where the window has another shape now
        but its camera has not moved; whether that was so.
        """
        reshaped = self._put is not None and self._client.camera.aspect != self._put[1]
        if self._is_new or (reshaped and _stands(self._client, self._put)):
            self.go_home()
            return True
        return False

    def go_home(self) -> None:
        """Show the whole scene."""
        assert self._home is not None  # `set_home` comes first
        camera = self._client.camera
        viewpoint = self._home(camera.aspect)
        with self._client.atomic():
            camera.fov = ORBIT_FOV
            camera.position = viewpoint.position
            camera.look_at = viewpoint.look_at
        self._put, self._is_new = (viewpoint, camera.aspect), False

    def lead(self, viewpoint: Viewpoint, up: Float64[np.ndarray, " 3"], *, fov: float) -> None:
        """Take it along."""
        camera = self._client.camera
        with self._client.atomic():
            camera.fov = fov
            camera.up_direction = up
            camera.position = viewpoint.position
            camera.look_at = viewpoint.look_at
        self._put = None

    def let_go(self, up: Float64[np.ndarray, " 3"]) -> None:
        """From here on it orbits by itself."""
        self._client.camera.fov = ORBIT_FOV
        self._client.camera.up_direction = up

    @property
    def moved_s(self) -> float:
        """When the camera moved last."""
        return float(self._client.camera.update_timestamp)

    def gaze(self) -> Gaze:
        camera = self._client.camera
        per_radian = camera.image_height / (2 * np.tan(camera.fov / 2))
        return Gaze(camera.position, camera.look_at, float(per_radian))


def _stands(client: Any, put: tuple[Viewpoint, float] | None) -> bool:
    """Whether a client is still where it was put."""
    return put is not None and np.allclose(client.camera.position, put[0].position, rtol=1e-3, atol=1e-4)
