"""From a batch of clips to one number with gradient: windows through the network, losses, correspondence.

A module of its own, so that what DistributedDataParallel or FSDP2 wraps is one call a batch, however many windows a
clip is cut into.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from functools import partial

import torch
import torch.distributed as dist
from torch import nn

from openloger.errors import InputError
from openloger.network import Network
from openloger.shapes import Float, Tensor
from openloger.training.chaining import Chain, check_shares, run_chain
from openloger.training.clips import ClipBatch
from openloger.training.curriculum import Stage
from openloger.training.losses import Losses, measure, median_log_ratio
from openloger.training.matching import (
    FLOW_STRIDE,
    MatchResult,
    correspond,
    flow_loss,
    match,
    matching_blocks,
    mean_match,
    probe_tokens,
)
from openloger.transformer.share import WindowShare

NOISY_WINDOWS = 16  # of a chain, whose scales are off independently; longer ones begin anew


class Objective(nn.Module):
    """The loss of a batch in one stage of a run."""

    def __init__(self, network: Network, stage: Stage, group: dist.ProcessGroup | None = None) -> None:
        """The processes of a `group` share the clips' windows, and compute the same loss.

        Raises InputError where the network's windows cannot be shared.
        """
        super().__init__()
        check_shares(network, 1 if group is None else group.size())
        self.network = network
        self.stage = stage
        self.share = None if group is None else partial(WindowShare.among, group)

    def forward(self, clips: ClipBatch, progress: float = 0.0) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The weighted sum, with gradient, and every term by its name, without; `progress` of the stage in 0..1."""
        weights, plan = self.stage.losses, self.stage.windows
        size, overlap = plan.at(progress)
        run = partial(
            run_chain,
            self.network,
            clips.images,
            size=size,
            overlap=overlap,
            truncate=plan.truncate,
            log_scale=scale_noise(clips, plan.scale_noise) if plan.scale_noise else None,
            measured=plan.measured,
            share=self.share,
        )
        matching = weights.match or weights.shift
        chain, matched = run_and_match(self.network, clips, run, self.share) if matching else (run(), None)
        losses = measure(chain.prediction, clips.take_frames(chain.index), weights)
        total = losses.total(weights)
        extra: dict[str, Tensor] = {}
        if weights.flow:
            extra["flow"] = chain_flow_loss(chain, clips)
            total = total + weights.flow * extra["flow"]
            extra["flow"] = extra["flow"].detach()
        if weights.scale:
            spread = chain_scale_loss(chain, clips)
            total, extra["scale"] = total + weights.scale * spread, spread.detach()
        if weights.metric:
            metric = chain_metric_loss(chain, clips)
            total, extra["metric"] = total + weights.metric * metric, metric.detach()
        if matched is not None:
            total = total + weights.match * matched.loss + weights.shift * matched.shift
        return total, {"loss": total.detach(), **by_name(losses, matched), **extra}


def run_and_match(
    network: Network,
    clips: ClipBatch,
    run: Callable[[], Chain],
    share: Callable[[int], WindowShare] | None = None,
) -> tuple[Chain, MatchResult]:
    """The result of `run`, and how well the tokens of the middle blocks correspond in each of its windows."""
    blocks = network.decoder.blocks
    with ExitStack() as stack:
        probes = [stack.enter_context(probe_tokens(blocks[number])) for number in matching_blocks(len(blocks))]
        chain = run()
        passes = [probe.take() for probe in probes]
    patch, special_tokens = network.config.encoder.patch, network.decoder.special_tokens
    results = []
    for frames, *of_window in zip(chain.frames, *passes, strict=True):
        truth = correspond(clips.take_frames(torch.tensor(frames)), patch=patch)
        own = None if share is None else share(len(frames))
        results += [match(one.gathered(own), truth, special_tokens=special_tokens) for one in of_window]
    return chain, mean_match(results)


def scale_noise(clips: ClipBatch, sigma: float) -> Float[Tensor, "window batch"]:
    """The error of each window's log depth, decided by the clips' names, for NOISY_WINDOWS windows."""
    generator = torch.Generator().manual_seed(zlib.crc32(" ".join(clips.names).encode()))
    noise = torch.randn(NOISY_WINDOWS, len(clips.names), generator=generator)
    return sigma * noise.to(clips.images.device)


def chain_flow_loss(chain: Chain, clips: ClipBatch) -> Float[Tensor, ""]:
    """The mean over windows of the flow between a window's neighbouring frames."""
    flow, first, losses = chain.prediction.flow_px, 0, []
    if flow is None:
        raise InputError("this network has no flow output; set the weight of its loss to 0")
    for frames in chain.frames:
        truth = correspond(clips.take_frames(torch.tensor(frames)), patch=FLOW_STRIDE)
        losses.append(flow_loss(flow[:, first : first + len(frames)], truth))
        first += len(frames)
    return torch.stack(losses).mean()


def chain_scale_loss(chain: Chain, clips: ClipBatch) -> Float[Tensor, ""]:
    """Mean distance of the windows' log scales from their mean; 0 for a chain of one window."""
    depth, first, scales = chain.prediction.points_cam[..., 2], 0, []
    for frames in chain.frames:
        truth = clips.take_frames(torch.tensor(frames))
        scales.append(median_log_ratio(depth[:, first : first + len(frames)], truth.depth, truth.valid))
        first += len(frames)
    scale = torch.stack(scales, dim=1)
    return (scale - scale.mean(dim=1, keepdim=True)).abs().mean()


def chain_metric_loss(chain: Chain, clips: ClipBatch) -> Float[Tensor, ""]:
    """Mean |log| of what the windows' metric scales are off by, over clips in metres; 0 where there are none.

    Raises InputError where the network has no metric scale.
    """
    if not chain.metric_scale:
        raise InputError("this network has no metric scale; set the weight of its loss to 0")
    depth, first, errors = chain.prediction.points_cam[..., 2], 0, []
    for frames, scale in zip(chain.frames, chain.metric_scale, strict=True):
        truth = clips.take_frames(torch.tensor(frames))
        off = median_log_ratio(depth[:, first : first + len(frames)], truth.depth, truth.valid).detach()
        errors.append((off + scale.log() - scale.log().detach()).abs())
        first += len(frames)
    error = torch.stack(errors, dim=1).mean(dim=1)
    return torch.where(clips.is_metric, error, 0.0).sum() / clips.is_metric.sum().clamp(min=1)


def by_name(losses: Losses, matched: MatchResult | None) -> dict[str, Tensor]:
    """Every term without gradient; angles in degrees."""
    named = {field.name: getattr(losses, field.name).detach() for field in fields(losses)}
    for name in ("rotation", "normal"):
        named[name] = named[name].rad2deg()
    if matched is not None:
        named |= {
            "match": matched.loss.detach(),
            "shift": matched.shift.detach(),
            "top1": matched.top1,
            "same_position": matched.same_position,
        }
    return named


def mean_terms(terms: list[dict[str, Tensor]]) -> dict[str, float]:
    """The mean of each term over batches."""
    return {name: float(torch.stack([term[name] for term in terms]).mean()) for name in terms[0]}
