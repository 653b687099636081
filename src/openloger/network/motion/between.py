"""Frames between two keyframes: cameras by their motion against both, depth carried over from both.

The keyframes' depth has been through the decoder and the window's adjustment, and the frames between them show nearly
the same. So their cameras are found by flow against the keyframes' points (`camera.py`), and a pixel's depth is where
its ray meets the surface that a keyframe saw: a fixed point of seeing the pixel's point in the keyframe and taking the
keyframe's depth there, which starts near so that what hides the rest is found first. Each keyframe counts by how near
in time it is, and hardly where its surface is not met, as where it does not see it, or where the ray goes through an
outline, on which depth is interpolated. Of two surfaces far apart the nearer one hides the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from openloger.geometry import SE3, unproject
from openloger.network.motion.camera import CameraSettings, EdgeStatus, measure_motion
from openloger.network.motion.flow import Edges
from openloger.network.motion.following import flow_from_ends
from openloger.network.motion.pose import LEAST_DEPTH
from openloger.shapes import Float, Tensor

SETTINGS = CameraSettings(hypotheses=16, steps=4)  # the way between the keyframes is a good start
STEPS = 4  # of the fixed point
MISS = 0.05  # of log depth: so far off the surface, a keyframe counts 1/e
OUTLINE = 0.1  # of log depth: where the eight pixels around differ so much, it counts 1/e
AROUND = 16  # pixels
APART = 0.25  # of log depth: two surfaces, and not one that is uncertain
LEAST_MET = 1e-4  # so that the nearer one decides where none is met


@dataclass(frozen=True, eq=False)
class Ends:
    """Two keyframes and the lens of both, in the first one's camera frame."""

    first_from_last: SE3  # ()
    depth: Float[Tensor, "2 height width"]  # along z
    confidence_logit: Float[Tensor, "2 height width"]
    intrinsics: Float[Tensor, "3 3"]


@dataclass(frozen=True, eq=False)
class Between:
    """The frames between two keyframes, in order."""

    first_from_cam: SE3  # (frame,)
    depth: Float[Tensor, "frame height width"]
    confidence_logit: Float[Tensor, "frame height width"]


def between(images: Float[Tensor, "frame 3 height width"], ends: Ends) -> Between:
    """Of sRGB pictures in [0, 1], the first and last of which are the keyframes."""
    cameras = track(images, ends)
    depth, confidence = carry_over(cameras, ends)
    return Between(cameras, depth, confidence)


def track(images: Float[Tensor, "frame 3 height width"], ends: Ends) -> SE3:
    """first_from_cam of the frames between: by both keyframes, blended on SE(3) by the place in time.

    A motion that flow does not give is left out; where both are missing the camera is on the way between the keyframes.
    """
    count = len(images) - 2
    along = places(count, like=ends.depth)
    way = ends.first_from_last.log()
    start = SE3.exp(torch.cat([along.new_zeros(1), along, along.new_ones(1)])[:, None] * way)
    depth = ends.depth.new_zeros(1, count + 2, *ends.depth.shape[1:])
    depth[0, [0, -1]] = ends.depth
    lens = ends.intrinsics.expand(1, count + 2, 3, 3)
    guess = SE3(start.rotation[None], start.translation[None])
    edges = Edges.from_ends(len(images), device=along.device)
    motion = measure_motion(flow_from_ends(images), edges, depth, lens, guess, settings=SETTINGS)
    end_from_cam = motion.target_from_source.inverse()[0]
    first, second = end_from_cam[:count], ends.first_from_last @ end_from_cam[count:]
    found = (motion.status[0] != EdgeStatus.FALLBACK).to(along.dtype)
    by_first, by_second = (1 - along) * found[:count], along * found[count:]
    share = torch.where(by_first + by_second > 0, by_second / (by_first + by_second).clamp_min(1e-6), along)
    return first @ SE3.exp((first.inverse() @ second).log() * share[:, None])


def places(count: int, *, like: Tensor) -> Float[Tensor, " frame"]:
    """The place of each of `count` frames on the way from one keyframe to the next, 0 to 1."""
    return torch.arange(1, count + 1, dtype=like.dtype, device=like.device) / (count + 1)


