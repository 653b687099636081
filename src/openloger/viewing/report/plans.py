"""The cameras' path from above and from the side, over the cloud as it is seen from there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openloger.pages import Backdrop, Route, fitted, image_uri, map_plot
from openloger.shapes import Float64, UInt8
from openloger.viewing.scene.cameras import frustum_corners, path_colours
from openloger.viewing.scene.display import Settings, overhead, passing
from openloger.viewing.scene.points import Points
from openloger.viewing.scene.snapshot import SceneSnapshot, closures

_CELLS = 400  # of a backdrop, along its longer side
_CAMERAS = 16  # whose field of view is drawn
_CAMERA_REACH = 0.045  # over the plan's longer side
_OF_THE_SCENE = (5, 95)  # percentiles of the points along each axis that are in view
_ROOM = 0.12  # around the path, over its length; and at least so many median depths:
_LEAST_ROOM = 0.8
_OPACITY = 210  # of 255, where points are dense


@dataclass(frozen=True, eq=False)
class Plane:
    """A plan's axes, as rows in the recording's world: to the right and upwards on the paper."""

    axes: Float64[np.ndarray, "2 3"]

    def xy(self, positions: Float64[np.ndarray, "*axes 3"]) -> Float64[np.ndarray, "*axes 2"]:
        return positions @ self.axes.T


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


def plan_from_above(scene: SceneSnapshot, *, unit: str) -> str:
    """SVG. What is overhead, where that is most of the scene, is left out."""
    above, _ = planes(_centres(scene), scene.place.up)
    return _plan(scene, above, _trusted(scene, overhead_too=not scene.place.roofed), labels=(unit, unit))


def plan_from_the_side(scene: SceneSnapshot, *, unit: str) -> str:
    """SVG; up is up."""
    _, side = planes(_centres(scene), scene.place.up)
    return _plan(scene, side, _trusted(scene, overhead_too=True), labels=(unit, f"height, {unit}"))


def _centres(scene: SceneSnapshot) -> np.ndarray:
    return scene.cameras.world_from_cam[:, :3, 3]


def _trusted(scene: SceneSnapshot, *, overhead_too: bool) -> Points:
    settings, place = Settings(edge_max=scene.place.scale.edge_max), scene.place
    points = scene.snapshot.points
    points = points[passing(points, settings, place.scale)]
    return points if overhead_too else points[~overhead(points, place.up, place.eyes, place.headroom)]


def _plan(scene: SceneSnapshot, plane: Plane, points: Points, *, labels: tuple[str, str]) -> str:
    path, cloud = plane.xy(_centres(scene)), plane.xy(points.position.astype(np.float64))
    edges = fitted(view_edges(path, cloud, scene.place.scale.depth))
    colours = path_colours(scene.cameras, Settings())
    longest = max(edges[2] - edges[0], edges[3] - edges[1])
    true_path, recorded, loops = scene.true_path, scene.recorded_path, closures(scene)
    return map_plot(
        Route(path, colours),
        edges=edges,
        x_label=labels[0],
        y_label=labels[1],
        backdrop=backdrop(cloud, points.rgb, edges),
        ticks=_fields_of_view(scene, plane, reach=_CAMERA_REACH * longest),
        beside=None if true_path is None else plane.xy(true_path),
        before=None if recorded is None else plane.xy(recorded),
        links=() if loops is None else list(plane.xy(loops)),
    )


def view_edges(path: np.ndarray, cloud: np.ndarray, depth: float) -> tuple[float, float, float, float]:
    """Around all of the path, and the scene without the points that are furthest out."""
    low, high = path.min(0), path.max(0)
    room = max(_ROOM * float((high - low).max()), _LEAST_ROOM * depth)
    low, high = low - room, high + room
    if len(cloud):
        ends = np.percentile(cloud, _OF_THE_SCENE, axis=0)
        low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
    left, bottom, right, top = (*low.tolist(), *high.tolist())
    return left, bottom, right, top


def backdrop(
    xy: Float64[np.ndarray, "point 2"],
    rgb: UInt8[np.ndarray, "point 3"],
    edges: tuple[float, float, float, float],
) -> Backdrop:
    """The points' mean colour in each small cell, the denser the more opaque; cells between points are filled in."""
    left, bottom, right, top = edges
    cell = max(right - left, top - bottom) / _CELLS
    columns, rows = max(1, round((right - left) / cell)), max(1, round((top - bottom) / cell))
    column = np.floor((xy[:, 0] - left) / cell).astype(np.int64)
    row = np.floor((top - xy[:, 1]) / cell).astype(np.int64)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    at = row[inside] * columns + column[inside]
    weights = [None, *rgb[inside].astype(np.float64).T]
    sums = [np.bincount(at, weight, minlength=rows * columns).reshape(rows, columns) for weight in weights]
    count, *channels = (_blurred(one.astype(np.float64)) for one in sums)
    colour = np.stack([channel / np.maximum(count, 1e-9) for channel in channels], -1)
    usual = np.median(count[count > 0]) if (count > 0).any() else 1.0
    alpha = _OPACITY * (1 - np.exp(-1.6 * count / usual))
    pixels = np.concatenate([colour, alpha[..., None]], -1).round().clip(0, 255).astype(np.uint8)
    return Backdrop(image_uri(pixels, quality=70), edges)


def _blurred(values: np.ndarray) -> np.ndarray:
    """By (1, 2, 3, 2, 1) / 9 along both axes."""
    for axis in (0, 1):
        padding = [(2, 2) if a == axis else (0, 0) for a in (0, 1)]
        wide = np.pad(values, padding)
        length = values.shape[axis]
        parts = [np.take(wide, range(start, start + length), axis) for start in range(5)]
        values = np.tensordot(np.array([1, 2, 3, 2, 1]) / 9, np.stack(parts), 1)
    return values


def _fields_of_view(scene: SceneSnapshot, plane: Plane, *, reach: float) -> list[np.ndarray]:
    """Of an even choice of cameras: from the picture's left to the camera and back to its right."""
    frames = np.unique(np.linspace(0, scene.last, min(_CAMERAS, scene.last + 1)).round().astype(int))
    centre, *corners = np.moveaxis(frustum_corners(scene.cameras, frames, depth=reach), 1, 0)
    left, right = (corners[0] + corners[3]) / 2, (corners[1] + corners[2]) / 2
    return [plane.xy(np.stack(ends)) for ends in zip(left, centre, right, strict=True)]
