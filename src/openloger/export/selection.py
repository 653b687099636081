"""Which pixels of a reconstruction become points, given out one frame at a time.

Memory does not grow with the video, except for `voxel`, which keeps the voxels that have a point (see `voxels.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from openloger.errors import InputError
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.sampling import thin
from openloger.export.voxels import VoxelSet, voxel_keys
from openloger.geometry.surfaces import depth_edges
from openloger.recording import Recording
from openloger.shapes import Bool, Float, Int, UInt8

LEAST_EDGE = 0.03


@dataclass(frozen=True)
class PointSelection:
    """A pixel becomes a point when it passes all of these."""

    confidence_min: float = 0.1  # least confidence, 0..1
    # largest depth range in a 3 x 3 neighbourhood, relative to depth; auto: 3 %, more in low pictures; None: any
    depth_edge: float | Literal["auto"] | None = "auto"
    frame_stride: int = 1  # every n-th frame, in every format: its points, its camera and its picture
    pixel_stride: int = 1  # every n-th row and column
    voxel: float | None = None  # edge of a cube that gives one point, the first seen, in the recording's unit of length
    max_points: int | None = None  # thinned evenly to this many; None: the format's own limit

    def check(self) -> None:
        """Every use does. Raises InputError where a value makes no sense."""
        _check(0 <= self.confidence_min <= 1, "confidence_min", self.confidence_min, "from 0 to 1")
        edge = self.depth_edge
        fits = edge > 0 if isinstance(edge, float | int) else edge in ("auto", None)
        _check(fits, "depth_edge", edge, "auto, over 0, or none")
        _check(self.frame_stride >= 1, "frame_stride", self.frame_stride, "1 or more")
        _check(self.pixel_stride >= 1, "pixel_stride", self.pixel_stride, "1 or more")
        _check(self.voxel is None or 0 < self.voxel < np.inf, "voxel", self.voxel, "over 0, or none")
        _check(self.max_points is None or self.max_points >= 1, "max_points", self.max_points, "1 or more, or none")


def usual_edge(height: int) -> float:
    """The value of "auto": 3 %, or more in a low image, so that the lower half of level ground is kept.

    The depth of level ground changes by 2 / r over the three rows around the r-th below the horizon.
    """
    return max(LEAST_EDGE, 2 / (height / 4))


def _check(fits: bool, name: str, value: float | int | str | None, wanted: str) -> None:
    if not fits:
        raise InputError(f"{name} is {value}: it must be {wanted}")


@dataclass(frozen=True)
class PointChunk:
    """The points that one frame gives, in the row-major order of their pixels; there may be none."""

    frame: int  # its number in the reconstruction
    points_world: Float[np.ndarray, "point 3"]
    rgb: UInt8[np.ndarray, "point 3"]
    pixels_xy: Float[np.ndarray, "point 2"]  # the pixels' centres, at the size of the depth map

    def __len__(self) -> int:
        return len(self.points_world)


def selected_cameras(recording: Reconstruction, selection: PointSelection) -> range:
    """The frames of a camera path: of a rig, whose views share their time and centre, the first view's."""
    views = recording.views if isinstance(recording, Recording) else 1
    if views == 1 or recording.frame_count == 0:
        return selected_frames(recording, selection)
    selection.check()
    return range(0, recording.frame_count, views * selection.frame_stride)


def selected_frames(recording: Reconstruction, selection: PointSelection) -> range:
    """The frames that every format exports.

    Raises InputError where there is none yet, or the selection makes no sense.
    """
    selection.check()
    if recording.frame_count == 0:
        raise InputError("the recording has no frames yet: nothing to export")
    fitting = fitting_stride(recording, selection.frame_stride)
    if fitting != selection.frame_stride:
        raise InputError(
            f"frame_stride {selection.frame_stride} leaves out the same views of the rig at every instant; give one "
            f"that has no factor in common with their number, as {fitting}"
        )
    return range(0, recording.frame_count, selection.frame_stride)


def fitting_stride(recording: Reconstruction, stride: int) -> int:
    """The next frame stride, from this on, that comes to all views of a rig; of other recordings the same."""
    views = recording.views if isinstance(recording, Recording) else 1
    while math.gcd(stride, views) > 1:
        stride += 1
    return stride


