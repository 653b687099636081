"""Coarse matches: which cell of stride 8 of one picture is which of another, from frozen features; nothing is trained.

Feature maps of strides 8 and 16 are centred, normalised and joined into one descriptor a cell. The best of all cells,
then the soft arg-max around it, gives a flow that needs no start and has no limit in length.

Legend: P pair, r c rows and columns of cells, N = r · c.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from openloger.network.correlation import cells_in_turn
from openloger.shapes import Float, Tensor

STRIDE = 8  # pixels
RADIUS = 3  # cells around the best one, for the soft arg-max
TEMPERATURE = 12.0  # multiplies the cosine similarities


def describe(
    stride8: Float[Tensor, "image c8 rows columns"], stride16: Float[Tensor, "image c16 rows16 columns16"]
) -> Float[Tensor, "image channel rows columns"]:
    """Descriptors of unit length, one a cell of stride 8; maps of stride 16 are ceil(rows / 2) high."""
    rows, columns = stride8.shape[-2:]
    coarse = F.interpolate(stride16.float(), scale_factor=2, mode="bilinear", align_corners=False)
    maps = [centred_unit(stride8.float()), centred_unit(coarse[..., :rows, :columns])]
    return F.normalize(torch.cat(maps, dim=1), dim=1)


def match(
    source: Float[Tensor, "pair channel rows columns"], target: Float[Tensor, "pair channel rows columns"]
) -> Float[Tensor, "pair 2 rows columns"]:
    """Flow in pixels (x, y) from the cells' centres in source to target; a 3 × 3 median removes single wrong cells."""
    rows, columns = source.shape[-2:]
    ours, theirs = source.flatten(2).mT, target.flatten(2)
    found = [
        _soft_arg_max(torch.bmm(ours[:, some], theirs), size=(rows, columns))  # of (P, some of N source, N target)
        for some in cells_in_turn(len(source), rows * columns)
    ]
    x, y = (torch.cat(places, 1) for places in zip(*found, strict=True))
    at = torch.arange(rows * columns, device=source.device)
    flow = torch.stack([x - at % columns, y - at // columns], 1) * STRIDE
    return median_3x3(flow.unflatten(-1, (rows, columns)))


def median_3x3(maps: Float[Tensor, "image channel rows columns"]) -> Float[Tensor, "image channel rows columns"]:
    """The median of each cell and its eight neighbours, edges replicated."""
    rows, columns = maps.shape[-2:]
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    around = [padded[..., y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    return torch.stack(around).median(0).values


def centred_unit(maps: Float[Tensor, "image channel row column"]) -> Float[Tensor, "image channel row column"]:
    """Less the mean over the picture, then of unit length in every cell."""
    return F.normalize(maps - maps.mean((2, 3), keepdim=True), dim=1)


def _soft_arg_max(
    similarity: Float[Tensor, "pair some n"], *, size: tuple[int, int]
) -> tuple[Float[Tensor, "pair some"], Float[Tensor, "pair some"]]:
    """Mean column and row of the cells within RADIUS of the best one, weighted by softmax."""
    rows, columns = size
    best = similarity.argmax(-1)
    reach = torch.arange(-RADIUS, RADIUS + 1, device=best.device)
    y = (best // columns)[..., None, None] + reach[:, None]  # (P, N, 7, 1)
    x = (best % columns)[..., None, None] + reach  # (P, N, 1, 7)
    inside = ((y >= 0) & (y < rows) & (x >= 0) & (x < columns)).flatten(2)
    index = (y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)).flatten(2)  # (P, N, 49)
    weight = (TEMPERATURE * similarity.gather(2, index)).masked_fill(~inside, -torch.inf).softmax(-1)
    return (weight * (index % columns)).sum(-1), (weight * (index // columns)).sum(-1)
