"""Display as values: settings and a snapshot of the overview in; points, lines, colours and colour ramps out.

Lengths that leave this module are in display units: the scene's median depth is three of them, which is what the
browser's navigation is made for. The axes stay the recording's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openloger.export.splat import Discs
from openloger.shapes import Bool, Float, Float32, Float64, Int, UInt8
from openloger.viewing.scene.level_of_detail import depth_levels
from openloger.viewing.scene.overview import Scale, Snapshot
from openloger.viewing.scene.points import EDGE_STEP, NORMAL_UNIT, Points

Colouring = Literal["picture", "height", "time", "confidence"]
Extent = Literal["up to now", "everything", "this frame"]
Style = Literal["points", "splats", "mesh"]

DISPLAY_DEPTH = 3.0
UPRIGHT: Float64[np.ndarray, " 3"] = np.array([0.0, -1.0, 0.0])  # up of a recording whose gravity is known
SLABS = 48  # at most: points are sent by stretches of time, which are shown and hidden whole
LEAST_SLAB = 8  # frames
_POINT_PER_EDGE = 1.3  # a point's size over its voxel's edge: slanted surfaces close, too
_HEADROOM = 0.4  # over a camera, of its height over the ground, from which on a point is overhead
_ROOF_CELL = 0.25  # median depths
_ROOF_SHARE = 0.5  # of the cells


@dataclass(frozen=True)
class Settings:
    """The settings of the page."""

    frame: int = 0  # now
    extent: Extent = "up to now"
    style: Style = "points"  # a mesh is of all frames, whatever the extent
    colouring: Colouring = "picture"
    confidence_min: float = 0.1  # 0..1
    edge_max: float | None = 0.03  # as `PointSelection.depth_edge`
    depth_range: tuple[float, float] = (0.0, np.inf)  # over the scene's median depth
    height_range: tuple[float, float] = (0.0, 1.0)  # from the lowest points to the highest; the ends mean no limit
    overhead: bool = True  # show what is over the cameras: ceilings, the sky
    point_size: float = 1.0  # over the size that closes surfaces
    path_colouring: Literal["time", "confidence"] = "time"


@dataclass(frozen=True, eq=False)
class SceneLayout:
    """Scale, up and extent of the displayed world."""

    scale: Scale
    up: Float64[np.ndarray, " 3"]  # a unit vector
    ground: float  # heights along `up`: of the ground, and of the points' lower and upper end; recording's unit
    low: float
    high: float
    eyes: Float64[np.ndarray, " frame"]  # the cameras' heights
    headroom: float  # how far over the first camera that saw it a point is overhead; in the recording's unit
    roofed: bool  # most of the scene has something overhead, and cannot be seen from above with it
    extent: Float64[np.ndarray, "point 3"]  # an even choice of the points that are to be in view
    radii: Float64[np.ndarray, " point"]  # as which these are drawn; in the recording's unit

    @property
    def unit(self) -> float:
        """Display units a unit of the recording."""
        return DISPLAY_DEPTH / self.scale.depth


@dataclass(frozen=True, eq=False)
class DisplayCloud:
    """Points of one size."""

    level: int
    position: Float32[np.ndarray, "point 3"]
    rgb: UInt8[np.ndarray, "point 3"]
    size: float


@dataclass(frozen=True, eq=False)
class DisplaySplats:
    """Gaussian splats."""

    position: Float32[np.ndarray, "splat 3"]
    covariance: Float32[np.ndarray, "splat 3 3"]
    rgb: UInt8[np.ndarray, "splat 3"]
    opacity: Float32[np.ndarray, " splat"]


def place_of(
    snapshot: Snapshot,
    world_from_cam: Float64[np.ndarray, "frame 4 4"],
    *,
    up: Float64[np.ndarray, " 3"] | None = None,
) -> SceneLayout:
    """Up is the mean of the cameras' up where it is not known; the ground is under 98 % of the trusted points."""
    up, depth = mean_up(world_from_cam) if up is None else up, snapshot.scale.depth
    points = trusted(snapshot, most=100_000)
    eyes = world_from_cam[:, :3, 3] @ up
    heights = points.position.astype(np.float64) @ up
    ground, low, high = np.percentile(heights if len(heights) else np.append(eyes, 0.0), [2, 5, 95]).tolist()
    eye = float(np.median(eyes)) if len(eyes) else ground
    headroom = _HEADROOM * max(eye - ground, 0.25 * depth)
    over = overhead(points, up, eyes, headroom)
    roofed = is_roofed(points.position.astype(np.float64), over, up, cell=_ROOF_CELL * depth)
    points = points[~over] if roofed else points
    points = points[:: 1 + len(points) // 20_000]
    extent, radii = (
        points.position.astype(np.float64),
        point_sizes(depth_levels(points.depth, depth), snapshot.edge) / 2,
    )
    return SceneLayout(snapshot.scale, up, ground, low, high, eyes, headroom, roofed, extent, radii)


def point_sizes(levels: Int[np.ndarray, " point"], edge: float) -> Float64[np.ndarray, " point"]:
    """The diameters as which points of these levels are drawn, in the unit of `edge`, their voxels' at level 0."""
    return edge * 2.0**levels * _POINT_PER_EDGE


def trusted(snapshot: Snapshot, *, most: int) -> Points:
    """An even choice of the points that pass the default settings; of all points where hardly any does."""
    points = snapshot.points
    passes = passing(points, Settings(edge_max=snapshot.scale.edge_max), snapshot.scale)
    if np.count_nonzero(passes) > 0.01 * len(points):
        points = points[passes]
    return points[:: 1 + len(points) // most]


def overhead(
    points: Points, up: Float64[np.ndarray, " 3"], eyes: Float64[np.ndarray, " frame"], headroom: float
) -> Bool[np.ndarray, " point"]:
    """Which points are further over the first camera that saw them than `headroom`."""
    if len(eyes) == 0:
        return np.zeros(len(points), np.bool_)
    seen_from = eyes[np.minimum(points.frame, len(eyes) - 1)]
    return points.position.astype(np.float64) @ up - seen_from > headroom


def is_roofed(
    positions: Float64[np.ndarray, "point 3"],
    over: Bool[np.ndarray, " point"],
    up: Float64[np.ndarray, " 3"],
    *,
    cell: float,
) -> bool:
    """Whether most cells of the ground plan that hold a point hold one that is overhead, too."""
    aside = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    plan = np.stack([aside, np.cross(up, aside)], 1)
    cells = np.floor(positions @ plan / (cell * np.linalg.norm(aside))).astype(np.int64)
    below, above = (np.unique(cells[chosen] @ [1 << 32, 1]) for chosen in (~over, over))
    return len(below) > 0 and float(np.isin(below, above).mean()) > _ROOF_SHARE


def mean_up(world_from_cam: Float64[np.ndarray, "frame 4 4"]) -> Float64[np.ndarray, " 3"]:
    """The cameras' mean up; that of the first where they cancel out."""
    ups = -world_from_cam[:, :3, 1]
    mean = ups.mean(0) if len(ups) else np.zeros(3)
    if np.linalg.norm(mean) < 0.2:
        mean = ups[0] if len(ups) else np.array([0.0, -1.0, 0.0])
    return mean / np.linalg.norm(mean)


def passing(points: Points, settings: Settings, scale: Scale) -> Bool[np.ndarray, " point"]:
    """Which points pass confidence, edge and depth range; time is another matter."""
    nearest, furthest = (share * scale.depth for share in settings.depth_range)
    passes = points.confidence >= round(255 * settings.confidence_min)
    passes &= (points.depth >= nearest) & (points.depth <= furthest)
    if settings.edge_max is not None:
        passes &= points.edge <= settings.edge_max / EDGE_STEP + 1e-6
    return passes


def in_heights(points: Points, settings: Settings, place: SceneLayout) -> Bool[np.ndarray, " point"]:
    """Which points lie within the range of heights: without the ceiling, a room can be looked into."""
    low, high = settings.height_range
    passes = np.ones(len(points), np.bool_)
    if not settings.overhead:
        passes &= ~overhead(points, place.up, place.eyes, place.headroom)
    if (low, high) != (0.0, 1.0):
        shares = spread(points.position.astype(np.float64) @ place.up, place.low, place.high)
        passes &= (shares >= (low if low > 0 else -np.inf)) & (shares <= (high if high < 1 else np.inf))
    return passes


def colours(
    points: Points, settings: Settings, place: SceneLayout, *, frame_count: int
) -> UInt8[np.ndarray, "point 3"]:
    """The points' own colours, or a ramp over height, time or confidence."""
    if settings.colouring == "picture":
        return points.rgb
    if settings.colouring == "height":
        values = spread(points.position.astype(np.float64) @ place.up, place.low, place.high)
    elif settings.colouring == "time":
        values = spread(points.frame.astype(np.float64), 0.0, float(max(frame_count - 1, 1)))
    else:
        values = points.confidence / 255.0
    return ramp(values)


def slab_width(frame_count: int) -> int:
    """Frames of a slab: a power of two, so that slabs stay where they are until the video is twice as long."""
    width = LEAST_SLAB
    while width * SLABS < frame_count:
        width *= 2
    return width


def slab_stop(slab: int, settings: Settings, *, width: int) -> int:
    """The frame before which a slab's points are shown: its end, or the current frame's; 0: none are."""
    end = (slab + 1) * width
    if settings.extent == "everything":
        return end
    if settings.extent == "this frame" or settings.frame < slab * width:
        return 0
    return min(end, settings.frame + 1)


def slab_clouds(
    snapshot: Snapshot, settings: Settings, place: SceneLayout, *, start: int, stop: int
) -> Iterator[DisplayCloud]:
    """The points of frames `start` to `stop` that pass, one cloud a level."""
    first, last = np.searchsorted(snapshot.points.frame, [start, stop])
    return sized_clouds(
        snapshot.points[first:last], settings, place, edge=snapshot.edge, frame_count=snapshot.frame_count
    )


def sized_clouds(
    points: Points, settings: Settings, place: SceneLayout, *, edge: float, frame_count: int
) -> Iterator[DisplayCloud]:
    """Those of the points that pass, one cloud a level; `edge` is what a point covers at the reference depth."""
    points = points[passing(points, settings, place.scale) & in_heights(points, settings, place)]
    rgb = colours(points, settings, place, frame_count=frame_count)
    levels = depth_levels(points.depth, place.scale.depth)
    for level in np.unique(levels).tolist():
        chosen = levels == level
        yield DisplayCloud(
            level=level,
            position=points.position[chosen] * np.float32(place.unit),
            rgb=rgb[chosen],
            size=float(point_sizes(np.array([level]), edge)[0] * settings.point_size * place.unit),
        )


def discs(
    points: Points, settings: Settings, place: SceneLayout, *, edge: float, frame_count: int
) -> tuple[Points, Discs]:
    """Those of the points that pass, as flat splats in the recording's unit, as wide as the points are drawn."""
    points = points[passing(points, settings, place.scale) & in_heights(points, settings, place)]
    width = point_sizes(depth_levels(points.depth, place.scale.depth), edge) * settings.point_size
    rgb = colours(points, settings, place, frame_count=frame_count)
    normal = points.normal / NORMAL_UNIT
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.where(length > 0, normal / np.where(length > 0, length, 1), 0)
    return points, Discs(points.position, normal, width, rgb, points.confidence / 255.0)


def splats(
    points: Points, settings: Settings, place: SceneLayout, *, edge: float, frame_count: int
) -> DisplaySplats | None:
    """Those of the points that pass; None: none does."""
    points, flat = discs(points, settings, place, edge=edge, frame_count=frame_count)
    if len(points) == 0:
        return None
    return DisplaySplats(
        position=points.position * np.float32(place.unit),
        covariance=(flat.covariance * place.unit**2).astype(np.float32),
        rgb=flat.rgb,
        opacity=flat.opacity.astype(np.float32),
    )


# Evenly spaced sRGB colours, with straight lines between them.
SPECTRUM = (
    (58, 66, 176),
    (47, 128, 214),
    (38, 184, 186),
    (110, 208, 120),
    (214, 212, 84),
    (246, 160, 60),
    (222, 72, 52),
)
GLOW = ((18, 10, 46), (72, 20, 104), (144, 38, 104), (208, 68, 70), (244, 124, 36), (250, 190, 70), (252, 248, 190))
UNKNOWN = (120, 120, 128)  # for what is not a number
HIDDEN = (200, 40, 60)  # for what a mask hides


def ramp(
    values: Float[np.ndarray, "*axes"], colours: tuple[tuple[int, int, int], ...] = SPECTRUM
) -> UInt8[np.ndarray, "*axes 3"]:
    """The colour of each value; below 0 as 0, above 1 as 1, NaN as `UNKNOWN`."""
    table = np.array(colours, np.float64)
    known = np.isfinite(values)
    at = np.clip(np.where(known, values, 0), 0, 1) * (len(table) - 1)
    low = np.minimum(at.astype(np.int64), len(table) - 2)
    share = (at - low)[..., None]
    mixed = np.rint(table[low] * (1 - share) + table[low + 1] * share)
    return np.where(known[..., None], mixed, UNKNOWN).astype(np.uint8)


def spread(values: Float[np.ndarray, "*axes"], low: float, high: float) -> Float[np.ndarray, "*axes"]:
    """From `low`..`high` to 0..1; 0.5 where the two are equal."""
    if not high > low:
        return np.where(np.isfinite(values), 0.5, np.nan)
    return (values - low) / (high - low)


def depth_picture(depth: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """Near is bright, far is dark, evenly in 1 / depth between its 2nd and 98th percentile; grey: none."""
    valid = np.isfinite(depth) & (depth > 0)
    if not valid.any():
        return ramp(np.full(depth.shape, np.nan), GLOW)
    nearness = np.where(valid, 1 / np.where(valid, depth, 1), np.nan).astype(np.float64)
    low, high = np.nanpercentile(nearness, [2, 98])
    return ramp(spread(nearness, float(low), float(high)), GLOW)


def mask_picture(
    rgb: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture, with what its mask hides under red."""
    tinted = (0.35 * rgb + 0.65 * np.array(HIDDEN)).astype(np.uint8)
    return np.where(mask[..., None], rgb, tinted)


def confidence_picture(confidence: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """0 is blue, 1 is red."""
    return ramp(confidence.astype(np.float64), SPECTRUM)
