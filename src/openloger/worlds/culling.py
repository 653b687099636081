"""Which solids each 8×8 tile of a picture must be tried against.

A solid is dropped for a frame when its sphere is outside the view, for a tile when its box is outside the tile's
pyramid or lies behind a box that covers the whole tile. All tests are conservative, so the picture is the same as
without them. Why a covering box hides what is behind its farthest corner: along a tile, 1/depth of a convex body's
front is a minimum of affine functions of the pixel, hence concave, hence smallest at the tile's corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from openloger.shapes import Tensor
from openloger.worlds.intersect import NEAREST, Vector, enter_box
from openloger.worlds.scene import BOX, Column

TILE = 8  # pixels along the side of a tile


class RayGrid(NamedTuple):
    """Per-frame numbers of the tile grid, (frame,) each: normalised place of the first pixel's centre, pixel step."""

    left: Tensor
    top: Tensor
    step_x: Tensor
    step_y: Tensor


class Listed(NamedTuple):
    """Solids in view, one entry per (frame, solid): rays in the solid's unit body are forward + X right + Y down."""

    frame: Tensor
    row: Tensor
    kind: Tensor
    origin: Vector
    right: Vector
    down: Vector
    forward: Vector
    taper: tuple[Tensor, Tensor]
    first_x: Tensor  # range of tiles, both ends included
    first_y: Tensor
    last_x: Tensor
    last_y: Tensor


def clusters_in_view(
    sphere: Tensor, frame: Tensor, camera: tuple[Tensor, Tensor, RayGrid], grid: tuple[int, int], far: Tensor
) -> Tensor:
    """Which (frame, sphere (entry, 4)) entries meet their frame's view."""
    middle = [sphere[:, axis] for axis in range(3)]
    return _sphere_in_view((middle[0], middle[1], middle[2]), sphere[:, 3], frame, camera, grid, far)


def list_solids(
    solids: Tensor,
    frame: Tensor,
    row: Tensor,
    camera: tuple[Tensor, Tensor, RayGrid],
    grid: tuple[int, int],
    far: Tensor,
) -> Listed:
    """Keeps the (frame, row) entries whose sphere meets the view, and finds the tiles that their boxes may touch.

    `camera` = (origin (frame, 3), rotation world_from_cam (frame, 3, 3), lens); `grid` = tiles (down, across).
    """
    origin, rotation, lens = camera
    centre = solids[row, Column.CENTRE], solids[row, Column.CENTRE + 1], solids[row, Column.CENTRE + 2]
    keep = _sphere_in_view(centre, solids[row, Column.RADIUS], frame, camera, grid, far)
    frame, row = frame[keep], row[keep]
    body, turn = solids[row], rotation[frame]
    away = [origin[frame, axis] - body[:, Column.CENTRE + axis] for axis in range(3)]
    local = [[body[:, 3 * k + axis] for axis in range(3)] for k in range(3)]
    start = tuple(_dot(local[k], away) for k in range(3))
    axes = [tuple(_dot(local[k], turn[:, :, j].unbind(1)) for k in range(3)) for j in range(3)]
    half = [body[:, Column.HALF + k] for k in range(3)]
    # the box's half axes and centre in camera coordinates: axes[j][k] = (world_from_local[k] · camera axis j) / half
    extent = [[axes[j][k] * half[k] * half[k] for k in range(3)] for j in range(3)]
    centre = [-_dot(turn[:, :, j].unbind(1), away) for j in range(3)]
    first_x, last_x, first_y, last_y = _tile_range(centre, extent, frame, lens, grid)
    return Listed(
        frame=frame,
        row=row,
        kind=body[:, Column.KIND],
        origin=start,
        right=axes[0],
        down=axes[1],
        forward=axes[2],
        taper=(body[:, Column.TAPER], body[:, Column.TAPER + 1]),
        first_x=first_x,
        first_y=first_y,
        last_x=last_x,
        last_y=last_y,
    )


def _sphere_in_view(
    centre: Vector,
    radius: Tensor,
    frame: Tensor,
    camera: tuple[Tensor, Tensor, RayGrid],
    grid: tuple[int, int],
    far: Tensor,
) -> Tensor:
    origin, rotation, lens = camera
    turn = rotation[frame]
    away = [centre[axis] - origin[frame, axis] for axis in range(3)]
    x, y, z = (turn[:, 0, k] * away[0] + turn[:, 1, k] * away[1] + turn[:, 2, k] * away[2] for k in range(3))
    keep = (z + radius > NEAREST) & (z - radius < far[frame])
    down, across = grid
    for side, low, step, count in ((x, lens.left, lens.step_x, across), (y, lens.top, lens.step_y, down)):
        begin = low[frame] - step[frame]
        end = low[frame] + step[frame] * (TILE * count)
        # half-spaces through the camera: side ≥ begin · z and side ≤ end · z
        keep &= (side - begin * z) > -radius * torch.sqrt(1 + begin * begin)
        keep &= (end * z - side) > -radius * torch.sqrt(1 + end * end)
    return torch.nonzero(keep)[:, 0]


