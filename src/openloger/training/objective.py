"""From a batch of clips to one number with gradient: windows through the network, losses, correspondence.

A module of its own, so that what DistributedDataParallel or FSDP2 wraps is one call a batch, however many windows a
clip is cut into.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial

import torch
from torch import nn

from openloger.network import Network
from openloger.shapes import Float, Tensor
from openloger.training.chaining import Chain, run_chain
from openloger.training.clips import ClipBatch
from openloger.training.curriculum import Stage
from openloger.training.losses import Losses, measure
from openloger.training.matching import MatchResult, correspond, match_loss, mean_match, middle_block, probe_tokens


class Objective(nn.Module):
    """The loss of a batch in one stage of a run."""

    def __init__(self, network: Network, stage: Stage) -> None:
        super().__init__()
        self.network = network
        self.stage = stage

    def forward(self, clips: ClipBatch, progress: float = 0.0) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The weighted sum, with gradient, and every term by its name, without; `progress` of the stage in 0..1."""
        weights, plan = self.stage.losses, self.stage.windows
        size, overlap = plan.at(progress)
        run = partial(run_chain, self.network, clips.images, size=size, overlap=overlap, truncate=plan.truncate)
        chain, match = run_and_match(self.network, clips, run) if weights.match else (run(), None)
        losses = measure(chain.prediction, clips.take_frames(chain.index), weights)
        total = losses.total(weights)
        if match is not None:
            total = total + weights.match * match.loss
        return total, {"loss": total.detach(), **by_name(losses, match)}


def run_and_match(network: Network, clips: ClipBatch, run: Callable[[], Chain]) -> tuple[Chain, MatchResult]:
    """What `run` gives, and how well the middle decoder block's tokens correspond in each of its windows."""
    blocks = network.decoder.blocks
    with probe_tokens(blocks[middle_block(len(blocks))]) as probe:
        chain = run()
        heard = probe.take()
    patch, special_tokens = network.config.encoder.patch, network.decoder.special_tokens
    return chain, mean_match(
        [
            match_loss(
                query,
                key,
                correspond(clips.take_frames(torch.tensor(frames)), patch=patch),
                special_tokens=special_tokens,
            )
            for (query, key), frames in zip(heard, chain.frames, strict=True)
        ]
    )


def by_name(losses: Losses, match: MatchResult | None) -> dict[str, Tensor]:
    """Every term without gradient; angles in degrees."""
    named = {field.name: getattr(losses, field.name).detach() for field in fields(losses)}
    for name in ("rotation", "normal"):
        named[name] = named[name].rad2deg()
    if match is not None:
        named |= {"match": match.loss.detach(), "top1": match.top1, "same_position": match.same_position}
    return named


def mean_terms(terms: list[dict[str, Tensor]]) -> dict[str, float]:
    """The mean of each term over batches."""
    return {name: float(torch.stack([term[name] for term in terms]).mean()) for name in terms[0]}
