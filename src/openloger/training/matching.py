"""Auxiliary losses that teach a network from scratch to find motion: matches between tokens, and their displacement.

With the reconstruction losses alone a small network learns depth and hardly any rotation. So some blocks that attend
over the window are recorded. L_match makes their queries and keys correspond: the softmax over another frame's
tokens should pick the one that this token's centre truly re-projects to. L_shift demands what follows from a match, so
that it is not only found but passed on: the first two channels of a token, as it leaves the block, are to be the way to
where its surface is in the other frames. Both are dropped after training; the network itself is unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from openloger.shapes import Float, Tensor
from openloger.training.correspondence import Correspondence

FLOW_STRIDE = 8  # pixels
CLOSE = 1.0  # tokens; a shift that is further off counts by its distance, a nearer one by its square


@dataclass(frozen=True)
class MatchResult:
    """Both losses, and how often the best-matching token is the right one."""

    loss: Float[Tensor, ""]
    shift: Float[Tensor, ""]
    top1: Float[Tensor, ""]  # 0..1, without gradient
    same_position: Float[Tensor, ""]  # what answering "the same place" would get


def mean_match(results: list[MatchResult]) -> MatchResult:
    """The mean over windows and blocks."""
    return MatchResult(
        *(
            torch.stack([getattr(result, name) for result in results]).mean()
            for name in ("loss", "shift", "top1", "same_position")
        )
    )


class BlockPass(NamedTuple):
    """One pass through a block, all frames' tokens in a row."""

    query: Float[Tensor, "batch head token head_dim"]  # normed, not yet turned by its position
    key: Float[Tensor, "batch head token head_dim"]
    output: Float[Tensor, "batch token channel"]


@dataclass
class TokenProbe:
    """The queries, keys and outputs of a block, recorded in forward passes."""

    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def take(self) -> list[BlockPass]:
        """Every pass since the last time; the probe is empty afterwards."""
        passes = [BlockPass(*one) for one in zip(self.queries, self.keys, self.outputs, strict=True)]
        for kept in (self.queries, self.keys, self.outputs):
            kept.clear()
        return passes


@contextmanager
def probe_tokens(block: nn.Module) -> Iterator[TokenProbe]:
    """Record a decoder block's passes while the context lasts."""
    probe = TokenProbe()
    parts = {"attention.q_norm": probe.queries, "attention.k_norm": probe.keys, "": probe.outputs}
    handles = [block.get_submodule(name).register_forward_hook(partial(_keep, into)) for name, into in parts.items()]
    try:
        yield probe
    finally:
        for handle in handles:
            handle.remove()


def _keep(into: list[Tensor], _module: nn.Module, _inputs: object, output: Tensor) -> None:
    into.append(output)


def matching_blocks(depth: int) -> tuple[int, ...]:
    """The recorded decoder blocks: the window-attention (odd) one nearest the middle, and the one before it."""
    middle = min(depth - 1, depth // 2 | 1)
    return tuple(block for block in (middle - 2, middle) if block > 0)


def match(block_pass: BlockPass, correspondence: Correspondence, *, special_tokens: int) -> MatchResult:
    """The output of one block for one window."""
    frames, tokens = correspondence.target.shape[2:]
    query, key = (_patch_tokens(side.transpose(1, 2).flatten(2), frames, special_tokens) for side in block_pass[:2])
    logits = torch.einsum("bitc,bjuc->bijtu", query, key) * query.shape[-1] ** -0.5
    chosen = correspondence.visible
    logits, target = logits[chosen], correspondence.target[chosen]
    position = torch.arange(tokens, device=target.device).expand_as(chosen)[chosen]
    count = max(1, len(target))
    return MatchResult(
        loss=F.cross_entropy(logits, target, reduction="sum") / count,
        shift=shift_loss(_patch_tokens(block_pass.output, frames, special_tokens), correspondence),
        top1=(logits.detach().argmax(-1) == target).sum() / count,
        same_position=(position == target).sum() / count,
    )


def shift_loss(tokens: Float[Tensor, "batch frame token channel"], correspondence: Correspondence) -> Float[Tensor, ""]:
    """Huber loss, in tokens, of the first two channels against the mean shift to the frames that show the same,
    over the tokens that any other frame shows."""
    seen = correspondence.visible.sum(2)  # batch frame token: by how many frames
    shift = correspondence.shift.sum(2) / seen.clamp(min=1)[..., None]
    off = F.huber_loss(tokens[..., :2], shift, reduction="none", delta=CLOSE).sum(-1)
    return torch.where(seen > 0, off, 0.0).sum() / (seen > 0).sum().clamp(min=1)


def flow_loss(flow_px: Float[Tensor, "batch frame 4 row column"], cells: Correspondence) -> Float[Tensor, ""]:
    """Huber loss, in cells, of the flow to both neighbours in a window, over the cells that they show.

    `cells` are correspondences at the flow's own stride.
    """
    frames = flow_px.shape[1]
    predicted = flow_px.float().flatten(3).unflatten(2, (2, 2)) / FLOW_STRIDE  # batch frame direction xy cell
    total, count = predicted.sum() * 0, predicted.new_zeros(())
    for direction, shift in enumerate((-1, 1)):
        own = torch.arange(max(0, -shift), frames - max(0, shift), device=flow_px.device)
        truth, seen = cells.shift[:, own, own + shift], cells.visible[:, own, own + shift]
        off = F.huber_loss(predicted[:, own, direction].mT, truth, reduction="none", delta=CLOSE).sum(-1)
        total, count = total + torch.where(seen, off, 0.0).sum(), count + seen.sum()
    return total / count.clamp(min=1)


def _patch_tokens(
    tokens: Float[Tensor, "batch token channel"], frames: int, special_tokens: int
) -> Float[Tensor, "batch frame patch channel"]:
    return tokens.float().unflatten(1, (frames, -1))[:, :, special_tokens:]
