"""The memory of scale: one log scale a window, from its tokens and from frames shared with the window before.

Depth of a single window is right up to a factor that its pictures hardly determine. Shared frames determine the factor
between two windows, o = median(log ẑ_before − log ẑ); the window's tokens, to which the memory layers have added, carry
evidence of their own. A gain g in (0, 1) and an offset a, predicted from the tokens' mean, give

    log s = g · o + a,

the update of a Kalman filter (R. E. Kalman, 1960) whose gain is learned: g near 1 follows the window before, whose
errors accumulate, and g near 0 trusts the window itself. A first window has o = 0.

Legend: B batch, N frame of the window, L token, O shared frame.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from openloger.shapes import Float, Tensor

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
        tokens: Float[Tensor, "batch frame token channel"],
        log_depth: Float[Tensor, "batch frame row column"],
        before: Float[Tensor, "batch shared row column"] | None,
    ) -> Float[Tensor, " batch"]:
        """The log scale of a window whose first frames are those of `before`, both as `cell_means` gives them."""
        offset, gain = self.mlp(self.norm(tokens.mean(dim=(1, 2)))).unbind(-1)
        if before is None:
            return offset
        shared = min(before.shape[1], log_depth.shape[1])
        step = (before[:, :shared] - log_depth[:, :shared]).flatten(1).median(dim=1).values
        return gain.sigmoid() * step + offset


def cell_means(depth: Float[Tensor, "batch frame height width"]) -> Float[Tensor, "batch frame row column"]:
    """Mean log depth of cells of CELL × CELL pixels."""
    return F.avg_pool2d(depth.log(), CELL)