def _tile_range(
    centre: list[Tensor], extent: list[list[Tensor]], frame: Tensor, lens: RayGrid, grid: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    lows, highs = [], []
    nearest = centre[2] - sum(torch.abs(extent[2][k]) for k in range(3))
    behind = nearest < 2 * NEAREST
    for axis in range(2):
        low, high = torch.full_like(nearest, float("inf")), torch.full_like(nearest, -float("inf"))
        for corner in range(8):
            sign = [1.0 if corner >> bit & 1 else -1.0 for bit in range(3)]
            side = centre[axis] + sum(sign[k] * extent[axis][k] for k in range(3))
            depth = torch.clamp(centre[2] + sum(sign[k] * extent[2][k] for k in range(3)), min=NEAREST)
            low, high = torch.minimum(low, side / depth), torch.maximum(high, side / depth)
        lows.append(low)
        highs.append(high)
    result = []
    down, across = grid
    for axis, (first, step, count) in enumerate(((lens.left, lens.step_x, across), (lens.top, lens.step_y, down))):
        # a tile is touched where the span reaches between its first and last pixel centres
        begin = torch.ceil(((lows[axis] - first[frame]) / step[frame] - (TILE - 1)) / TILE - 1e-3)
        end = torch.floor((highs[axis] - first[frame]) / step[frame] / TILE + 1e-3)
        begin, end = torch.where(behind, 0.0, begin), torch.where(behind, float(count - 1), end)
        result += [torch.clamp(begin, 0, count).long(), torch.clamp(end, -1, count - 1).long()]
    return result[0], result[1], result[2], result[3]


def try_pair(
    origin: Vector,
    right: Vector,
    down: Vector,
    forward: Vector,
    taper: tuple[Tensor, Tensor],
    span: tuple[Tensor, Tensor, Tensor, Tensor],
    is_box: Tensor,
) -> tuple[Tensor, Tensor]:
    """(least depth at which the tile's rays can meet the solid, inf for never; depth behind which it hides all).

    `span` = normalised coordinates (x first, x last, y first, y last) of the tile's outer pixel centres.
    """
    x0, x1, y0, y1 = span
    corners = []
    for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
        corners.append(tuple(forward[k] + x * right[k] + y * down[k] for k in range(3)))
    least = torch.full_like(x0, NEAREST)
    met = torch.ones_like(x0, dtype=torch.bool)
    for axis in range(3):
        steepest_up = torch.amax(torch.stack([corner[axis] for corner in corners]), dim=0)
        steepest_down = -torch.amin(torch.stack([corner[axis] for corner in corners]), dim=0)
        above, below = origin[axis] > 1.0, origin[axis] < -1.0
        speed = torch.where(above, steepest_down, steepest_up)
        gap = torch.abs(origin[axis]) - 1.0
        outside = above | below
        met &= ~(outside & (speed <= 0))
        least = torch.where(outside & (speed > 0), torch.maximum(least, gap / torch.clamp(speed, min=1e-20)), least)
    for number in range(4):
        a, b, c = corners[number], corners[(number + 1) % 4], corners[(number + 2) % 4]
        n = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
        inward = n[0] * c[0] + n[1] * c[1] + n[2] * c[2]
        reach = torch.abs(n[0]) + torch.abs(n[1]) + torch.abs(n[2])
        offset = n[0] * origin[0] + n[1] * origin[1] + n[2] * origin[2]
        slack = 1e-4 * (reach + torch.abs(offset))
        met &= reach - torch.where(inward < 0, -offset, offset) > -slack
    entries = [enter_box(origin, corner, taper[0], taper[1]) for corner in corners]
    cover = torch.maximum(torch.maximum(entries[0], entries[1]), torch.maximum(entries[2], entries[3]))
    infinity = float("inf")
    return torch.where(met, least * 0.999, infinity), torch.where(is_box & met, cover * 1.001, infinity)


def list_pairs(listed: Listed, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """All (entry of `listed`, tile) within the entries' tile ranges; tiles are numbered frame by frame, row by row."""
    wide = torch.clamp(listed.last_x - listed.first_x + 1, min=0)
    count = wide * torch.clamp(listed.last_y - listed.first_y + 1, min=0)
    entry = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    begin = torch.cumsum(count, 0) - count
    number = torch.arange(len(entry), device=count.device) - begin[entry]
    across = wide[entry]
    tile_y = listed.first_y[entry] + torch.div(number, across, rounding_mode="floor")
    tile_x = listed.first_x[entry] + number % across
    return entry, (listed.frame[entry] * grid[0] + tile_y) * grid[1] + tile_x


def is_box(listed: Listed) -> Tensor:
    return listed.kind == BOX


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
