"""Pictures of point clouds without a browser or a graphics card: each point a small square, near ones over far ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from openloger.shapes import Float, UInt8
from openloger.viewing.scene.cameras import Lines, Viewpoint
from openloger.viewing.scene.display import DisplayCloud

_NEAR = 0.02  # display units; what is nearer is not drawn
_LARGEST = 9  # pixels
_LINE_STEP = 0.7  # pixels between the dots of a line


def paint(
    clouds: Iterable[DisplayCloud],
    viewpoint: Viewpoint,
    up: Float[np.ndarray, " 3"],
    *,
    size: tuple[int, int],
    fov: float,
    background: tuple[int, int, int],
    lines: Iterable[Lines] = (),
) -> UInt8[np.ndarray, "height width 3"]:
    """The view from a viewpoint; `size` is (height, width), `fov` the vertical angle in radians."""
    height, width = size
    focal = height / 2 / np.tan(fov / 2)
    cam_from_display = _look(viewpoint, up)
    parts = [_seen(cloud.position, cloud.rgb, cam_from_display, viewpoint, size=cloud.size) for cloud in clouds]
    parts += [_dotted(one, cam_from_display, viewpoint, focal) for one in lines]
    z = np.concatenate([np.zeros(0), *(part[2] for part in parts)])
    order = np.argsort(-z)
    x, y, edge = (np.concatenate([np.zeros(0), *(part[k] for part in parts)])[order] for k in (0, 1, 3))
    rgb = np.concatenate([np.zeros((0, 3), np.uint8), *(part[4] for part in parts)])[order]
    z = z[order]
    column, row = width / 2 + focal * x / z, height / 2 + focal * y / z
    pixels = np.clip(np.rint(np.where(edge > 0, focal * edge / z, 2)), 1, _LARGEST).astype(np.int64)
    inside = (np.abs(column - width / 2) < width / 2 + _LARGEST) & (np.abs(row - height / 2) < height / 2 + _LARGEST)
    picture = np.empty((height + 2 * _LARGEST, width + 2 * _LARGEST, 3), np.uint8)
    picture[:] = background
    _splat(picture, row[inside], column[inside], pixels[inside], rgb[inside])
    return picture[_LARGEST:-_LARGEST, _LARGEST:-_LARGEST]


def _splat(picture: np.ndarray, row: np.ndarray, column: np.ndarray, pixels: np.ndarray, rgb: np.ndarray) -> None:
    """Squares in the order given; a batch of far ones first, then nearer ones, so that squares of one batch compete
    only with their like.
    """
    for part in np.array_split(np.arange(len(row)), 24):
        for dy in range(_LARGEST):
            for dx in range(_LARGEST):
                some = part[pixels[part] > max(dx, dy)]
                if len(some) == 0:
                    continue
                top = np.floor(row[some] - pixels[some] / 2 + 0.5).astype(np.int64) + dy + _LARGEST
                left = np.floor(column[some] - pixels[some] / 2 + 0.5).astype(np.int64) + dx + _LARGEST
                visible = (top >= 0) & (top < picture.shape[0]) & (left >= 0) & (left < picture.shape[1])
                picture[top[visible], left[visible]] = rgb[some[visible]]


def _look(viewpoint: Viewpoint, up: np.ndarray) -> np.ndarray:
    """Rotation from display axes to the viewpoint's: x right, y down, z ahead."""
    ahead = (viewpoint.look_at - viewpoint.position) / viewpoint.distance
    right = np.cross(ahead, up)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(ahead, right), ahead])


def _seen(
    position: np.ndarray, rgb: np.ndarray, rotation: np.ndarray, viewpoint: Viewpoint, *, size: float
) -> tuple[np.ndarray, ...]:
    """x, y, z, size and colour of what lies ahead."""
    x, y, z = rotation @ (position - viewpoint.position).T
    ahead = z > _NEAR
    return x[ahead], y[ahead], z[ahead], np.full(int(ahead.sum()), size), rgb[ahead]


def _dotted(lines: Lines, rotation: np.ndarray, viewpoint: Viewpoint, focal: float) -> tuple[np.ndarray, ...]:
    """A line as dots; size 0 stands for two pixels at any distance."""
    offset = (lines.ends - viewpoint.position) @ rotation.T
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = focal * offset[..., :2] / offset[..., 2:]
    length = np.linalg.norm(flat[:, 1] - flat[:, 0], axis=-1)
    counts = np.where((offset[..., 2] > _NEAR).all(1), np.clip(length / _LINE_STEP, 1, 4000), 0).astype(np.int64)
    which = np.repeat(np.arange(len(counts)), counts)
    share = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)) / np.maximum(counts[which], 1)
    dots = lines.ends[which, 0] * (1 - share[:, None]) + lines.ends[which, 1] * share[:, None]
    return _seen(dots, lines.rgb[which, 0], rotation, viewpoint, size=0.0)
