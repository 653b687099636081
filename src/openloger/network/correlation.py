"""Correlation of a frame's features with its neighbours': the local correlation volume of optical flow
(PWC-Net, arXiv 1709.02371; RAFT, arXiv 2003.12039), as an input to the decoder and the dense head.

Legend: B batch, N frame, C channel, h·w cell of a feature map, R radius in cells, K = (2R + 1)² displacements,
D = 2 directions: to the previous and to the next frame of the window.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from openloger.network.patches import parts_of
from openloger.shapes import Bool, Float, Int, Tensor

MOST_AT_ONCE = 2**24  # similarities of cells with all cells of another map, which grow as the square of the picture
_SHARPNESS = 10.0  # the soft arg-max multiplies cosine similarities by this


@lru_cache(maxsize=64)
def neighbour_index(rows: int, columns: int, radius: int) -> Int[Tensor, "cell shift"]:
    """For every cell, the flat indices of the cells within `radius`; `rows * columns` for those outside the map."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    dy, dx = torch.meshgrid(*(torch.arange(-radius, radius + 1),) * 2, indexing="ij")
    y, x = y.flatten()[:, None] + dy.flatten(), x.flatten()[:, None] + dx.flatten()
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    return torch.where(inside, y * columns + x, rows * columns)


def local_correlation(
    own: Float[Tensor, "pair channel row column"], other: Float[Tensor, "pair channel row column"], *, radius: int
) -> Float[Tensor, "pair shift row column"]:
    """Cosine similarity of every cell with the other frame's cells around the same place; 0 outside the map.

    All pairs of cells are multiplied and the near ones gathered: for the small maps this is meant for, one matrix
    product is faster than (2R + 1)² shifted ones. Of larger maps cells take turns (`cells_in_turn`).
    """
    rows, columns = own.shape[-2:]
    own, other = (F.normalize(side.flatten(2), dim=1, eps=1e-6) for side in (own, other))
    index = neighbour_index(rows, columns, radius).to(own.device).expand(len(own), -1, -1)
    near = [
        F.pad(own.mT[:, some] @ other, (0, 1)).gather(2, index[:, some])  # of (pair, some of h·w, h·w + 1)
        for some in cells_in_turn(len(own), rows * columns)
    ]
    return torch.cat(near, 1).mT.unflatten(2, (rows, columns))


def cells_in_turn(pairs: int, cells: int) -> list[slice]:
    """The cells of one side of all pairs, in parts that have at most `MOST_AT_ONCE` similarities with the other."""
    return parts_of(cells, max(1, MOST_AT_ONCE // max(1, pairs * cells)))


def soft_argmax(volume: Float[Tensor, "pair shift row column"]) -> Float[Tensor, "pair 3 row column"]:
    """The mean displacement (x, y) in cells under a softmax of the similarities, and the largest similarity."""
    radius = (round(volume.shape[1] ** 0.5) - 1) // 2
    step = torch.arange(-radius, radius + 1, device=volume.device, dtype=volume.dtype)
    dy, dx = (axis.flatten() for axis in torch.meshgrid(step, step, indexing="ij"))
    weight = (volume * _SHARPNESS).softmax(dim=1)
    shifts = torch.einsum("pkhw,kc->pchw", weight, torch.stack([dx, dy], dim=1))
    return torch.cat([shifts, volume.amax(dim=1, keepdim=True)], dim=1)


def to_neighbours(maps: Float[Tensor, "batch frame channel row column"]) -> tuple[Tensor, Tensor]:
    """The pairs (own, other) of maps: all but the first frame with their predecessors, then all but the last with their
    successors; (2·batch·(frame − 1), channel, row, column) each."""
    ahead, behind = maps[:, 1:].flatten(0, 1), maps[:, :-1].flatten(0, 1)
    return torch.cat([ahead, behind]), torch.cat([behind, ahead])


def by_frame(
    pairs: Float[Tensor, "pair channel row column"], *, batch: int, frames: int
) -> Float[Tensor, "batch frame channel2 row column"]:
    """Both directions of `to_neighbours` side by side on the channel axis; zeros where there is no such neighbour."""
    previous, following = pairs.unflatten(0, (2, batch, frames - 1))
    none = pairs.new_zeros(batch, 1, *pairs.shape[1:])
    return torch.cat([torch.cat([none, previous], dim=1), torch.cat([following, none], dim=1)], dim=2)


class NeighbourCorrelation(nn.Module):
    """Correlation with both neighbours at one level of the pyramid, as features; `flow` is in cells.

    Args:
        channels: of the feature map.
        projected: channels that are compared.
        width: of the features of one direction.
        radius: in cells.
    """

    def __init__(self, channels: int, *, projected: int, width: int, radius: int = 4) -> None:
        super().__init__()
        self.radius, self.width = radius, width
        self.norm = nn.GroupNorm(1, channels)
        self.project = nn.Conv2d(channels, projected, 1)
        self.first = nn.Conv2d((2 * radius + 1) ** 2 + 3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.flow = nn.Conv2d(width, 2, 1)
        nn.init.zeros_(self.flow.weight)

    def forward(
        self,
        maps: Float[Tensor, "batch frame channel row column"],
        used: Bool[Tensor, "batch frame row column"] | None = None,
    ) -> tuple[Float[Tensor, "batch frame channel2 row column"], Float[Tensor, "batch frame 4 row column"]]:
        """Features (2·width channels) and flow (x, y to the previous frame, x, y to the next).

        Cells that are not `used` resemble none, as if they were outside the map.
        """
        batch, frames = maps.shape[:2]
        if frames == 1:
            shape = (batch, 1, 2 * self.width, *maps.shape[-2:])
            return maps.new_zeros(shape), maps.new_zeros(batch, 1, 4, *maps.shape[-2:])
        projected = self.project(self.norm(maps.flatten(0, 1))).unflatten(0, (batch, frames))
        projected = projected if used is None else projected * used[:, :, None]
        volume = local_correlation(*to_neighbours(projected), radius=self.radius)
        peak = soft_argmax(volume)
        features = F.relu(self.second(F.relu(self.first(torch.cat([volume, peak], dim=1)))))
        flow = peak[:, :2] + self.flow(features)
        return (
            by_frame(features, batch=batch, frames=frames),
            by_frame(flow, batch=batch, frames=frames),
        )
