"""Sightings: in which frames a point is seen, and where; the tracks of a sparse model.

A point of one frame is seen in another one where it projects into its picture, onto a pixel whose own depth is the
point's to `DEPTH_TOLERANCE`. By projection alone the position would add nothing: it is what cameras and point imply
already. So it is measured where the picture allows it: the patch around the point in its own frame is found again near
the projection by inverse compositional Lucas and Kanade (Baker and Matthews, IJCV 2004; translation, patches without
their mean and contrast). Where it has no corner, is not found within `FARTHEST_PX`, or differs, the projection stays.

All is in pixels of the recording. Memory: 250 bytes a point, whatever the number of frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, select_points, trusted_pixels
from openloger.shapes import Bool, Float, Float64, Int, UInt8

DEPTH_TOLERANCE = 0.05  # relative
FARTHEST_PX = 2.5  # from the projection
LEAST_CORRELATION = 0.85  # of a patch and what is found
LEAST_CORNER = 4.0  # smaller eigenvalue of the mean outer product of a patch's gradients, grey levels² a pixel²
_PATCH = 7  # pixels across; one more around it for the gradients
_STEPS = 10
_MEASURED = 512  # points that are measured at once: each takes some 5 kB meanwhile
_CLUSTER = 256  # neighbours in the order of selection that are projected together
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class SparsePoints:
    """Points with the frame and the patch that they come from."""

    points_world: Float64[np.ndarray, "point 3"]
    rgb: UInt8[np.ndarray, "point 3"]
    frame: Int[np.ndarray, " point"]
    pixels_xy: Float64[np.ndarray, "point 2"]
    patches: Float[np.ndarray, "point row column"]  # grey levels

    def __len__(self) -> int:
        return len(self.points_world)

    def at(self, kept: Bool[np.ndarray, " point"]) -> SparsePoints:
        """The points where `kept` is true."""
        return SparsePoints(*(getattr(self, field.name)[kept] for field in fields(self)))

    @staticmethod
    def of(recording: Reconstruction, selection: PointSelection, *, progress: Progress = no_progress) -> SparsePoints:
        """All selected points; `selection.max_points` bounds the memory."""
        chunks, patches = [], [np.zeros((0, _PATCH + 2, _PATCH + 2), np.float16)]
        for chunk in select_points(recording, selection, progress=progress):
            chunks.append(chunk)
            patches.append(_sample(_grey(recording, chunk.frame), chunk.pixels_xy, _PATCH + 2).astype(np.float16))
        return SparsePoints(
            np.concatenate([chunk.points_world for chunk in chunks]).astype(np.float64),
            np.concatenate([chunk.rgb for chunk in chunks]),
            np.concatenate([np.full(len(chunk), chunk.frame) for chunk in chunks]),
            np.concatenate([chunk.pixels_xy for chunk in chunks]).astype(np.float64),
            np.concatenate(patches),
        )


@dataclass(frozen=True)
class Sightings:
    """The points that one frame sees."""

    points: Int[np.ndarray, " sighting"]  # their numbers, ascending
    pixels_xy: Float64[np.ndarray, "sighting 2"]
    error_px: Float64[np.ndarray, " sighting"]  # distance from the projection


class Searcher:
    """Finds the points that each frame sees."""

    def __init__(self, recording: Reconstruction, points: SparsePoints, selection: PointSelection) -> None:
        self._recording, self._points, self._selection = recording, points, selection
        self._world_from_cam, self._intrinsics = recording.world_from_cam, recording.intrinsics
        starts = np.arange(0, len(points), _CLUSTER)
        low = np.minimum.reduceat(points.points_world, starts) if len(points) else np.zeros((0, 3))
        high = np.maximum.reduceat(points.points_world, starts) if len(points) else np.zeros((0, 3))
        self._middles, self._radii = (low + high) / 2, np.linalg.norm(high - low, axis=1) / 2

    def sightings(self, frame: int) -> Sightings:
        """Of one frame of the recording. Its own points are seen at their own pixels."""
        known = self._points
        points, projected = self._seen(frame)
        own = known.frame[points] == frame
        pixels = projected.copy()
        pixels[own] = known.pixels_xy[points[own]]
        others = np.flatnonzero(~own)
        grey = _grey(self._recording, frame)
        for some in (others[first : first + _MEASURED] for first in range(0, len(others), _MEASURED)):
            pixels[some] = measured(grey, known.patches[points[some]].astype(np.float32), projected[some])
        return Sightings(points, pixels, np.linalg.norm(pixels - projected, axis=1))

    def views(self, frames: Iterable[int]) -> Int[np.ndarray, " point"]:
        """By how many of the frames each point is seen."""
        count = np.zeros(len(self._points), np.int64)
        for frame in frames:
            count[self._seen(frame)[0]] += 1
        return count

    def _seen(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """The points that a frame sees, and their projections."""
        depth = self._recording.depth(frame)
        trusted = trusted_pixels(depth, self._recording.confidence(frame), self._selection)
        points, projected, z = self._projected(frame, self._near(frame, depth.shape))
        seen = (self._points.frame[points] == frame) | _agrees(projected, z, depth, trusted)
        return points[seen], projected[seen]

    def _near(self, frame: int, size: tuple[int, ...]) -> Int[np.ndarray, " point"]:
        """The points of the clusters that reach into the frame's field of view."""
        middles = _to_camera(self._world_from_cam[frame], self._middles)
        inside = middles[:, 2] > -self._radii
        for plane in _side_planes(self._intrinsics[frame], size):
            inside &= middles @ plane > -self._radii
        spread = np.flatnonzero(inside)[:, None] * _CLUSTER + np.arange(_CLUSTER)
        return spread[spread < len(self._points)]

    def _projected(self, frame: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The points in front of a frame's camera, their pixels, and their depths."""
        cam = _to_camera(self._world_from_cam[frame], self._points.points_world[points])
        front = cam[:, 2] > 0
        points, cam = points[front], cam[front]
        intrinsics = self._intrinsics[frame]
        focal, principal = intrinsics[[0, 1], [0, 1]], intrinsics[:2, 2]
        return points, cam[:, :2] / cam[:, 2:] * focal + principal, cam[:, 2]


def measured(
    grey: Float[np.ndarray, "height width"],
    patches: Float[np.ndarray, "point row column"],
    projected: Float64[np.ndarray, "point 2"],
) -> Float64[np.ndarray, "point 2"]:
    """Where the patches are found near their projections; the projection where they are not."""
    wanted, contrast = _normalised(patches[:, 1:-1, 1:-1])
    along_x = (patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2]) / 2
    along_y = (patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1]) / 2
    gradient = np.stack([along_x, along_y], -1).reshape(len(patches), _PATCH**2, 2).astype(np.float64)
    gradient -= gradient.mean(1, keepdims=True)  # what brightness and contrast explain is no motion
    level = wanted.reshape(len(patches), _PATCH**2, 1)
    gradient -= level * (level * gradient).mean(1, keepdims=True)
    products = gradient.transpose(0, 2, 1) @ gradient
    corner = np.linalg.eigvalsh(products)[:, 0] / gradient.shape[1] >= LEAST_CORNER
    at = projected[corner].copy()
    step_from_error = np.linalg.inv(products[corner]) @ gradient[corner].transpose(0, 2, 1)
    for _ in range(_STEPS):
        found, _ = _normalised(_sample(grey, at, _PATCH))
        error = (found - wanted[corner]) * contrast[corner]
        at -= (step_from_error @ error.reshape(len(at), _PATCH**2, 1))[..., 0]
        at = projected[corner] + np.clip(at - projected[corner], -2 * FARTHEST_PX, 2 * FARTHEST_PX)
    found, _ = _normalised(_sample(grey, at, _PATCH))
    correlation = (found * wanted[corner]).mean((1, 2))
    good = (correlation >= LEAST_CORRELATION) & (np.linalg.norm(at - projected[corner], axis=1) <= FARTHEST_PX)
    result = projected.copy()
    result[np.flatnonzero(corner)[good]] = at[good]
    return result


