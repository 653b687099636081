"""Cameras as they are shown: path, frusta, and places to look from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openloger.shapes import Float32, Float64, Int, UInt8
from openloger.viewing.scene.display import DISPLAY_DEPTH, SceneLayout, Settings, ramp, spread

PATH_VERTICES = 3_000
FRUSTA = 120
FRUSTUM_DEPTH = 0.08  # over the scene's median depth
ORBIT_FOV = float(np.deg2rad(55))  # vertical
_FLAT = 0.8  # of the way home looks, how much is level
_MARGIN = 0.85  # of the window
_MOST = 96.0  # percent of the points on a side
_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])
_NO_PAIRS = np.zeros((0, 2), np.int64)


@dataclass(frozen=True, eq=False)
class Cameras:
    """Every camera of the recording, and how sure the network was of each."""

    world_from_cam: Float64[np.ndarray, "frame 4 4"]
    intrinsics: Float64[np.ndarray, "frame 3 3"]
    confidence: Float32[np.ndarray, " frame"]  # as `Snapshot.frame_confidence`
    size: tuple[int, int]  # height and width, pixels

    def __len__(self) -> int:
        return len(self.confidence)

    def fov(self, frame: int) -> float:
        """The vertical angle of view, radians."""
        return float(2 * np.arctan(self.size[0] / 2 / self.intrinsics[frame, 1, 1]))


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """Where to look from, and at what; display units."""

    position: Float64[np.ndarray, " 3"]
    look_at: Float64[np.ndarray, " 3"]

    @property
    def distance(self) -> float:
        return float(np.linalg.norm(self.look_at - self.position))


@dataclass(frozen=True, eq=False)
class Lines:
    """Segments, coloured at their ends."""

    ends: Float32[np.ndarray, "segment 2 3"]
    rgb: UInt8[np.ndarray, "segment 2 3"]


def path_lines(cameras: Cameras, settings: Settings, place: SceneLayout) -> Lines:
    """The camera's path up to now (or all of it), thinned evenly."""
    stop = len(cameras) if settings.extent == "everything" else settings.frame + 1
    step = 1 + len(cameras) // PATH_VERTICES
    frames = np.unique(np.append(np.arange(0, stop, step), max(stop - 1, 0)))[: len(cameras)]
    centres = cameras.world_from_cam[frames, :3, 3] * place.unit
    rgb = path_colours(cameras, settings)[frames]
    pairs = np.stack([np.arange(len(frames) - 1), np.arange(1, len(frames))], -1) if len(frames) > 1 else _NO_PAIRS
    return Lines(centres[pairs].astype(np.float32), rgb[pairs])


def frusta_lines(cameras: Cameras, settings: Settings, place: SceneLayout) -> Lines:
    """An even choice of the cameras up to now (or of all), as pyramids."""
    stop = len(cameras) if settings.extent == "everything" else settings.frame + 1
    step = 1
    while step * FRUSTA < len(cameras):
        step *= 2
    frames = np.arange(0, min(stop, len(cameras)), step)
    corners = frustum_corners(cameras, frames, depth=FRUSTUM_DEPTH * place.scale.depth) * place.unit
    rgb = np.broadcast_to(path_colours(cameras, settings)[frames, None, None], (len(frames), len(_EDGES), 2, 3))
    return Lines(corners[:, _EDGES].reshape(-1, 2, 3).astype(np.float32), rgb.reshape(-1, 2, 3))


def path_colours(cameras: Cameras, settings: Settings) -> UInt8[np.ndarray, "frame 3"]:
    """By time, or by each frame's mean confidence, from the least to the greatest; between frames read, by both."""
    count = len(cameras)
    if settings.path_colouring == "time":
        return ramp(np.arange(count) / max(count - 1, 1))
    known = np.flatnonzero(np.isfinite(cameras.confidence))
    if len(known) == 0:
        return ramp(np.full(count, np.nan))
    values = np.interp(np.arange(count), known, cameras.confidence[known])
    return ramp(spread(values, float(values.min()), float(values.max())))


def frustum_corners(
    cameras: Cameras, frames: Int[np.ndarray, " frame"], *, depth: float
) -> Float64[np.ndarray, "frame 5 3"]:
    """World points: each camera's centre, then its picture's corners (0, 0), (w, 0), (w, h), (0, h) at `depth`."""
    height, width = cameras.size
    pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64)
    rays = pixels @ np.linalg.inv(cameras.intrinsics[frames]).swapaxes(1, 2)
    corners_cam = np.concatenate([np.zeros((len(frames), 1, 3)), depth * rays], 1)
    world_from_cam = cameras.world_from_cam[frames]
    return corners_cam @ world_from_cam[:, :3, :3].swapaxes(1, 2) + world_from_cam[:, None, :3, 3]


