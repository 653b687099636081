"""The cloud on a turntable, painted without a browser: each point a small square, near ones over far ones.

A surface is shown to those who stand on the side from which the cameras saw it. So a room's walls open as they turn
towards the viewer, and neither a ceiling nor the sky hides what is under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from openloger.shapes import Bool, Float, Float64, UInt8
from openloger.viewing.scene.cameras import Cameras, Lines, Viewpoint, frusta_lines, nearest_view, path_lines
from openloger.viewing.scene.display import DisplayCloud, Settings, passing, sized_clouds
from openloger.viewing.scene.snapshot import SceneSnapshot

STAGE = (15, 19, 23)  # the pages' style sheet has the same
FOV = float(np.deg2rad(36))  # vertical
ELEVATION = float(np.deg2rad(33))
SWING = float(np.deg2rad(50))  # to either side
_ONE_WAY = 0.6  # disagreement of headings, 0..1, up to which the cameras look one way on the whole
_MARGIN = 0.94  # of the picture
_FACING = 0.08  # cosine between where a surface is seen from and where it was seen from


def turntable(
    scene: SceneSnapshot, *, turns: int, size: tuple[int, int]
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """So many pictures of (height, width), the first from behind the cameras; the last leads to the first."""
    place, cameras, last = scene.place, scene.cameras, scene.last
    settings = Settings(frame=last, extent="everything", edge_max=place.scale.edge_max, overhead=not place.roofed)
    points = scene.snapshot.points
    points = points[passing(points, settings, place.scale)]
    seen_from = cameras.world_from_cam[np.minimum(points.frame, last), :3, 3]
    position = points.position.astype(np.float64)
    lines = [path_lines(cameras, settings, place), frusta_lines(cameras, settings, place)]
    painted: dict[tuple[float, ...], np.ndarray] = {}  # to and fro shows each picture twice
    for direction in directions(cameras, place.up, turns=turns):
        seen = tuple(direction.round(6).tolist())
        if seen in painted:
            yield painted[seen]
            continue
        viewpoint = _viewpoint(scene, direction, aspect=size[1] / size[0])
        facing = points[faces(position, seen_from, viewpoint.position / place.unit)]
        clouds = sized_clouds(facing, settings, place, edge=scene.snapshot.edge, frame_count=last + 1)
        nearer = [_nearer(one, viewpoint) for one in lines]
        painted[seen] = paint(clouds, viewpoint, place.up, size=size, fov=FOV, background=STAGE, lines=nearer)
        yield painted[seen]


def faces(
    position: Float64[np.ndarray, "point 3"],
    seen_from: Float64[np.ndarray, "point 3"],
    viewer: Float64[np.ndarray, " 3"],
) -> Bool[np.ndarray, " point"]:
    """Which points show the viewer the side that the camera saw; all lengths in one unit."""
    to_camera, to_viewer = seen_from - position, viewer - position
    lengths = np.linalg.norm(to_camera, axis=1) * np.linalg.norm(to_viewer, axis=1)
    return (to_camera * to_viewer).sum(1) >= _FACING * lengths


def _nearer(lines: Lines, viewpoint: Viewpoint) -> Lines:
    """The same in the picture, but in front of the points about it."""
    return replace(lines, ends=(0.75 * lines.ends + 0.25 * viewpoint.position).astype(np.float32))


def directions(cameras: Cameras, up: Float64[np.ndarray, " 3"], *, turns: int) -> Float64[np.ndarray, "turn 3"]:
    """Where to look, picture by picture, so that the last leads to the first: all around where the cameras looked
    around, too; to and fro about the way they looked where that is one way on the whole.
    """
    ahead, spread = _level_heading(cameras, up)
    share = np.arange(turns) / turns
    angle = 2 * np.pi * share if spread > _ONE_WAY else SWING * np.sin(2 * np.pi * share)
    right = np.cross(ahead, up)
    level = np.cos(angle)[:, None] * ahead + np.sin(angle)[:, None] * right
    return np.cos(ELEVATION) * level - np.sin(ELEVATION) * up


def _level_heading(cameras: Cameras, up: np.ndarray) -> tuple[np.ndarray, float]:
    """The way the cameras look on the whole, level, and how far they are from agreeing: 0..1."""
    ahead = cameras.world_from_cam[:, :3, 2]
    level = ahead - np.outer(ahead @ up, up)
    lengths = np.linalg.norm(level, axis=1)
    mean = (level / np.maximum(lengths, 1e-9)[:, None]).mean(0)
    agreement = float(np.linalg.norm(mean))
    if agreement < 1e-3 or lengths.max() < 1e-3:  # they look all around, or straight up or down
        mean = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    return mean / np.linalg.norm(mean), 1 - agreement


def _viewpoint(scene: SceneSnapshot, direction: np.ndarray, *, aspect: float) -> Viewpoint:
    """From as near as nearly all can be seen from."""
    place, path = scene.place, scene.cameras.world_from_cam[:, :3, 3]
    right = np.cross(direction, place.up)
    right = right / np.linalg.norm(right)
    axes = np.stack([right, np.cross(direction, right), direction])
    slope = _MARGIN * np.tan(FOV / 2)
    slopes = (aspect * slope, slope)
    position = axes.T @ nearest_view(place.extent @ axes.T, path @ axes.T, slopes=slopes, radii=place.radii)
    return Viewpoint(position * place.unit, (position + place.scale.depth * direction) * place.unit)


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
