"""Which token sees the same thing: an auxiliary loss that teaches a network from scratch to find motion.

With the reconstruction losses alone a small network learns depth and hardly any rotation. So the queries and keys of
one middle decoder block are asked to correspond: the softmax over another frame's tokens should pick the one that
this token's centre truly re-projects to. Only tokens whose centre is visible in the other frame count (a depth test),
and nothing that moves. The loss is dropped after training; the network itself is unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from openloger.geometry import SE3, project, unproject
from openloger.shapes import Bool, Float, Int, Tensor
from openloger.training.clips import ClipBatch
from openloger.training.losses import relative_motion

DEPTH_TOLERANCE = 0.05  # relative; beyond it something else is in front


@dataclass(frozen=True)
class Correspondence:
    """For every token of frame i: where its centre is in frame j."""

    target: Int[Tensor, "batch frame frame token"]  # [i, j, t]: token of j; 0 where not visible
    visible: Bool[Tensor, "batch frame frame token"]  # False on i = j


@dataclass(frozen=True)
class MatchResult:
    """The loss and how often the best-matching token is the right one."""

    loss: Float[Tensor, ""]
    top1: Float[Tensor, ""]  # 0..1, without gradient
    same_position: Float[Tensor, ""]  # what answering "the same place" would get


def mean_match(results: list[MatchResult]) -> MatchResult:
    """The mean over windows."""
    return MatchResult(
        *(
            torch.stack([getattr(result, name) for result in results]).mean()
            for name in ("loss", "top1", "same_position")
        )
    )


@dataclass
class TokenProbe:
    """Holds the queries and keys of forward passes, "batch head token head_dim" with all frames' tokens."""

    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)

    def take(self) -> list[tuple[Tensor, Tensor]]:
        """Queries and keys of every pass since the last time; the probe is empty afterwards."""
        heard = list(zip(self.queries, self.keys, strict=True))
        self.queries.clear()
        self.keys.clear()
        return heard


@contextmanager
def probe_tokens(block: nn.Module) -> Iterator[TokenProbe]:
    """Listen to a decoder block's normalised queries and keys while the context lasts."""
    probe = TokenProbe()
    attention = block.get_submodule("attention")
    handles = [
        attention.get_submodule(name).register_forward_hook(partial(_keep, into))
        for name, into in (("q_norm", probe.queries), ("k_norm", probe.keys))
    ]
    try:
        yield probe
    finally:
        for handle in handles:
            handle.remove()


def _keep(into: list[Tensor], _module: nn.Module, _inputs: object, output: Tensor) -> None:
    into.append(output)


def middle_block(depth: int) -> int:
    """The decoder block to probe: the window-attention (odd) block nearest the middle."""
    return min(depth - 1, depth // 2 | 1)


@torch.no_grad()
def correspond(clips: ClipBatch, *, patch: int) -> Correspondence:
    """Re-project the centre of every token into every other frame of its clip and look whether it is seen there."""
    centre = slice(patch // 2, None, patch)
    points_cam = unproject(clips.depth.float(), clips.intrinsics.float())[:, :, centre, centre]
    known = (clips.valid & ~clips.moving)[:, :, centre, centre].flatten(2)
    rows, cols = points_cam.shape[2:4]

    j_from_i = relative_motion(SE3.from_matrix(clips.world_from_cam.float())).inverse()
    moved = j_from_i.apply(points_cam.flatten(2, 3)[:, :, None].expand(-1, -1, len(j_from_i.rotation[0]), -1, -1))
    depth = moved[..., 2]
    pixel = torch.where((depth > 0)[..., None], project(moved, clips.intrinsics.float()[:, None]), -1.0)
    col, row = (pixel / patch).floor().unbind(-1)
    inside = (depth > 0) & (col >= 0) & (col < cols) & (row >= 0) & (row < rows)

    target = torch.where(inside, row * cols + col, 0.0).long()
    seen, still = _look_up(clips, pixel)
    visible = inside & still & ((depth - seen).abs() < DEPTH_TOLERANCE * depth) & known[:, :, None]
    frames = visible.shape[1]
    different = ~torch.eye(frames, dtype=torch.bool, device=visible.device)[None, :, :, None]
    return Correspondence(target, visible & different)


def match_loss(
    query: Float[Tensor, "batch head token head_dim"],
    key: Float[Tensor, "batch head token head_dim"],
    correspondence: Correspondence,
    *,
    special_tokens: int,
) -> MatchResult:
    """Cross-entropy of the right token among the other frame's, heads taken together as one wide vector."""
    batch, frames, _, tokens = correspondence.target.shape
    query, key = (_patch_tokens(side, batch, frames, special_tokens) for side in (query, key))
    logits = torch.einsum("bitc,bjuc->bijtu", query, key) * query.shape[-1] ** -0.5
    chosen = correspondence.visible
    logits, target = logits[chosen], correspondence.target[chosen]
    position = torch.arange(tokens, device=target.device).expand_as(chosen)[chosen]
    count = max(1, len(target))
    return MatchResult(
        loss=F.cross_entropy(logits, target, reduction="sum") / count,
        top1=(logits.detach().argmax(-1) == target).sum() / count,
        same_position=(position == target).sum() / count,
    )


def _patch_tokens(
    side: Tensor, batch: int, frames: int, special_tokens: int
) -> Float[Tensor, "batch frame token channel"]:
    wide = side.float().transpose(1, 2).flatten(2)  # (batch or batch·frame, token, channel)
    return wide.reshape(batch, frames, -1, wide.shape[-1])[:, :, special_tokens:]


def _look_up(
    clips: ClipBatch, pixel: Float[Tensor, "batch frame frame token 2"]
) -> tuple[Float[Tensor, "batch frame frame token"], Bool[Tensor, "batch frame frame token"]]:
    """Frame j's depth at the pixels [i, j, t], and whether it is known and still there."""
    height, width = clips.depth.shape[-2:]
    batch, frames, _, tokens, _ = pixel.shape
    x = pixel[..., 0].clamp(0, width - 1).long()
    y = pixel[..., 1].clamp(0, height - 1).long()
    index = (y * width + x).transpose(1, 2).reshape(batch, frames, -1)  # by the frame looked into
    depth = clips.depth.float().flatten(2).gather(2, index)
    still = (clips.valid & ~clips.moving).flatten(2).gather(2, index)
    shape = (batch, frames, frames, tokens)
    return depth.reshape(shape).transpose(1, 2), still.reshape(shape).transpose(1, 2)
