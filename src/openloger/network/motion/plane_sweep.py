"""A plane sweep (Collins, CVPR 1996): which depth of a cell agrees best with the other frames, by frozen features.

Triangulation follows one match of a cell. Here a cell of stride 4 is moved to other frames at several depths around the
one it has, and the features there are compared with its own (the cosine of the angle between them, as by matched
descriptors; learned stereo compares features in the same way, arXiv 1804.02505). Where texture repeats or is weak,
one match is wrong or missing, while the agreement at all depths, together with that of the cells around, still shows
which depth is likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from openloger.geometry import SE3
from openloger.network.motion.flow import STRIDE, Edges, cell_centres
from openloger.network.motion.matches import cell_depth, pick, seen_pixels
from openloger.network.motion.matching import centred_unit
from openloger.shapes import Float, Tensor


@dataclass(frozen=True)
class SweepSettings:
    """The depths at which a cell is compared, and with how many frames."""

    planes: int = 7
    reach: float = 0.24  # of log depth, either way
    targets: int = 3  # of a frame's edges those that lead farthest


def plane_sweep(
    stride4: Float[Tensor, "batch frame channel rows columns"],
    edges: Edges,
    world_from_cam: SE3,
    depth: Float[Tensor, "batch frame height width"],
    intrinsics: Float[Tensor, "batch frame 3 3"],
    *,
    settings: SweepSettings | None = None,
) -> Float[Tensor, "batch frame plane rows columns"]:
    """The agreement, −1 to 1, of every cell with its targets at each depth, nearest first.

    `stride4` are feature maps whose cells are those of the flow; cameras are (batch, frame). The planes are at `depth`
    times exp(−reach) to exp(reach), in equal steps of the logarithm. Frames whose picture a point is not in do not
    count; where none has it, and where depth is not finite and positive, all planes are 0.
    """
    settings = settings or SweepSettings()
    height, width = depth.shape[-2:]
    with torch.autocast(depth.device.type, enabled=False):
        features = centred_unit(stride4.flatten(0, 1).float()).unflatten(0, stride4.shape[:2])
        z, known = cell_depth(depth)
        focal, principal = intrinsics.diagonal(dim1=-2, dim2=-1)[..., None, :2], intrinsics[..., None, :2, 2]
        ray = (cell_centres(height, width, like=z).flatten(0, 1) - principal) / focal
        ray = torch.cat([ray, torch.ones_like(ray[..., :1])], -1)  # (batch, frame, cell, 3)
        offset = torch.linspace(-settings.reach, settings.reach, settings.planes, dtype=z.dtype, device=z.device)
        swept = torch.where(known, z, 1.0).flatten(2)[:, :, None] * offset.exp()[:, None]  # (batch, frame, plane, cell)
        agreement = z.new_zeros(*z.shape[:2], settings.planes, *z.shape[2:])
        for frame, targets in enumerate(edges.farthest(settings.targets, frames=z.shape[1])):
            if not len(targets):
                continue
            seen, inside = _seen_at(
                (ray[:, frame], swept[:, frame]),
                pick(world_from_cam, targets).inverse() @ pick(world_from_cam, targets.new_tensor([frame])),
                (focal[:, targets, None], principal[:, targets, None]),
                features[:, targets],
            )
            cosine = (seen * features[:, frame].flatten(2)[:, None, :, None]).sum(2)  # (batch, target, plane, cell)
            count = (inside & known[:, frame].flatten(1)[:, None, None]).to(cosine.dtype)
            mean = (cosine * count).sum(1) / count.sum(1).clamp_min(1)
            agreement[:, frame] = mean.unflatten(2, z.shape[2:])
    return agreement


def _seen_at(
    points: tuple[Float[Tensor, "batch cell 3"], Float[Tensor, "batch plane cell"]],
    target_from_source: SE3,
    lens: tuple[Float[Tensor, "batch target 1 1 2"], Float[Tensor, "batch target 1 1 2"]],
    features: Float[Tensor, "batch target channel rows columns"],
) -> tuple[Float[Tensor, "batch target channel plane cell"], Tensor]:
    """The targets' features where points (ray, depth) of the source are, and whether the picture holds them."""
    ray, depth = points
    focal, principal = lens
    turned = ray[:, None] @ target_from_source.rotation.mT  # (batch, target, cell, 3)
    moved = turned[:, :, None] * depth[:, None, ..., None] + target_from_source.translation[:, :, None, None]
    height, width = (STRIDE * cells for cells in features.shape[-2:])
    pixel, inside = seen_pixels(moved, focal, principal, size=(height, width))
    grid = (pixel * (2 / pixel.new_tensor([width, height])) - 1).flatten(0, 1)
    seen = F.grid_sample(features.flatten(0, 1), grid, padding_mode="border", align_corners=False)
    return seen.unflatten(0, inside.shape[:2]), inside