def home(cameras: Cameras, place: SceneLayout, *, aspect: float = 1.2) -> Viewpoint:
    """From behind and above, looking the way the cameras look on the whole, from as near as the path and nearly all
    points can be seen from in a window of that width over height.
    """
    centres = cameras.world_from_cam[:, :3, 3]
    if len(place.extent) + len(centres) == 0:
        return Viewpoint(np.array([0.0, 0.0, -DISPLAY_DEPTH]), np.zeros(3))
    ahead = cameras.world_from_cam[:, :3, 2].mean(0)
    ahead = ahead - (ahead @ place.up) * place.up
    if np.linalg.norm(ahead) < 0.1:
        ahead = np.cross(place.up, [1.0, 0.0, 0.0] if abs(place.up[0]) < 0.9 else [0.0, 0.0, 1.0])
    ahead = _FLAT * ahead / np.linalg.norm(ahead) - np.sqrt(1 - _FLAT**2) * place.up
    right = np.cross(ahead, place.up) / _FLAT
    axes = np.stack([right, np.cross(ahead, right), ahead])
    return looking_along(axes, place.extent, centres, place, radii=place.radii, aspect=aspect)


def looking_along(
    axes: Float64[np.ndarray, "3 3"],
    points: Float64[np.ndarray, "point 3"],
    centres: Float64[np.ndarray, "frame 3"],
    place: SceneLayout,
    *,
    radii: Float64[np.ndarray, " point"],
    aspect: float,
) -> Viewpoint:
    """Along the last of three `axes` (rows in the world: x right, y down, z ahead), from as near as the path and nearly
    all points can be seen from in a window of that width over height; at the points' median distance.
    """
    slope = _MARGIN * np.tan(ORBIT_FOV / 2)
    seen, path = points @ axes.T, centres @ axes.T
    position = nearest_view(seen, path, slopes=(aspect * slope, slope), radii=radii)
    distance = max(float(np.median((seen if len(seen) else path)[:, 2])) - position[2], 0.1 * place.scale.depth)
    position = axes.T @ position
    return Viewpoint(position * place.unit, (position + distance * axes[2]) * place.unit)


def nearest_view(
    points: Float64[np.ndarray, "point 3"],
    path: Float64[np.ndarray, "frame 3"],
    *,
    slopes: tuple[float, float],
    radii: Float64[np.ndarray, " point"],
) -> Float64[np.ndarray, " 3"]:
    """The nearest place from which, looking along z, all of the path and nearly all points are within a pyramid of
    these slopes along x and y: c for which |x - c_x| + radius <= slope (z - c_z), where the worst points on both sides
    decide.
    """
    middles, nearest = [], np.inf
    for axis, slope in enumerate(slopes):
        beyond = []
        for side in (1.0, -1.0):
            of_points, of_path = (side * some[:, axis] - slope * some[:, 2] for some in (points, path))
            most = float(np.percentile(of_points + radii, _MOST)) if len(points) else -np.inf
            beyond.append(max(most, float(of_path.max(initial=-np.inf))))
        middles.append((beyond[0] - beyond[1]) / 2)
        nearest = min(nearest, -(beyond[0] + beyond[1]) / (2 * slope))
    return np.array([*middles, nearest])


def behind(cameras: Cameras, frame: int, place: SceneLayout) -> Viewpoint:
    """Over the camera's shoulder: from behind and a little above, at what it looks at."""
    centre, ahead = cameras.world_from_cam[frame, :3, 3], cameras.world_from_cam[frame, :3, 2]
    depth = place.scale.depth
    return Viewpoint(
        (centre - 0.7 * depth * ahead + 0.35 * depth * place.up) * place.unit, (centre + depth * ahead) * place.unit
    )


def through(cameras: Cameras, frame: int, place: SceneLayout) -> Viewpoint:
    """The camera's own view; its vertical angle is in `Cameras.fov`."""
    centre, ahead = cameras.world_from_cam[frame, :3, 3], cameras.world_from_cam[frame, :3, 2]
    return Viewpoint(centre * place.unit, (centre + place.scale.depth * ahead) * place.unit)
