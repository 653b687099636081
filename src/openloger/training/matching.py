"""Auxiliary losses that teach a network from scratch to find motion: matches between tokens, and their displacement.

With the reconstruction losses alone a small network learns depth and hardly any rotation. So some blocks that attend
over the window are recorded. L_match makes their queries and keys correspond: the softmax over another frame's
tokens should pick the one that this token's centre truly re-projects to. L_shift demands what follows from a match, so
that it is not only found but passed on: the first two channels of a token, as it leaves the block, are to be the way to
where its surface is in the other frames. Both are dropped after training; the network itself is unchanged.

The true correspondence: the centre of every token (patch) stands for it. What moves by itself, has no depth, or is
hidden in the other frame (a depth test) has no place there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from openloger.geometry import SE3, project, unproject
from openloger.shapes import Bool, Float, Int, Tensor
from openloger.training.clips import Clip, ClipBatch, FramePairs, stack
from openloger.training.losses import relative_motion
from openloger.transformer.share import WindowShare

DEPTH_TOLERANCE = 0.05  # relative; beyond it something else is in front


@dataclass(frozen=True)
class Correspondence:
    """For every token of frame i: where its centre is in frame j."""

    target: Int[Tensor, "batch frame frame token"]  # [i, j, t]: token of j; 0 where not visible
    shift: Float[Tensor, "batch frame frame token 2"]  # from where it is in i to where it is in j; (x, y) in tokens
    visible: Bool[Tensor, "batch frame frame token"]  # False on i = j


@torch.no_grad()
def correspond(clips: ClipBatch, *, patch: int) -> Correspondence:
    """Re-project the centre of every token into every other frame of its clip and test whether it is visible there."""
    points_cam = at_centres(unproject(clips.depth.float(), clips.intrinsics.float()), patch)
    known = at_centres(clips.valid & ~clips.moving, patch).flatten(2)
    rows, cols = points_cam.shape[2:4]

    j_from_i = relative_motion(SE3.from_matrix(clips.world_from_cam.float())).inverse()
    moved = j_from_i.apply(points_cam.flatten(2, 3)[:, :, None].expand(-1, -1, len(j_from_i.rotation[0]), -1, -1))
    depth = moved[..., 2]
    pixel = torch.where((depth > 0)[..., None], project(moved, clips.intrinsics.float()[:, None]), -1.0)
    col, row = (pixel / patch).floor().unbind(-1)
    inside = (depth > 0) & (col >= 0) & (col < cols) & (row >= 0) & (row < rows)

    seen, still = _look_up(clips, pixel)
    visible = inside & still & ((depth - seen).abs() < DEPTH_TOLERANCE * depth) & known[:, :, None]
    visible &= ~torch.eye(visible.shape[1], dtype=torch.bool, device=visible.device)[None, :, :, None]
    return Correspondence(
        target=torch.where(inside, row * cols + col, 0.0).long(),
        shift=torch.where(visible[..., None], pixel / patch - _centres(rows, cols, pixel.device), 0.0),
        visible=visible,
    )


def covisibility(clip: Clip, *, patch: int) -> FramePairs:
    """The part of what one frame shows that another shows too, the lesser of both directions; 1 on the diagonal."""
    alone = stack([clip])
    seen = correspond(alone, patch=patch).visible[0].sum(-1).double()
    known = at_centres(alone.valid & ~alone.moving, patch)[0].flatten(1).sum(-1).clamp(min=1)
    part = (seen / known[:, None]).numpy()
    return np.maximum(np.minimum(part, part.T), np.eye(len(clip)))


def baseline(clip: Clip) -> FramePairs:
    """The camera's motion from one frame to another, as a part of the mean depth of all of them."""
    centre = clip.world_from_cam[:, :3, 3]
    apart = np.linalg.norm(centre[:, None] - centre, axis=-1)
    return apart / max(clip.depth[clip.valid].mean(dtype=np.float64) if clip.valid.any() else 0.0, 1e-12)


def at_centres(image: Tensor, patch: int) -> Tensor:
    """The values of a "batch frame height width ..." at the centre of every patch."""
    centre = slice(patch // 2, None, patch)
    return image[:, :, centre, centre]


def _centres(rows: int, cols: int, device: torch.device) -> Float[Tensor, "token 2"]:
    y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(cols, device=device), indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1) + 0.5


def _look_up(
    clips: ClipBatch, pixel: Float[Tensor, "batch frame frame token 2"]
) -> tuple[Float[Tensor, "batch frame frame token"], Bool[Tensor, "batch frame frame token"]]:
    """Frame j's depth at the pixels [i, j, t], and whether it is known and still there."""
    height, width = clips.depth.shape[-2:]
    batch, frames, _, tokens, _ = pixel.shape
    x = pixel[..., 0].clamp(0, width - 1).long()
    y = pixel[..., 1].clamp(0, height - 1).long()
    index = (y * width + x).transpose(1, 2).reshape(batch, frames, -1)  # by the target frame
    depth = clips.depth.float().flatten(2).gather(2, index)
    still = (clips.valid & ~clips.moving).flatten(2).gather(2, index)
    shape = (batch, frames, frames, tokens)
    return depth.reshape(shape).transpose(1, 2), still.reshape(shape).transpose(1, 2)


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

    def gathered(self, share: WindowShare | None) -> BlockPass:
        """Of all frames of a window that processes share; None: as it is."""
        if share is None:
            return self
        return BlockPass(
            share.gather(self.query, dim=2), share.gather(self.key, dim=2), share.gather(self.output, dim=1)
        )


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
