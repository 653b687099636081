"""The cameras' path from above and from the side, over the cloud as it is seen from there."""

from __future__ import annotations

import numpy as np

from openloger.pages import Backdrop, Route, fitted, image_uri, map_plot
from openloger.shapes import Float64, UInt8
from openloger.viewing.scene.cameras import frustum_corners, path_colours
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.plans import Plane, ScenePlan
from openloger.viewing.scene.snapshot import SceneSnapshot, closures

_CELLS = 400  # of a backdrop, along its longer side
_CAMERAS = 16  # whose field of view is drawn
_CAMERA_REACH = 0.045  # over the plan's longer side
_OPACITY = 210  # of 255, where points are dense


def plan_svg(plan: ScenePlan, scene: SceneSnapshot, *, labels: tuple[str, str]) -> str:
    """SVG, with `labels` of its two axes."""
    xy, points = plan.plane.xy, plan.points
    edges = fitted(plan.edges(scene.place.scale.depth))
    colours = path_colours(scene.cameras, Settings())
    longest = max(edges[2] - edges[0], edges[3] - edges[1])
    true_path, recorded, loops = scene.true_path, scene.recorded_path, closures(scene)
    return map_plot(
        Route(xy(plan.path), colours),
        edges=edges,
        x_label=labels[0],
        y_label=labels[1],
        backdrop=backdrop(xy(plan.cloud), points.rgb, edges),
        ticks=_fields_of_view(scene, plan.plane, reach=_CAMERA_REACH * longest),
        beside=None if true_path is None else xy(true_path),
        before=None if recorded is None else xy(recorded),
        links=() if loops is None else list(xy(loops)),
    )


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
