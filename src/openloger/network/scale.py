"""The memory of scale: one log scale a window, from its tokens and from frames shared with the window before.

Depth of a single window is right up to a factor that its pictures hardly determine. Shared frames determine the factor
between two windows, o = median(log ẑ_before − log ẑ) over the nearer half of them, as errors of depth grow with depth
and sky has none; the window's tokens, to which the memory layers have added, carry evidence of their own. A gain g in
(0, 1) and an offset a, predicted from the tokens' mean, give

    log s = g · o + a,

the update of a Kalman filter (R. E. Kalman, 1960) whose gain is learned: g near 1 follows the window before, whose
errors accumulate, and g near 0 trusts the window itself. A first window has o = 0.

Legend: B batch, N frame of the window, L token, O shared frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

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
        log_depth: Float[Tensor, "batch frame row column"],
        before: Float[Tensor, "batch shared row column"] | None,
    ) -> Float[Tensor, " batch"]:
        """The log scale of a window whose first frames are those of `before`, both as `cell_means` gives them.

        Where no cell is known in both, o = 0, as without a window before.
        """
        offset, gain = self.mlp(self.norm(tokens.mean(dim=(1, 2)))).unbind(-1)
        if before is None:
            return offset
        shared = min(before.shape[1], log_depth.shape[1])
        return gain.sigmoid() * scale_step(before[:, :shared], log_depth[:, :shared]) + offset


def scale_step(
    before: Float[Tensor, "batch shared row column"], log_depth: Float[Tensor, "batch shared row column"]
) -> Float[Tensor, " batch"]:
    """The median of before − log_depth over the nearer half of the cells by the mean of both; of known cells alone.

    On streams of worlds the median of all cells was off by 0.044 (standard deviation, and up to 0.025 on average, in
    streets), that of the nearer half by 0.041 (0.010).
    """
    steps, twice_log_mean = (before - log_depth).flatten(1), (before + log_depth).flatten(1)
    near = twice_log_mean <= twice_log_mean.nanmedian(dim=1, keepdim=True).values
    return steps.masked_fill(~near, torch.nan).nanmedian(dim=1).values.nan_to_num(0.0)


def cell_means(
    depth: Float[Tensor, "batch frame height width"], used: Bool[Tensor, "batch frame height width"] | None = None
) -> Float[Tensor, "batch frame row column"]:
    """Mean log depth of cells of CELL × CELL pixels; NaN where not all of a cell's pixels are `used`."""
    means = F.avg_pool2d(depth.log(), CELL)
    if used is None:
        return means
    hidden = F.max_pool2d((~used).float(), CELL)
    return means.masked_fill(hidden > 0, torch.nan)
