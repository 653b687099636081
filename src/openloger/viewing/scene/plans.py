"""The scene from above and from the side: what is in view, as the report draws it and as the viewer looks at it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openloger.shapes import Float64
from openloger.viewing.scene.cameras import Viewpoint, looking_along
from openloger.viewing.scene.display import SceneLayout, Settings, overhead, passing
from openloger.viewing.scene.points import Points
from openloger.viewing.scene.snapshot import SceneSnapshot

Edges = tuple[float, float, float, float]  # left, bottom, right, top

_OF_THE_SCENE = (5, 95)  # percentiles of the points along each axis that are in view
_ROOM = 0.12  # around the path, over its length; and at least so many median depths:
_LEAST_ROOM = 0.8
_TILT = 0.01  # radians off a view straight down, in which no direction would be upwards


@dataclass(frozen=True, eq=False)
class Plane:
    """A plan's axes, as rows in the recording's world: to the right and upwards on the paper."""

    axes: Float64[np.ndarray, "2 3"]

    def xy(self, positions: Float64[np.ndarray, "*axes 3"]) -> Float64[np.ndarray, "*axes 2"]:
        return positions @ self.axes.T

    @property
    def towards(self) -> Float64[np.ndarray, " 3"]:
        """Out of the paper: to who looks at it."""
        return np.cross(*self.axes)


@dataclass(frozen=True, eq=False)
class ScenePlan:
    """The path and the points of a scene as they are seen along one direction; the recording's unit."""

    plane: Plane
    path: Float64[np.ndarray, "frame 3"]
    points: Points

    @property
    def cloud(self) -> Float64[np.ndarray, "point 3"]:
        return self.points.position.astype(np.float64)

    def edges(self, depth: float) -> Edges:
        """Of what is in view, where the scene's median depth is `depth`."""
        return view_edges(self.plane.xy(self.path), self.plane.xy(self.cloud), depth)

    def viewpoint(self, place: SceneLayout, *, aspect: float) -> Viewpoint:
        """From where a window of that width over height shows the path and what of the scene is within the edges."""
        left, bottom, right, top = self.edges(place.scale.depth)
        cloud, (x, y) = self.cloud, self.plane.xy(self.cloud).T
        inside = cloud[(x >= left) & (x <= right) & (y >= bottom) & (y <= top)]
        axes = np.stack([self.plane.axes[0], -self.plane.axes[1], -self.plane.towards])
        seen = looking_along(axes, inside, self.path, place, radii=np.zeros(len(inside)), aspect=aspect)
        if self.plane.towards @ place.up < np.cos(_TILT):
            return seen
        return replace(seen, position=seen.position + _TILT * seen.distance * axes[1])


def plan_from_above(scene: SceneSnapshot) -> ScenePlan:
    """What is overhead, where that is most of the scene, is left out."""
    above, _ = planes(_centres(scene), scene.place.up)
    return ScenePlan(above, _centres(scene), _trusted(scene, overhead_too=not scene.place.roofed))


def plan_from_the_side(scene: SceneSnapshot) -> ScenePlan:
    """Up is up."""
    _, side = planes(_centres(scene), scene.place.up)
    return ScenePlan(side, _centres(scene), _trusted(scene, overhead_too=True))


def planes(centres: Float64[np.ndarray, "frame 3"], up: Float64[np.ndarray, " 3"]) -> tuple[Plane, Plane]:
    """From above, and from the side: the path's longest level way goes to the right in both, begin to end."""
    offsets = centres - centres.mean(0)
    level = offsets - np.outer(offsets @ up, up)
    right = np.linalg.svd(level, full_matrices=False)[2][0]
    if np.linalg.norm(level) < 1e-9 * max(np.linalg.norm(centres), 1e-9):
        right = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    right = right - (right @ up) * up
    right = right / np.linalg.norm(right)
    if right @ (centres[-1] - centres[0]) < 0:
        right = -right
    return Plane(np.stack([right, np.cross(up, right)])), Plane(np.stack([right, up]))


def view_edges(path: np.ndarray, cloud: np.ndarray, depth: float) -> Edges:
    """Around all of the path, and the scene without the points that are furthest out."""
    low, high = path.min(0), path.max(0)
    room = max(_ROOM * float((high - low).max()), _LEAST_ROOM * depth)
    low, high = low - room, high + room
    if len(cloud):
        ends = np.percentile(cloud, _OF_THE_SCENE, axis=0)
        low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
    left, bottom, right, top = (*low.tolist(), *high.tolist())
    return left, bottom, right, top


def _centres(scene: SceneSnapshot) -> np.ndarray:
    return scene.cameras.world_from_cam[:, :3, 3]


def _trusted(scene: SceneSnapshot, *, overhead_too: bool) -> Points:
    settings, place = Settings(edge_max=scene.place.scale.edge_max), scene.place
    points = scene.snapshot.points
    points = points[passing(points, settings, place.scale)]
    return points if overhead_too else points[~overhead(points, place.up, place.eyes, place.headroom)]