def _agrees(pixels: np.ndarray, z: np.ndarray, depth: np.ndarray, trusted: np.ndarray) -> Bool[np.ndarray, " point"]:
    """Where a frame's own depth confirms that it sees a point."""
    height, width = depth.shape
    inside = (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    columns, rows = np.where(inside[:, None], pixels, 0).astype(np.int64).T
    return inside & trusted[rows, columns] & (np.abs(depth[rows, columns] - z) <= DEPTH_TOLERANCE * z)


def _to_camera(world_from_cam: np.ndarray, points_world: np.ndarray) -> np.ndarray:
    return (points_world - world_from_cam[:3, 3]) @ world_from_cam[:3, :3]


def _side_planes(intrinsics: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Unit normals, inward, of the four sides of a field of view."""
    height, width = size
    left, right = -intrinsics[0, 2] / intrinsics[0, 0], (width - intrinsics[0, 2]) / intrinsics[0, 0]
    top, bottom = -intrinsics[1, 2] / intrinsics[1, 1], (height - intrinsics[1, 2]) / intrinsics[1, 1]
    planes = np.array([[1, 0, -left], [-1, 0, right], [0, 1, -top], [0, -1, bottom]])
    return planes / np.linalg.norm(planes, axis=1, keepdims=True)


def _grey(recording: Reconstruction, frame: int) -> np.ndarray:
    return recording.rgb(frame).astype(np.float32) @ _GREY


def _normalised(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches of mean 0 and variance 1, and their standard deviations."""
    patches = patches - patches.mean((1, 2), keepdims=True)
    contrast = patches.std((1, 2), keepdims=True).clip(1e-3)
    return patches / contrast, contrast


def _sample(grey: np.ndarray, pixels_xy: np.ndarray, side: int) -> np.ndarray:
    """(point, side, side) around each pixel, bilinear; the border goes on outside."""
    height, width = grey.shape
    offsets = np.arange(side) - side // 2
    x = np.clip(pixels_xy[:, 0, None] - 0.5 + offsets, 0, width - 1)
    y = np.clip(pixels_xy[:, 1, None] - 0.5 + offsets, 0, height - 1)
    left, top = np.minimum(x.astype(np.int64), width - 2), np.minimum(y.astype(np.int64), height - 2)
    right_share, bottom_share = (x - left)[:, None, :], (y - top)[:, :, None]
    rows, columns = top[:, :, None], left[:, None, :]
    upper = grey[rows, columns] * (1 - right_share) + grey[rows, columns + 1] * right_share
    lower = grey[rows + 1, columns] * (1 - right_share) + grey[rows + 1, columns + 1] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share