def select_points(
    recording: Reconstruction, selection: PointSelection | None = None, *, progress: Progress = no_progress
) -> Iterator[PointChunk]:
    """One chunk for each selected frame, in order; the same ones each time.

    Where `max_points` may be too few, the frames are read twice: once to count. Then the points, in order, fall into
    max_points runs of equal length, and each run gives one (`thinning.py`).

    Raises InputError where the selection makes no sense, or there is no frame.
    """
    selection = selection or PointSelection()
    frames = selected_frames(recording, selection)
    wanted = selection.max_points if _may_need_thinning(recording, selection) else None
    done, total = 0, len(frames) * (1 if wanted is None else 2)
    in_all = 0
    if wanted is not None:
        for candidates in _candidates(recording, selection, frames):
            in_all += len(candidates.rows)
            progress(done := done + 1, total)
    seen = 0
    for candidates in _candidates(recording, selection, frames):
        count = len(candidates.rows)
        if wanted is not None:
            candidates = candidates.at(thin(seen, seen + count, total=in_all, wanted=wanted))
        seen += count
        yield candidates.chunk(recording.rgb(candidates.frame))
        progress(done := done + 1, total)


def trusted_pixels(
    depth: Float[np.ndarray, "height width"], confidence: Float[np.ndarray, "height width"], selection: PointSelection
) -> Bool[np.ndarray, "height width"]:
    """Where depth is finite and positive, confidence suffices and the surface does not break."""
    trusted = np.isfinite(depth) & (depth > 0) & (confidence >= selection.confidence_min)
    if selection.depth_edge is not None:
        edge = usual_edge(depth.shape[0]) if selection.depth_edge == "auto" else selection.depth_edge
        trusted &= ~depth_edges(torch.from_numpy(depth), relative=edge).numpy()
    return trusted


def points_at(
    rows: Int[np.ndarray, " point"],
    columns: Int[np.ndarray, " point"],
    depth: Float[np.ndarray, " point"],
    *,
    intrinsics: Float[np.ndarray, "3 3"],
    world_from_cam: Float[np.ndarray, "4 4"],
) -> Float[np.ndarray, "point 3"]:
    """World points, float64, of single pixels: what unprojecting the whole depth map would give there."""
    x = (columns + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (rows + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    points_cam = np.stack([x, y, np.ones_like(x)], -1) * depth.astype(np.float64)[:, None]
    return points_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]


@dataclass(frozen=True)
class _Candidates:
    """The pixels of one frame that pass all but `max_points`."""

    frame: int
    rows: np.ndarray
    columns: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    world_from_cam: np.ndarray

    def at(self, indices: np.ndarray) -> _Candidates:
        rows, columns, depth = self.rows[indices], self.columns[indices], self.depth[indices]
        return replace(self, rows=rows, columns=columns, depth=depth)

    def points_world(self) -> np.ndarray:
        """Computed on demand: most candidates may only be counted."""
        cameras = {"intrinsics": self.intrinsics, "world_from_cam": self.world_from_cam}
        return points_at(self.rows, self.columns, self.depth, **cameras)

    def chunk(self, rgb: UInt8[np.ndarray, "height width 3"]) -> PointChunk:
        centres = np.stack([self.columns, self.rows], -1) + 0.5
        return PointChunk(self.frame, self.points_world(), rgb[self.rows, self.columns], centres)


def _candidates(recording: Reconstruction, selection: PointSelection, frames: range) -> Iterator[_Candidates]:
    world_from_cam, intrinsics = recording.world_from_cam, recording.intrinsics
    met = VoxelSet() if selection.voxel is not None else None
    stride = selection.pixel_stride
    for frame in frames:
        depth = recording.depth(frame)
        trusted = trusted_pixels(depth, recording.confidence(frame), selection)
        rows, columns = (stride * index for index in np.nonzero(trusted[::stride, ::stride]))
        cameras = (intrinsics[frame], world_from_cam[frame])
        candidates = _Candidates(frame, rows, columns, depth[rows, columns], *cameras)
        if met is not None and selection.voxel is not None:
            candidates = candidates.at(met.add(voxel_keys(candidates.points_world(), selection.voxel)))
        yield candidates


def _may_need_thinning(recording: Reconstruction, selection: PointSelection) -> bool:
    if selection.max_points is None:
        return False
    height, width = recording.depth(0).shape
    stride = selection.pixel_stride
    pixels_a_frame = -(-height // stride) * -(-width // stride)
    return pixels_a_frame * len(selected_frames(recording, selection)) > selection.max_points
