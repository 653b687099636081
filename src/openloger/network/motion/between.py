"""Frames between two keyframes: cameras tracked against both, depth warped from both.

The keyframes' depth has been through the decoder and the window's adjustment, and the frames between them show nearly
the same. So their cameras follow from flow against the keyframes' points (`camera.py`), and a pixel's depth is where
its ray meets the surface that a keyframe saw: a fixed-point iteration that projects the pixel's point into the keyframe
and takes the keyframe's depth there, begun at the nearest surface around, so that what occludes is met first. Each
keyframe is weighted by how near in time it is and by its visibility: little where the ray does not meet its surface,
as where the keyframe does not see it, and at depth edges, across which depth is interpolated. Of two surfaces far
apart the nearer one occludes the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from openloger.geometry import SE3, unproject
from openloger.network.motion.camera import CameraSettings, EdgeStatus, measure_motion
from openloger.network.motion.flow import Edges
from openloger.network.motion.pose import LEAST_DEPTH
from openloger.network.motion.tracking import flow_from_ends
from openloger.shapes import Bool, Float, Tensor

SETTINGS = CameraSettings(hypotheses=16, steps=4)  # the way between the keyframes is a good start
STEPS = 4  # of the fixed-point iteration
SURFACE_TOLERANCE = 0.05  # of log depth: this far from the surface, the visibility is 1/e
EDGE_RANGE = 0.1  # of log depth: where the 3x3 pixels around span this, the visibility is 1/e
BLOCK = 16  # pixels, of the search for the nearest surface
OCCLUSION_GAP = 0.25  # of log depth: two surfaces, rather than one that is uncertain
LEAST_VISIBILITY = 1e-4  # so that the one nearer in time decides where neither is visible


@dataclass(frozen=True, eq=False)
class KeyframePair:
    """Two keyframes and the lens of both, in the first one's camera frame."""

    first_from_last: SE3  # ()
    depth: Float[Tensor, "2 height width"]  # along z
    confidence_logit: Float[Tensor, "2 height width"]
    intrinsics: Float[Tensor, "3 3"]

    @property
    def known(self) -> Bool[Tensor, "2 height width"] | None:
        """Where there is a depth; None: everywhere."""
        known = self.depth > 0
        return None if bool(known.all()) else known


@dataclass(frozen=True, eq=False)
class TrackedFrames:
    """The frames between two keyframes, in order."""

    first_from_cam: SE3  # (frame,)
    depth: Float[Tensor, "frame height width"]
    confidence_logit: Float[Tensor, "frame height width"]


def track_between(
    images: Float[Tensor, "frame 3 height width"],
    keyframes: KeyframePair,
    used: Bool[Tensor, "frame height width"] | None = None,
) -> TrackedFrames:
    """Of sRGB pictures in [0, 1], the first and last of which are the keyframes; pixels that are not `used` by masks
    have no say. Depth is 0 where neither keyframe has one."""
    cameras = track_cameras(images, keyframes, used)
    depth, confidence = warp_depth(cameras, keyframes)
    return TrackedFrames(cameras, depth, confidence)


def track_cameras(
    images: Float[Tensor, "frame 3 height width"],
    keyframes: KeyframePair,
    used: Bool[Tensor, "frame height width"] | None = None,
) -> SE3:
    """first_from_cam of the frames between: by both keyframes, blended on SE(3) by the place in time.

    A motion that flow does not give is left out; where both are missing the camera is on the way between the keyframes.
    """
    count = len(images) - 2
    along = places(count, like=keyframes.depth)
    way = keyframes.first_from_last.log()
    start = SE3.exp(torch.cat([along.new_zeros(1), along, along.new_ones(1)])[:, None] * way)
    none = keyframes.depth.new_zeros(count, *keyframes.depth.shape[1:])
    depth = torch.cat([keyframes.depth[:1], none, keyframes.depth[1:]])[None]
    lens = keyframes.intrinsics.expand(1, count + 2, 3, 3)
    guess = SE3(start.rotation[None], start.translation[None])
    edges = Edges.from_ends(len(images), device=along.device)
    motion = measure_motion(flow_from_ends(images, used), edges, depth, lens, guess, settings=SETTINGS)
    key_from_cam = motion.target_from_source.inverse()[0]
    first, second = key_from_cam[:count], keyframes.first_from_last @ key_from_cam[count:]
    found = (motion.status[0] != EdgeStatus.FALLBACK).to(along.dtype)
    by_first, by_second = (1 - along) * found[:count], along * found[count:]
    share = torch.where(by_first + by_second > 0, by_second / (by_first + by_second).clamp_min(1e-6), along)
    return first @ SE3.exp((first.inverse() @ second).log() * share[:, None])


def places(count: int, *, like: Tensor) -> Float[Tensor, " frame"]:
    """The place of each of `count` frames on the way from one keyframe to the next, 0 to 1."""
    return torch.arange(1, count + 1, dtype=like.dtype, device=like.device) / (count + 1)


