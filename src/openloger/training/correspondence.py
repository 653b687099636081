"""Where what one frame shows is in another: the truth that matching learns from; how much two frames have in common.

The centre of every token (patch) stands for it. What moves by itself, has no depth, or is hidden in the other frame (a
depth test) has no place there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from openloger.geometry import SE3, project, unproject
from openloger.shapes import Bool, Float, Int, Tensor
from openloger.training.clips import Clip, ClipBatch, FramePairs, stack
from openloger.training.losses import relative_motion

DEPTH_TOLERANCE = 0.05  # relative; beyond it something else is in front


@dataclass(frozen=True)
class Correspondence:
    """For every token of frame i: where its centre is in frame j."""

    target: Int[Tensor, "batch frame frame token"]  # [i, j, t]: token of j; 0 where not visible
    shift: Float[Tensor, "batch frame frame token 2"]  # from where it is in i to where it is in j; (x, y) in tokens
    visible: Bool[Tensor, "batch frame frame token"]  # False on i = j


@torch.no_grad()
def correspond(clips: ClipBatch, *, patch: int) -> Correspondence:
    """Re-project the centre of every token into every other frame of its clip and test whether it is visible there."""
    points_cam = at_centres(unproject(clips.depth.float(), clips.intrinsics.float()), patch)
    known = at_centres(clips.valid & ~clips.moving, patch).flatten(2)
    rows, cols = points_cam.shape[2:4]

    j_from_i = relative_motion(SE3.from_matrix(clips.world_from_cam.float())).inverse()
    moved = j_from_i.apply(points_cam.flatten(2, 3)[:, :, None].expand(-1, -1, len(j_from_i.rotation[0]), -1, -1))
    depth = moved[..., 2]
    pixel = torch.where((depth > 0)[..., None], project(moved, clips.intrinsics.float()[:, None]), -1.0)
    col, row = (pixel / patch).floor().unbind(-1)
    inside = (depth > 0) & (col >= 0) & (col < cols) & (row >= 0) & (row < rows)

    seen, still = _look_up(clips, pixel)
    visible = inside & still & ((depth - seen).abs() < DEPTH_TOLERANCE * depth) & known[:, :, None]
    visible &= ~torch.eye(visible.shape[1], dtype=torch.bool, device=visible.device)[None, :, :, None]
    return Correspondence(
        target=torch.where(inside, row * cols + col, 0.0).long(),
        shift=torch.where(visible[..., None], pixel / patch - _centres(rows, cols, pixel.device), 0.0),
        visible=visible,
    )


def covisibility(clip: Clip, *, patch: int) -> FramePairs:
    """The part of what one frame shows that another shows too, the lesser of both directions; 1 on the diagonal."""
    alone = stack([clip])
    seen = correspond(alone, patch=patch).visible[0].sum(-1).double()
    known = at_centres(alone.valid & ~alone.moving, patch)[0].flatten(1).sum(-1).clamp(min=1)
    part = (seen / known[:, None]).numpy()
    return np.maximum(np.minimum(part, part.T), np.eye(len(clip)))


def baseline(clip: Clip) -> FramePairs:
    """The camera's motion from one frame to another, as a part of the mean depth of all of them."""
    centre = clip.world_from_cam[:, :3, 3]
    apart = np.linalg.norm(centre[:, None] - centre, axis=-1)
    return apart / max(clip.depth[clip.valid].mean(dtype=np.float64) if clip.valid.any() else 0.0, 1e-12)


def at_centres(image: Tensor, patch: int) -> Tensor:
    """The values of a "batch frame height width ..." at the centre of every patch."""
    centre = slice(patch // 2, None, patch)
    return image[:, :, centre, centre]


def _centres(rows: int, cols: int, device: torch.device) -> Float[Tensor, "token 2"]:
    y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(cols, device=device), indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1) + 0.5


def _look_up(
    clips: ClipBatch, pixel: Float[Tensor, "batch frame frame token 2"]
) -> tuple[Float[Tensor, "batch frame frame token"], Bool[Tensor, "batch frame frame token"]]:
    """Frame j's depth at the pixels [i, j, t], and whether it is known and still there."""
    height, width = clips.depth.shape[-2:]
    batch, frames, _, tokens, _ = pixel.shape
    x = pixel[..., 0].clamp(0, width - 1).long()
    y = pixel[..., 1].clamp(0, height - 1).long()
    index = (y * width + x).transpose(1, 2).reshape(batch, frames, -1)  # by the frame looked into
    depth = clips.depth.float().flatten(2).gather(2, index)
    still = (clips.valid & ~clips.moving).flatten(2).gather(2, index)
    shape = (batch, frames, frames, tokens)
    return depth.reshape(shape).transpose(1, 2), still.reshape(shape).transpose(1, 2)
