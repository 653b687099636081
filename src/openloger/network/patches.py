"""The patches of a window that take part, where masks leave others out: tokens are dropped, not hidden from attention.

A patch takes part where at least half of its pixels are used; of a frame without any, the first does. Where all frames
of a window keep the same number, as with one mask for all, their tokens are one dense block, and attention runs as it
does without masks, on fewer tokens. Elsewhere frames are padded within themselves, and over the window the padding is
taken out before attention.

Legend: N frame of the window, P patch of a frame, K patch that takes part, S special token, C channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from openloger.errors import InputError
from openloger.shapes import Bool, Float, Int, Tensor

LEAST_USED = 0.5  # of a patch's pixels


@dataclass(frozen=True, eq=False)
class KeptPatches:
    """Of one window; `pack` takes its patches out of all, and `unpack` puts them back."""

    index: Int[Tensor, "frame kept"]  # row-major, ascending; padding repeats the last one
    valid: Bool[Tensor, "frame kept"] | None  # False: padding; None: there is none
    patches: int  # P

    @staticmethod
    def of(used: Bool[Tensor, "batch frame height width"] | None, patch: int) -> KeptPatches | None:
        """None where every patch takes part. Raises InputError for a batch of several windows, which have no masks."""
        if used is None:
            return None
        if len(used) > 1:
            raise InputError(f"masks are of one window at a time, not of a batch of {len(used)}; run them one by one")
        share = F.avg_pool2d(used[0].float(), patch).flatten(1)
        kept = share >= LEAST_USED
        if bool(kept.all()):
            return None
        kept[:, 0] |= ~kept.any(1)
        counts = kept.sum(1)
        most = int(counts.max())
        order = kept.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        place = torch.arange(most, device=used.device)
        valid = place < counts[:, None]
        last = order.gather(1, counts[:, None] - 1)
        return KeptPatches(torch.where(valid, order, last), None if bool(valid.all()) else valid, share.shape[1])

    @property
    def count(self) -> int:
        """K, padding included."""
        return self.index.shape[1]

    def frames(self, chosen: slice) -> KeptPatches:
        """Of some frames."""
        valid = None if self.valid is None else self.valid[chosen]
        return KeptPatches(self.index[chosen], valid, self.patches)

    def pack(self, patches: Float[Tensor, "frame patch channel"]) -> Float[Tensor, "frame kept channel"]:
        return patches.gather(1, self.index[..., None].expand(-1, -1, patches.shape[-1]))

    def unpack(self, kept: Float[Tensor, "frame kept channel"]) -> Float[Tensor, "frame patch channel"]:
        """Zero where a patch takes no part."""
        values = kept if self.valid is None else torch.where(self.valid[..., None], kept, 0)
        grid = kept.new_zeros(len(kept), self.patches + 1, kept.shape[-1])  # padding goes into the one that is cut off
        index = self.index if self.valid is None else torch.where(self.valid, self.index, self.patches)
        return grid.scatter(1, index[..., None].expand_as(values), values)[:, :-1]

    def positions(self, positions_yx: Float[Tensor, "token 2"], special: int) -> Float[Tensor, "frame token2 2"]:
        """Of the special tokens and the patches that take part, of those of all tokens of a frame."""
        own = positions_yx[special + self.index]
        return torch.cat([positions_yx[:special].expand(len(own), -1, -1), own], dim=1)

    def valid_tokens(self, special: int) -> Bool[Tensor, "frame token"] | None:
        """False for padding, with the special tokens in front; None where there is none."""
        return None if self.valid is None else F.pad(self.valid, (special, 0), value=True)


def parts_of(frames: int, at_once: int | None) -> list[slice]:
    """So many `frames`, cut into parts of `at_once`; None: one part."""
    if at_once is None:
        return [slice(None)]
    return [slice(first, first + at_once) for first in range(0, frames, max(at_once, 1))] or [slice(0, 0)]


def joined(parts: Sequence[Tensor]) -> Tensor:
    """The frames of all parts."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def kept_mean(
    values: Float[Tensor, "*batch frame kept channel"], kept: KeptPatches | None
) -> Float[Tensor, "*batch frame channel"]:
    """The mean over a frame's patches."""
    if kept is None or kept.valid is None:
        return values.mean(dim=-2)
    valid = kept.valid[..., None]
    return torch.where(valid, values, 0.0).sum(-2) / valid.sum(-2)