def warp_depth(
    first_from_cam: SE3, keyframes: KeyframePair
) -> tuple[Float[Tensor, "frame height width"], Float[Tensor, "frame height width"]]:
    """Depth and confidence of the frames at `first_from_cam` (frame,)."""
    height, width = keyframes.depth.shape[-2:]
    rays = unproject(torch.ones_like(keyframes.depth[0]), keyframes.intrinsics).movedim(-1, 0).contiguous()
    known = keyframes.known
    log_depth = keyframes.depth.log() if known is None else _with_far(keyframes.depth, known)
    channels = [log_depth, keyframes.confidence_logit, _smooth(log_depth)]
    maps = torch.stack(channels if known is None else [*channels, known.float()], 1)
    last_from_cam = keyframes.first_from_last.inverse() @ first_from_cam
    count = first_from_cam.batch_shape[0]
    depth, confidence = keyframes.depth.new_empty(2, count, height, width)
    for frame, along in enumerate(places(count, like=keyframes.depth).tolist()):  # one by one, which stays in the cache
        first = _warp_from(first_from_cam[frame], maps[:1], rays, keyframes.intrinsics)
        last = _warp_from(last_from_cam[frame], maps[1:], rays, keyframes.intrinsics)
        farther = first.depth.log() - last.depth.log()
        by_first = (1 - along) * _unless_occluded(first, by=last)
        by_last = along * _unless_occluded(last, by=first)
        share = by_last / (by_first + by_last)
        depth[frame] = (last.depth.log() + (1 - share) * farther).exp()
        confidence[frame] = torch.lerp(first.confidence_logit, last.confidence_logit, share)
        if first.known is not None and last.known is not None:
            depth[frame] *= torch.lerp(first.known, last.known, share) > 0.5
    return depth, confidence


def _with_far(depth: Float[Tensor, "2 height width"], known: Bool[Tensor, "2 height width"]) -> Tensor:
    """Log depth, and the greatest there is where none is known, so that nothing is nearer for it."""
    far = depth.max() if bool(known.any()) else depth.new_ones(())
    return torch.where(known, depth, far).log()


class _Warped(NamedTuple):
    """A frame's maps as warped from one keyframe."""

    depth: Float[Tensor, "height width"]
    confidence_logit: Float[Tensor, "height width"]
    visibility: Float[Tensor, "height width"]  # LEAST_VISIBILITY to 1
    known: Float[Tensor, "height width"] | None  # 0 where the keyframe has no depth; None: it has everywhere


def _warp_from(
    key_from_cam: SE3,
    maps: Float[Tensor, "1 _ height width"],
    rays: Float[Tensor, "3 height width"],
    intrinsics: Float[Tensor, "3 3"],
) -> _Warped:
    """From a keyframe's `maps`: log depth, confidence logit, `_smooth`, and 1 where depth is known, if not everywhere.

    A pixel's point at depth z is R r z + t in the keyframe, r its ray; points are kept as one plane an axis.
    """
    height, width = maps.shape[-2:]
    turned = (key_from_cam.rotation @ rays.flatten(1)).view_as(rays)
    translation, forward = key_from_cam.translation.tolist(), key_from_cam.rotation[:, 2].tolist()
    (fx, fy), (cx, cy) = intrinsics.diagonal()[:2].tolist(), intrinsics[:2, 2].tolist()

    def at(z: Tensor) -> tuple[list[Tensor], Tensor]:
        x, y, away = (plane * z + t for plane, t in zip(turned, translation, strict=True))
        away = away.clamp_min(LEAST_DEPTH)
        grid = torch.stack([x / away * (2 * fx / width), y / away * (2 * fy / height)], -1)
        return [x, y, away], grid + grid.new_tensor([2 * cx / width - 1, 2 * cy / height - 1])

    z = _nearest_surface(maps[:, :1])[0, 0].exp()
    for _ in range(STEPS):
        point, grid = at(z)
        nearer = _sample(maps[:, :1], grid)[0].exp() / point[2]  # the surface on the keyframe's ray through the point
        back = (f * (p * nearer - t) for f, p, t in zip(forward, point, translation, strict=True))
        z = torch.stack([*back]).sum(0).clamp_min(LEAST_DEPTH)
    point, grid = at(z)
    log_depth, logit, smooth, *known = _sample(maps, grid)
    off = (point[2].log() - log_depth) / SURFACE_TOLERANCE
    visibility = smooth * (-off.square()).exp() * (grid.abs() < 1).all(-1) * (point[2] > LEAST_DEPTH)
    if known:
        visibility = visibility * known[0]
    return _Warped(z, logit, visibility.clamp_min(LEAST_VISIBILITY), known[0] if known else None)


def _unless_occluded(warped: _Warped, *, by: _Warped) -> Float[Tensor, "height width"]:
    """Its visibility, or LEAST_VISIBILITY where the other shows a surface in front of it."""
    occluded = (warped.depth.log() - by.depth.log() > OCCLUSION_GAP) & (by.visibility > 0.5)
    return torch.where(occluded, LEAST_VISIBILITY, warped.visibility)


def _smooth(log_depth: Float[Tensor, "end height width"]) -> Float[Tensor, "end height width"]:
    """1 on surfaces, towards 0 at depth edges."""
    around = F.pad(log_depth[:, None], (1, 1, 1, 1), mode="replicate")
    spread = F.max_pool2d(around, 3, stride=1) + F.max_pool2d(-around, 3, stride=1)
    return (-(spread[:, 0] / EDGE_RANGE).square()).exp()


def _nearest_surface(log_depth: Float[Tensor, "1 1 height width"]) -> Float[Tensor, "1 1 height width"]:
    """The smallest of each block of BLOCK pixels and the eight blocks around it."""
    nearest = -F.max_pool2d(F.max_pool2d(-log_depth, BLOCK, ceil_mode=True), 3, stride=1, padding=1)
    return F.interpolate(nearest, size=log_depth.shape[-2:])


def _sample(maps: Float[Tensor, "1 channel height width"], grid: Tensor) -> Float[Tensor, "channel height width"]:
    return F.grid_sample(maps, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
