"""Points of frames and the pixels where flow has them, for all edges of a window."""

from __future__ import annotations

import torch

from openloger.geometry import SE3
from openloger.network.motion.flow import EdgeFlow, Edges, cell_centres
from openloger.network.motion.pose import LEAST_DEPTH, Matches
from openloger.shapes import Bool, Float, Int, Tensor


def edge_matches(
    flow: EdgeFlow,
    edges: Edges,
    depth: Float[Tensor, "batch frame height width"],
    intrinsics: Float[Tensor, "batch frame 3 3"],
) -> Matches:
    """Points of the source's cells and the pixels where the flow has them; batch and edge in one axis."""
    height, width = depth.shape[-2:]
    centres = cell_centres(height, width, like=depth)
    z, known = cell_depth(depth)
    focal, principal = intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2], intrinsics[..., :2, 2]
    ray = (centres - principal[:, :, None, None]) / focal[:, :, None, None]
    points = torch.cat([ray, torch.ones_like(ray[..., :1])], -1) * z[..., None]  # (batch, frame, r, c, 3)
    weight = flow.weight * flow.inside * known[:, edges.source]
    return Matches(
        point=points[:, edges.source].flatten(2, 3).flatten(0, 1).mT.contiguous(),
        pixel=(centres + flow.shift_px).flatten(2, 3).flatten(0, 1).mT.contiguous(),
        weight=weight.flatten(2).flatten(0, 1),
        focal_px=focal[:, edges.target].flatten(0, 1),
        principal_px=principal[:, edges.target].flatten(0, 1),
    )


def cell_depth(
    depth: Float[Tensor, "batch frame height width"],
) -> tuple[Float[Tensor, "batch frame rows columns"], Bool[Tensor, "batch frame rows columns"]]:
    """Depth at the centres of the cells and where it is known: 1 / mean(1 / z) of four pixels, exact on planes."""
    known = depth.isfinite() & (depth > 0)
    inverse = 1 / torch.where(known, depth, 1.0)
    first = slice(1, None, 4), slice(2, None, 4)
    four = [(..., rows, columns) for rows in first for columns in first]
    all_known = torch.stack([known[place] for place in four]).all(0)
    return 4 / torch.stack([inverse[place] for place in four]).sum(0), all_known


def seen_pixels(
    points: Float[Tensor, "*point 3"],
    focal_px: Float[Tensor, "*lens 2"],
    principal_px: Float[Tensor, "*lens 2"],
    *,
    size: tuple[int, int],
) -> tuple[Float[Tensor, "*point 2"], Bool[Tensor, "*point"]]:
    """The pixels of points in a camera's frame, and whether its picture of (height, width) holds them."""
    pixel = points[..., :2] / points[..., 2:].clamp_min(LEAST_DEPTH) * focal_px + principal_px
    inside = ((pixel > 0) & (pixel < pixel.new_tensor([size[1], size[0]]))).all(-1)
    return pixel, inside & (points[..., 2] > LEAST_DEPTH)


def pick(transform: SE3, frame: Int[Tensor, " edge"]) -> SE3:
    """The transforms (batch, frame) of some frames."""
    return SE3(transform.rotation[:, frame], transform.translation[:, frame])
