"""Surface properties of depth and point maps: depth edges and normals."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from openloger.shapes import Bool, Float, Tensor


def depth_edges(
    depth: Float[Tensor, "*batch height width"], *, relative: float = 0.03
) -> Bool[Tensor, "*batch height width"]:
    """True where the depth range of a pixel's 3 × 3 neighbourhood is over `relative` times the pixel's own depth.

    A depth that is not finite and positive is no surface: it and its neighbours are edges.
    """
    height, width = depth.shape[-2:]
    valid = depth.isfinite() & (depth > 0)
    maps = torch.where(valid, depth, torch.inf).reshape(-1, 1, height, width)
    largest = F.max_pool2d(maps, 3, stride=1, padding=1)
    smallest = -F.max_pool2d(-maps, 3, stride=1, padding=1)
    smooth = largest - smallest <= relative * maps  # False where a neighbour is no surface: its depth is infinite
    return ~(smooth.reshape(depth.shape) & valid)


def normals_from_points(
    points: Float[Tensor, "*batch height width 3"],
) -> Float[Tensor, "*batch height width 3"]:
    """Unit normals of camera-frame points, turned towards the camera at the origin.

    The normal is the area-weighted sum of the four triangles that a pixel forms with its right, lower, left and upper
    neighbours, which is the cross product of the central differences; at the border the missing neighbour is the
    pixel itself. It is zero where the neighbours lie on a line or are not finite.
    """
    right = torch.cat([points[..., 1:, :], points[..., -1:, :]], -2)
    left = torch.cat([points[..., :1, :], points[..., :-1, :]], -2)
    below = torch.cat([points[..., 1:, :, :], points[..., -1:, :, :]], -3)
    above = torch.cat([points[..., :1, :, :], points[..., :-1, :, :]], -3)
    normal = torch.cross(below - above, right - left, dim=-1)
    length = torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
    defined = (length > 0) & length.isfinite()
    unit = torch.where(defined, normal, 0.0) / torch.where(defined, length, 1.0)
    away = (unit * points).sum(-1, keepdim=True) > 0
    return torch.where(away, -unit, unit)
