"""The selected points all at once, for formats that cannot stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointChunk, PointSelection, select_points
from openloger.shapes import Float, Float32, UInt8


@dataclass(frozen=True)
class ColouredCloud:
    """15 bytes a point."""

    points_world: Float32[np.ndarray, "point 3"]
    rgb: UInt8[np.ndarray, "point 3"]
    depth_median: float  # over frames, of the points' median depth in each; 1 where there are none


def gather(recording: Reconstruction, selection: PointSelection, *, progress: Progress = no_progress) -> ColouredCloud:
    """The points of all frames in order; `selection.max_points` bounds the memory."""
    world_from_cam = recording.world_from_cam
    points, rgb, depths = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.uint8)], []
    for chunk in select_points(recording, selection, progress=progress):
        if len(chunk):
            points.append(chunk.points_world.astype(np.float32))
            rgb.append(chunk.rgb)
            depths.append(depth_median(chunk, world_from_cam[chunk.frame]))
    return ColouredCloud(np.concatenate(points), np.concatenate(rgb), float(np.median(depths or [1.0])))


def depth_median(chunk: PointChunk, world_from_cam: Float[np.ndarray, "4 4"]) -> float:
    """Of the chunk's points, along the z of the camera that saw them; there must be a point."""
    return float(np.median((chunk.points_world - world_from_cam[:3, 3]) @ world_from_cam[:3, 2]))