def carry_over(
    first_from_cam: SE3, ends: Ends
) -> tuple[Float[Tensor, "frame height width"], Float[Tensor, "frame height width"]]:
    """Depth and confidence of the frames at `first_from_cam` (frame,)."""
    height, width = ends.depth.shape[-2:]
    rays = unproject(torch.ones_like(ends.depth[0]), ends.intrinsics).movedim(-1, 0).contiguous()
    log_depth = ends.depth.log()
    maps = torch.stack([log_depth, ends.confidence_logit, _smooth(log_depth)], 1)
    last_from_cam = ends.first_from_last.inverse() @ first_from_cam
    count = first_from_cam.batch_shape[0]
    depth, confidence = ends.depth.new_empty(2, count, height, width)
    for frame, along in enumerate(places(count, like=ends.depth).tolist()):  # one by one, which stays in the cache
        first = _seen_from(first_from_cam[frame], maps[:1], rays, ends.intrinsics)
        last = _seen_from(last_from_cam[frame], maps[1:], rays, ends.intrinsics)
        farther = first.depth.log() - last.depth.log()
        by_first = (1 - along) * torch.where((farther > APART) & (last.met > 0.5), LEAST_MET, first.met)
        by_last = along * torch.where((farther < -APART) & (first.met > 0.5), LEAST_MET, last.met)
        share = by_last / (by_first + by_last)
        depth[frame] = (last.depth.log() + (1 - share) * farther).exp()
        confidence[frame] = torch.lerp(first.confidence_logit, last.confidence_logit, share)
    return depth, confidence


class _Seen(NamedTuple):
    """A frame by one keyframe."""

    depth: Float[Tensor, "height width"]
    confidence_logit: Float[Tensor, "height width"]
    met: Float[Tensor, "height width"]  # how nearly the surface is met, LEAST_MET to 1


def _seen_from(
    end_from_cam: SE3,
    maps: Float[Tensor, "1 3 height width"],
    rays: Float[Tensor, "3 height width"],
    intrinsics: Float[Tensor, "3 3"],
) -> _Seen:
    """Of a keyframe's log depth, its confidence and where it is smooth.

    A pixel's ray is R r z + t in the keyframe; points are kept as one plane an axis.
    """
    height, width = maps.shape[-2:]
    turned = (end_from_cam.rotation @ rays.flatten(1)).view_as(rays)
    translation, forward = end_from_cam.translation.tolist(), end_from_cam.rotation[:, 2].tolist()
    (fx, fy), (cx, cy) = intrinsics.diagonal()[:2].tolist(), intrinsics[:2, 2].tolist()

    def at(z: Tensor) -> tuple[list[Tensor], Tensor]:
        x, y, away = (plane * z + t for plane, t in zip(turned, translation, strict=True))
        away = away.clamp_min(LEAST_DEPTH)
        grid = torch.stack([x / away * (2 * fx / width), y / away * (2 * fy / height)], -1)
        return [x, y, away], grid + grid.new_tensor([2 * cx / width - 1, 2 * cy / height - 1])

    z = _nearest_around(maps[:, :1])[0, 0].exp()
    for _ in range(STEPS):
        point, grid = at(z)
        nearer = _look_up(maps[:, :1], grid)[0].exp() / point[2]  # the surface on the keyframe's ray through the point
        back = (f * (p * nearer - t) for f, p, t in zip(forward, point, translation, strict=True))
        z = torch.stack([*back]).sum(0).clamp_min(LEAST_DEPTH)
    point, grid = at(z)
    log_depth, logit, smooth = _look_up(maps, grid)
    miss = (point[2].log() - log_depth) / MISS
    met = smooth * (-miss.square()).exp() * (grid.abs() < 1).all(-1) * (point[2] > LEAST_DEPTH)
    return _Seen(z, logit, met.clamp_min(LEAST_MET))


def _smooth(log_depth: Float[Tensor, "end height width"]) -> Float[Tensor, "end height width"]:
    """1 on surfaces, towards 0 on outlines."""
    around = F.pad(log_depth[:, None], (1, 1, 1, 1), mode="replicate")
    spread = F.max_pool2d(around, 3, stride=1) + F.max_pool2d(-around, 3, stride=1)
    return (-(spread[:, 0] / OUTLINE).square()).exp()


def _nearest_around(log_depth: Float[Tensor, "1 1 height width"]) -> Float[Tensor, "1 1 height width"]:
    """The smallest of each block of AROUND pixels and the eight blocks around it."""
    nearest = -F.max_pool2d(F.max_pool2d(-log_depth, AROUND, ceil_mode=True), 3, stride=1, padding=1)
    return F.interpolate(nearest, size=log_depth.shape[-2:])


def _look_up(maps: Float[Tensor, "1 channel height width"], grid: Tensor) -> Float[Tensor, "channel height width"]:
    return F.grid_sample(maps, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
