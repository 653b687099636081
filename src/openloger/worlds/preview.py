"""A world at a glance: a sheet of what some of its frames hold, and the camera's path from above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openloger.shapes import Float32, UInt8
from openloger.worlds.world import Sample, World

_FAR = np.array([40, 20, 90], dtype=np.float64)  # colours of depth, from far to near
_NEAR = np.array([255, 230, 120], dtype=np.float64)
_STEPS = 400  # points of the path that are drawn


def contact_sheet(world: World, indices: Sequence[int]) -> UInt8[np.ndarray, "height width 3"]:
    """A row a frame (rgb, depth, normals, what moves), and the path up to the last of them from above, below."""
    rows = [_row(world[index]) for index in indices]
    sheet = np.concatenate(rows)
    path = path_from_above(world, indices[-1] + 1, size=(world.size[0] * 2, sheet.shape[1]))
    return np.concatenate([sheet, path])


def _row(sample: Sample) -> np.ndarray:
    moving = np.repeat((sample.moving * 255).astype(np.uint8)[..., None], 3, axis=2)
    normal = np.where(sample.valid[..., None], 127.5 - 127.5 * sample.normal, 0).astype(np.uint8)
    return np.concatenate([sample.rgb, colour_depth(sample.depth), normal, moving], axis=1)


def colour_depth(depth: Float32[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """Near is yellow, far is blue, by the logarithm; black where there is none."""
    known = depth > 0
    if not known.any():
        return np.zeros((*depth.shape, 3), dtype=np.uint8)
    logarithm = np.log(np.where(known, depth, 1.0))
    near, far = np.percentile(logarithm[known], [2, 98])
    share = np.clip((logarithm - near) / max(far - near, 1e-6), 0, 1)[..., None]
    return np.where(known[..., None], _NEAR * (1 - share) + _FAR * share, 0).astype(np.uint8)


def path_from_above(world: World, frames: int, *, size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """Where the camera goes in its first `frames` frames: dark at the start, bright at the end; a grid of 10 m."""
    numbers = np.unique(np.linspace(0, frames - 1, _STEPS).astype(int))
    places = np.array([world.world_from_cam(int(number))[[0, 2], 3] for number in numbers])
    centre = (places.max(0) + places.min(0)) / 2
    extent = max(float((places.max(0) - places.min(0)).max()), 10.0) * 1.1
    pixels_per_metre = min(size) / extent
    picture = np.full((*size, 3), 24, dtype=np.uint8)
    for axis in (0, 1):  # x to the right, z upwards
        half = size[1 - axis] / 2 / pixels_per_metre
        lines = np.arange(np.ceil((centre[axis] - half) / 10), np.floor((centre[axis] + half) / 10) + 1) * 10
        at = ((lines - centre[axis]) * pixels_per_metre * (1, -1)[axis] + size[1 - axis] / 2).astype(int)
        at = at[(at >= 0) & (at < size[1 - axis])]
        if axis == 0:
            picture[:, at] = 60
        else:
            picture[at] = 60
    dots = (places - centre) * pixels_per_metre * (1, -1)
    columns, rows = (dots + np.array([size[1], size[0]]) / 2).astype(int).T
    shades = np.linspace(90, 255, len(numbers)).astype(np.uint8)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y, x = np.clip(rows + dy, 0, size[0] - 1), np.clip(columns + dx, 0, size[1] - 1)
            picture[y, x] = np.stack([shades, shades, np.full_like(shades, 90)], axis=1)
    return picture
