"""From a batch of clips to one number with gradient: windows through the network, losses, correspondence.

A module of its own, so that what DistributedDataParallel or FSDP2 wraps is one call a batch, however many windows a
clip is cut into.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import nn

from openloger.network import Network, Window, WindowPrediction
from openloger.shapes import Float, Tensor
from openloger.training.clips import ClipBatch
from openloger.training.curriculum import Stage
from openloger.training.losses import Losses, measure
from openloger.training.matching import MatchResult, correspond, match_loss, middle_block, probe_tokens


class Objective(nn.Module):
    """The loss of a batch in one stage of a run."""

    def __init__(self, network: Network, stage: Stage) -> None:
        super().__init__()
        self.network = network
        self.stage = stage

    def forward(self, clips: ClipBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The weighted sum, with gradient, and every term by its name, without."""
        weights = self.stage.losses
        if weights.match:
            prediction, match = predict_and_match(self.network, clips)
        else:
            prediction, match = predict(self.network, clips), None
        losses = measure(prediction, clips, weights)
        total = losses.total(weights)
        if match is not None:
            total = total + weights.match * match.loss
        return total, {"loss": total.detach(), **by_name(losses, match)}


def predict(network: Network, clips: ClipBatch) -> WindowPrediction:
    """Each clip as one window, with nothing remembered."""
    frames = clips.images.shape[1]
    prediction, _ = network(Window(clips.images, size=frames, overlap=0), network.fresh_memory())
    return prediction


def predict_and_match(network: Network, clips: ClipBatch) -> tuple[WindowPrediction, MatchResult]:
    """The same, and how well the middle decoder block's tokens correspond."""
    blocks = network.decoder.blocks
    with probe_tokens(blocks[middle_block(len(blocks))]) as probe:
        prediction = predict(network, clips)
        query, key = probe.take()
    match = match_loss(
        query,
        key,
        correspond(clips, patch=network.config.encoder.patch),
        special_tokens=network.decoder.special_tokens,
    )
    return prediction, match


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
