"""The height of the cameras by the motion of the ground, which depth has no part in.

A plane n·x = −h seen from two cameras, x' = R x + t, induces the homography R − t nᵀ / h (Hartley and Zisserman,
"Multiple view geometry", 13.1). R and t are the recorded path's and n is the ground's normal, so that h alone is left,
in the unit of the path: the one at which the ground of one picture, carried into the next, looks most alike. Depth
only says which pixels are ground. Both heights go with 1 / focal length, so that an error of it is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from openloger.corrections.gravity import Ground
from openloger.recording import RecordedFrame, Recording
from openloger.shapes import Bool, Float32, Float64, Tensor

LEAST_TRAVEL, MOST_TRAVEL = 0.35, 2.0  # of the camera's height, between two pictures
LEAST_LIKENESS = 0.4  # correlation of the ground in both, at the best height
LEAST_GAIN = 0.2  # of it over that at other heights: the ground has texture that tells them apart
_REACH = 1.2  # of log height, around the height by depth
_STEPS = 97
_FURTHEST = 12  # frames to the second picture
_PIXELS = 4000  # of the ground of a frame, at most
_LEAST_PIXELS = 60
_PLANE = 0.12  # of the height: what is further from the plane is no ground
_FLOOR = 2.0  # grey levels that are noise


@dataclass(frozen=True, eq=False)
class GroundMotion:
    """Frames whose ground moves so that it gives a height."""

    frames: int  # that were tried: they see the ground, and another picture was taken at a fit distance
    log_ratio: Float64[np.ndarray, " decided"]  # of the height by motion over the one by depth

    @property
    def middle(self) -> float:
        """The median ratio, not its logarithm."""
        return float(np.exp(np.median(self.log_ratio)))


def ground_motion(recording: Recording, grounds: list[Ground]) -> GroundMotion:
    """The ratio of heights for each ground that shows one."""
    centres = recording.world_from_cam[:, :3, 3]
    tried, found = 0, []
    for ground in grounds:
        after = slice(ground.frame + 1, ground.frame + 1 + _FURTHEST)
        travel = np.linalg.norm(centres[after] - centres[ground.frame], axis=1) / ground.height
        fit = np.flatnonzero((travel >= LEAST_TRAVEL) & (travel <= MOST_TRAVEL))
        if not len(fit):
            continue
        tried += 1
        likeness = _likeness(recording, ground, ground.frame + 1 + int(fit[0]))
        if likeness is not None and (log_ratio := best_height(likeness)) is not None:
            found.append(log_ratio)
    return GroundMotion(tried, np.array(found))


def heights_tried() -> Float64[np.ndarray, " step"]:
    """Logarithms, over the height by depth."""
    return np.linspace(-_REACH, _REACH, _STEPS)


def best_height(likeness: Float64[np.ndarray, " step"]) -> float | None:
    """The peak of a curve over `heights_tried`, by a parabola; None where it is no clear one."""
    tried, best = heights_tried(), int(likeness.argmax())
    is_clear = likeness[best] >= max(LEAST_LIKENESS, float(np.median(likeness)) + LEAST_GAIN)
    if not is_clear or best in (0, len(likeness) - 1):
        return None
    before, peak, after = likeness[best - 1 : best + 2]
    return float(tried[best] + (tried[1] - tried[0]) * 0.5 * (before - after) / min(before - 2 * peak + after, -1e-9))


def _likeness(recording: Recording, ground: Ground, second: int) -> Float64[np.ndarray, " step"] | None:
    """Correlation of the ground in two pictures at each height; 0 where little of it falls into the second."""
    frame = recording.frame(ground.frame)
    rows, columns = _ground_pixels(frame, ground)
    if len(rows) < _LEAST_PIXELS:
        return None
    world_from_cam, intrinsics = recording.world_from_cam, recording.intrinsics
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], 1)
    rays = pixels @ np.linalg.inv(intrinsics[ground.frame]).T
    second_from_first = np.linalg.inv(world_from_cam[second]) @ world_from_cam[ground.frame]
    depth = ground.height / -(rays @ (frame.world_from_cam[:3, :3].T @ ground.normal))
    turned = (rays * depth[:, None]) @ second_from_first[:3, :3].T
    heights = np.exp(heights_tried())[:, None, None]
    projected = (heights * turned + second_from_first[:3, 3]) @ intrinsics[second].T  # step, pixel, 3
    detail = _detail(recording, ground.frame)[0, 0].numpy()[rows, columns]
    height, width = frame.depth.shape
    at = projected[..., :2] / projected[..., 2:].clip(1e-9)
    inside = (projected[..., 2] > 1e-9) & (at > 1).all(-1) & (at < (width - 1, height - 1)).all(-1)
    grid = torch.from_numpy((2 * at / (width, height) - 1).clip(-2, 2)).float()[None]
    seen = F.grid_sample(_detail(recording, second), grid, align_corners=False)[0, 0].numpy()
    return _correlation(np.broadcast_to(detail, seen.shape), seen, inside)


def _ground_pixels(frame: RecordedFrame, ground: Ground) -> tuple[np.ndarray, np.ndarray]:
    normal = frame.world_from_cam[:3, :3].T @ ground.normal
    below = -(frame.points_cam.astype(np.float64) @ normal)
    rows, columns = np.nonzero((frame.depth > 0) & (np.abs(below / ground.height - 1) < _PLANE))
    step = max(1, -(-len(rows) // _PIXELS))
    return rows[::step], columns[::step]


def _detail(recording: Recording, frame: int) -> Float32[Tensor, "1 1 height width"]:
    """Grey without its local mean, over its local deviation."""
    grey = torch.from_numpy(recording.rgb(frame)).float().mean(-1)[None, None]
    detail = grey - _blurred(grey, 9)
    return detail / (_blurred(detail * detail, 17).sqrt() + _FLOOR)


def _blurred(grey: Tensor, across: int) -> Tensor:
    return F.avg_pool2d(grey, across, stride=1, padding=across // 2, count_include_pad=False)


def _correlation(
    first: Float32[np.ndarray, "step pixel"],
    second: Float32[np.ndarray, "step pixel"],
    counts: Bool[np.ndarray, "step pixel"],
) -> Float64[np.ndarray, " step"]:
    x, y = np.where(counts, first, 0).astype(np.float64), np.where(counts, second, 0).astype(np.float64)
    lengths = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return np.where(counts.sum(1) >= _LEAST_PIXELS, (x * y).sum(1) / np.maximum(lengths, 1e-9), 0)
