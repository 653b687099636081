"""Points of recorded frames, with the values that a viewer filters and colours them by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openloger.export.selection import points_at
from openloger.recording import RecordedFrame
from openloger.shapes import Bool, Float32, Float64, Int, UInt8

EDGE_STEP = 0.005  # of `Points.edge`
NORMAL_UNIT = 127  # of `Points.normal`, so that a byte an axis is enough
EDGE_UNKNOWN = 255  # and above: the surface breaks by 1.275 of its depth, or a neighbour has no depth


@dataclass(frozen=True, eq=False)
class Points:
    """Columns of one length; 28 bytes a point."""

    position: Float32[np.ndarray, "point 3"]  # in the recording's world
    rgb: UInt8[np.ndarray, "point 3"]
    frame: Int[np.ndarray, " point"]  # the first that saw it
    depth: Float32[np.ndarray, " point"]  # along z, from the camera that saw it
    confidence: UInt8[np.ndarray, " point"]  # 0..255 for 0..1
    edge: UInt8[np.ndarray, " point"]  # depth range of the 3 × 3 neighbourhood over depth, in steps of EDGE_STEP
    normal: Int[np.ndarray, "point 3"]  # of the surface, in the world, towards the camera; NORMAL_UNIT long, 0: none

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, chosen: Int[np.ndarray, " chosen"] | Bool[np.ndarray, " point"] | slice) -> Points:
        return Points(*(column[chosen] for column in self.columns))

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        return self.position, self.rgb, self.frame, self.depth, self.confidence, self.edge, self.normal

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for column in self.columns)

    @staticmethod
    def joined(parts: list[Points]) -> Points:
        """One after the other; none of them: no points."""
        return Points(*map(np.concatenate, zip(*(part.columns for part in [NO_POINTS, *parts]), strict=True)))


NO_POINTS = Points(
    position=np.zeros((0, 3), np.float32),
    rgb=np.zeros((0, 3), np.uint8),
    frame=np.zeros(0, np.int32),
    depth=np.zeros(0, np.float32),
    confidence=np.zeros(0, np.uint8),
    edge=np.zeros(0, np.uint8),
    normal=np.zeros((0, 3), np.int8),
)


def frame_points(seen: RecordedFrame, *, pixel_stride: int = 1) -> Points:
    """The points of every `pixel_stride`-th row and column that has a depth, in row-major order."""
    offset = (pixel_stride - 1) // 2
    edge = edge_steps(seen.depth)[offset::pixel_stride, offset::pixel_stride]
    depth = seen.depth[offset::pixel_stride, offset::pixel_stride]
    rows, columns = np.nonzero(np.isfinite(depth) & (depth > 0))
    depth, edge = depth[rows, columns], edge[rows, columns]
    rows, columns = (pixel_stride * index + offset for index in (rows, columns))
    position = points_at(rows, columns, depth, intrinsics=seen.intrinsics, world_from_cam=seen.world_from_cam)
    normal = pixel_normals(seen, rows, columns, position)
    return Points(
        position=position.astype(np.float32),
        rgb=seen.rgb[rows, columns],
        frame=np.full(len(rows), seen.number, np.int32),
        depth=depth,
        confidence=np.rint(255 * seen.confidence[rows, columns]).astype(np.uint8),
        edge=edge,
        normal=np.rint(NORMAL_UNIT * normal).astype(np.int8),
    )


def pixel_normals(
    seen: RecordedFrame,
    rows: Int[np.ndarray, " point"],
    columns: Int[np.ndarray, " point"],
    position: Float64[np.ndarray, "point 3"],
) -> Float64[np.ndarray, "point 3"]:
    """Unit normals at single pixels, whose points are `position`, in the world and towards the camera: what
    `geometry.normals_from_points` gives there. A neighbour without depth is replaced by the pixel itself; zero: none.
    """
    height, width = seen.depth.shape

    def neighbour(down: int, right: int) -> np.ndarray:
        row, column = (rows + down).clip(0, height - 1), (columns + right).clip(0, width - 1)
        depth = seen.depth[row, column]
        at = points_at(row, column, depth, intrinsics=seen.intrinsics, world_from_cam=seen.world_from_cam)
        return np.where((np.isfinite(depth) & (depth > 0))[:, None], at, position)

    normal = np.cross(neighbour(1, 0) - neighbour(-1, 0), neighbour(0, 1) - neighbour(0, -1))
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    unit = np.where(length > 0, normal, 0) / np.where(length > 0, length, 1)
    away = ((position - seen.world_from_cam[:3, 3]) * unit).sum(1, keepdims=True) > 0
    return np.where(away, -unit, unit)


def edge_steps(depth: Float32[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """The depth discontinuity at each pixel, as `Points.edge`: `geometry.depth_edges` for all thresholds at once,
    rounded up to the next step.
    """
    valid = np.isfinite(depth) & (depth > 0)
    largest = _over_neighbours(np.maximum, np.where(valid, depth, np.inf))
    smallest = _over_neighbours(np.minimum, np.where(valid, depth, np.inf))
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.ceil((largest - smallest) / np.where(valid, depth, 1) / EDGE_STEP)
    return np.where(steps < EDGE_UNKNOWN, steps, EDGE_UNKNOWN).astype(np.uint8)


def _over_neighbours(extreme: np.ufunc, depth: np.ndarray) -> np.ndarray:
    """The extreme of each 3 × 3 neighbourhood, rows first; the border has fewer neighbours."""
    for axis in (0, 1):
        wide = depth.copy()
        ahead, behind = _shifted(axis)
        wide[behind] = extreme(wide[behind], depth[ahead])
        wide[ahead] = extreme(wide[ahead], depth[behind])
        depth = wide
    return depth


def _shifted(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the first, and all but the last, along an axis."""
    everything = (slice(None),) * axis
    return (*everything, slice(1, None)), (*everything, slice(None, -1))
