"""The viewers' own cameras: placed, led along, and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from openloger.shapes import Float64
from openloger.viewing.scene.cameras import ORBIT_FOV, Viewpoint
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.snapshot import SceneSnapshot

HOME = "home"  # the view that a page begins with
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


@dataclass(frozen=True, eq=False)
class _Standing:
    """Where a camera was put."""

    view: str
    viewpoint: Viewpoint
    aspect: float  # of the window, for which that was


class Navigation:
    """Of one browser window's camera."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.views: Mapping[str, Callable[[float], Viewpoint]] = {}  # see `set_views`
        self._is_new = True
        self._put: _Standing | None = None  # None: it went by itself

    def set_views(self, views: Mapping[str, Callable[[float], Viewpoint]]) -> None:
        """Places to look from, `HOME` among them, by the window's width over height; a camera that stands where it was
        put moves along.
        """
        self.views = views
        if self._put is not None and self._stands(self._put):
            self.go(self._put.view)

    def welcome(self) -> bool:
        """Put a new window's camera where it shows the whole scene, and where it was put again where the window has
        another shape now but its camera has not moved; whether that was so.
        """
        if self._is_new:
            self.go(HOME)
            return True
        put = self._put
        if put is None or self._client.camera.aspect == put.aspect or not self._stands(put):
            return False
        self.go(put.view)
        return True

    def go(self, view: str) -> None:
        """Look from one of the places of `set_views`, which comes first."""
        camera = self._client.camera
        viewpoint = self.views[view](camera.aspect)
        with self._client.atomic():
            camera.fov = ORBIT_FOV
            camera.position = viewpoint.position
            camera.look_at = viewpoint.look_at
        self._put, self._is_new = _Standing(view, viewpoint, camera.aspect), False

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

    def _stands(self, put: _Standing) -> bool:
        """Whether the camera is still where it was put."""
        return np.allclose(self._client.camera.position, put.viewpoint.position, rtol=1e-3, atol=1e-4)
