"""The cloud on a turntable, painted without a browser.

A surface is shown to those who stand on the side from which the cameras saw it. So a room's walls open as they turn
towards the viewer, and neither a ceiling nor the sky hides what is under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from openloger.shapes import Bool, Float64, UInt8
from openloger.viewing.report.painter import paint
from openloger.viewing.scene.cameras import Cameras, Lines, Viewpoint, frusta_lines, nearest_view, path_lines
from openloger.viewing.scene.display import Settings, passing, sized_clouds
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
    position = axes.T @ nearest_view(place.extent @ axes.T, path @ axes.T, slopes=(aspect * slope, slope))
    return Viewpoint(position * place.unit, (position + place.scale.depth * direction) * place.unit)
