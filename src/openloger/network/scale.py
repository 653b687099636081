"""The memory of scale: one log scale a window, from its tokens and from frames shared with the window before.

Depth of a single window is right up to a factor that its pictures hardly determine. Shared frames determine the factor
between two windows, o = median(log ẑ_before − log ẑ), each cell weighed by how sure both windows are of it; the
window's tokens, to which the memory layers have added, carry evidence of their own. A gain g in (0, 1) and an offset a,
predicted from the tokens' mean, give

    log s = g · o + a,

the update of a Kalman filter (R. E. Kalman, 1960) whose gain is learned: g near 1 follows the window before, whose
errors accumulate, and g near 0 trusts the window itself. A first window has o = 0.

Legend: B batch, N frame of the window, L token, O shared frame; two: a cell's log depth and its weight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from openloger.geometry import weighted_median
from openloger.shapes import Bool, Float, Tensor

CELL = 16  # pixels along a side of the cells whose mean log depth is compared and carried
_HIDDEN = 128


class ScaleMemory(nn.Module):
    """The gain and the offset of a window; untrained, g is one half and a is zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 2))
        for parameter in self.mlp[2].parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        tokens: Float[Tensor, "batch _ _ channel"],
        cells: Float[Tensor, "batch frame two=2 row column"],
        before: Float[Tensor, "batch shared two=2 row column"] | None,
    ) -> Float[Tensor, " batch"]:
        """The log scale of a window whose first frames are those of `before`, both as `depth_cells` gives them.

        Where no cell is known in both, o = 0, as without a window before.
        """
        offset, gain = self.mlp(self.norm(tokens.mean(dim=(1, 2)))).unbind(-1)
        if before is None:
            return offset
        shared = min(before.shape[1], cells.shape[1])
        return gain.sigmoid() * scale_step(before[:, :shared], cells[:, :shared]) + offset


def scale_step(
    before: Float[Tensor, "batch shared two=2 row column"], now: Float[Tensor, "batch shared two=2 row column"]
) -> Float[Tensor, " batch"]:
    """The median of log depth before − now, each cell weighed by the square of both weights' product; 0 without any.

    On three streams of worlds it was off by 0.031 to 0.035 (standard deviation), the median over the nearer half of
    the cells by 0.044 to 0.047.
    """
    step = (before[:, :, 0] - now[:, :, 0]).flatten(1)
    weight = (before[:, :, 1] * now[:, :, 1]).square().flatten(1)
    return torch.where(weight.sum(1) > 0, weighted_median(step, weight), 0.0)


def depth_cells(
    depth: Float[Tensor, "batch frame height width"],
    confidence: Float[Tensor, "batch frame height width"],
    ignored: Bool[Tensor, "batch frame height width"] | None = None,
    hidden: Bool[Tensor, "batch frame height width"] | None = None,
) -> Float[Tensor, "batch frame two=2 row column"]:
    """Mean log depth of cells of CELL × CELL pixels, and their mean confidence, without gradient.

    Pixels that are `ignored`, as sky, have no confidence; a cell with pixels that are `hidden` has neither.
    """
    weight = confidence.detach() if ignored is None else confidence.detach().masked_fill(ignored, 0.0)
    if hidden is not None:
        depth = depth.masked_fill(hidden, 1.0)
    log_depth, weight = F.avg_pool2d(depth.log(), CELL), F.avg_pool2d(weight, CELL)
    if hidden is not None:
        weight = weight * (F.max_pool2d(hidden.float(), CELL) == 0)
    return torch.stack([log_depth, weight], 2)
