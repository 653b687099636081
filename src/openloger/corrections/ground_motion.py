"""The height of the cameras by the motion of the ground, which depth has no part in.

A plane n·x = −h seen from two cameras, x' = R x + t, induces the homography R − t nᵀ / h (Hartley and Zisserman,
"Multiple view geometry", 13.1). R and t are the recorded path's, so that with n h alone is left, in the unit of the
path: the one at which the ground of one picture, carried into the next, looks most alike. Near the horizon a tilt of n
by 1° changes h by a tenth. So n, too, is not depth's own: cameras that keep their height move along the ground, and the
tilt of all normals against the cameras at which they do is taken off first. Depth then only says which pixels are
ground, and what is left in common is the lens: both heights go with 1 / focal length, whose error is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from openloger.corrections.gravity import GroundPlane
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
_RIDGE = 0.01  # of the square of the ways: a direction with a hundredth of it is hardly tilted
_CLIMB = np.sin(np.deg2rad(3))  # of single ways against the ground: a bump, a step
_LEAST_SLANT = 0.02  # sine between a ray and the ground
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


def ground_motion(recording: Recording, grounds: list[GroundPlane]) -> GroundMotion:
    """The ratio of heights for each ground that shows one."""
    centres = recording.world_from_cam[:, :3, 3]
    pairs: list[tuple[GroundPlane, int]] = []
    for ground in grounds:
        after = slice(ground.frame + 1, ground.frame + 1 + _FURTHEST)
        travel = np.linalg.norm(centres[after] - centres[ground.frame], axis=1) / ground.height
        fit = np.flatnonzero((travel >= LEAST_TRAVEL) & (travel <= MOST_TRAVEL))
        if len(fit):
            pairs.append((ground, ground.frame + 1 + int(fit[0])))
    if not pairs:
        return GroundMotion(0, np.zeros(0))
    cameras = recording.world_from_cam[[ground.frame for ground, _ in pairs], :3, :3]
    ways = np.stack([centres[second] - centres[ground.frame] for ground, second in pairs])
    normals = level_normals(np.stack([ground.normal for ground, _ in pairs]), cameras, ways)
    curves = (_likeness(recording, *pair, normal) for pair, normal in zip(pairs, normals, strict=True))
    found = [best_height(curve) for curve in curves if curve is not None]
    return GroundMotion(len(pairs), np.array([one for one in found if one is not None]))


def level_normals(
    normals: Float64[np.ndarray, "pair 3"],
    world_from_cam: Float64[np.ndarray, "pair 3 3"],
    ways: Float64[np.ndarray, "pair 3"],
) -> Float64[np.ndarray, "pair 3"]:
    """The normals, all tilted alike against their cameras, so that the cameras' ways are along the ground; in the mean
    that outliers do not move (Cauchy's weights). A direction in which no camera moves is not tilted."""
    ahead = world_from_cam[:, :, 2] - (world_from_cam[:, :, 2] * normals).sum(1, keepdims=True) * normals
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True).clip(1e-9)
    axes = np.stack([ahead, np.cross(normals, ahead)], 1)  # pair, 2, 3
    unit = ways / np.linalg.norm(ways, axis=1, keepdims=True).clip(1e-12)
    along, climb = (axes @ unit[..., None])[..., 0], (normals * unit).sum(1)
    tilt, weight = np.zeros(2), np.ones(len(unit))
    for _ in range(20):
        weighted = along * weight[:, None]
        tilt = -np.linalg.solve(weighted.T @ along + _RIDGE * weight.sum() * np.eye(2), weighted.T @ climb)
        weight = 1 / (1 + ((climb + along @ tilt) / _CLIMB) ** 2)
    tilted = normals + np.einsum("pix,i->px", axes, tilt)
    return tilted / np.linalg.norm(tilted, axis=1, keepdims=True)


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


def _likeness(
    recording: Recording, ground: GroundPlane, second: int, normal: Float64[np.ndarray, " 3"]
) -> Float64[np.ndarray, " step"] | None:
    """Correlation of the ground in two pictures at each height; 0 where little of it falls into the second."""
    frame = recording.frame(ground.frame)
    rows, columns = _ground_pixels(frame, ground)
    world_from_cam, intrinsics = recording.world_from_cam, recording.intrinsics
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], 1)
    rays = pixels @ np.linalg.inv(intrinsics[ground.frame]).T
    down = -(rays @ (frame.world_from_cam[:3, :3].T @ normal))
    is_slanted = down > _LEAST_SLANT * np.linalg.norm(rays, axis=1)
    rows, columns, rays, down = (values[is_slanted] for values in (rows, columns, rays, down))
    if len(rows) < _LEAST_PIXELS:
        return None
    second_from_first = np.linalg.inv(world_from_cam[second]) @ world_from_cam[ground.frame]
    turned = (rays * (ground.height / down)[:, None]) @ second_from_first[:3, :3].T
    heights = np.exp(heights_tried())[:, None, None]
    projected = (heights * turned + second_from_first[:3, 3]) @ intrinsics[second].T  # step, pixel, 3
    detail = _detail(recording, ground.frame)[0, 0].numpy()[rows, columns]
    height, width = frame.depth.shape
    at = projected[..., :2] / projected[..., 2:].clip(1e-9)
    inside = (projected[..., 2] > 1e-9) & (at > 1).all(-1) & (at < (width - 1, height - 1)).all(-1)
    grid = torch.from_numpy((2 * at / (width, height) - 1).clip(-2, 2)).float()[None]
    seen = F.grid_sample(_detail(recording, second), grid, align_corners=False)[0, 0].numpy()
    return _correlation(np.broadcast_to(detail, seen.shape), seen, inside)


def _ground_pixels(frame: RecordedFrame, ground: GroundPlane) -> tuple[np.ndarray, np.ndarray]:
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
