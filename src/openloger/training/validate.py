"""How good the network is on worlds that training never sees, beside what guessing gets.

Each clip is one window. Depth: mean |s·d̂ − d|/d after one scale s a window (the minimiser of that very number).
Motion: all pairs of a clip's frames; directions only where the camera moved by over 1 % of the mean distance.
Guesses: the mean depth image of the same clips, no rotation, any direction (90° on average), the same token.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from openloger.geometry import SE3, rotation_angle, weighted_median
from openloger.network import Network
from openloger.shapes import Bool, Float, Tensor
from openloger.training.chaining import run_chain
from openloger.training.clips import ClipBatch
from openloger.training.config import ValidationConfig
from openloger.training.curriculum import ClipPlan
from openloger.training.data import ClipSpec, choose_frames, stack
from openloger.training.losses import relative_motion
from openloger.training.objective import run_and_match
from openloger.training.render import TOGETHER, RenderClips
from openloger.training.scale import masked_mean

_BATCH = 16
_MOVED = 0.01  # of the mean distance


@dataclass(frozen=True)
class Scores:
    """Means over clips or pairs."""

    abs_rel: float
    rotation_deg: float
    direction_deg: float
    top1: float  # tokens matched rightly
    guess_abs_rel: float  # the mean depth image
    guess_rotation_deg: float  # no rotation at all
    guess_top1: float  # the same position
    log_depth: float

    @property
    def abs_rel_of_guess(self) -> float:
        return self.abs_rel / self.guess_abs_rel

    @property
    def rotation_of_guess(self) -> float:
        return self.rotation_deg / self.guess_rotation_deg


@dataclass(frozen=True)
class HeldOut:
    """The clips that a run is judged on, by family, in batches."""

    batches: dict[str, tuple[ClipBatch, ...]]


def held_out(plan: ClipPlan, config: ValidationConfig, render: RenderClips) -> HeldOut:
    """Render them: `config.clips` worlds a family, of seeds below those that training draws."""
    draw = np.random.default_rng(0)
    fps = sum(plan.fps) / 2
    batches = {}
    for family in sorted(set(plan.families)):
        frames = max(plan.rendered, config.frames)
        specs = [
            ClipSpec(family, seed, int(draw.integers(600)), frames, fps, plan.size) for seed in range(config.clips)
        ]
        rendered = [clip for at in range(0, len(specs), TOGETHER) for clip in render(specs[at : at + TOGETHER])]
        clips = [choose_frames(clip, config.frames, draw, shuffle_time=False) for clip in rendered]
        batches[family] = tuple(stack(clips[at : at + _BATCH]) for at in range(0, len(clips), _BATCH))
    return HeldOut(batches)


@torch.no_grad()
def validate(network: Network, clips: HeldOut) -> dict[str, Scores]:
    """Scores of every family, and of "all" together."""
    was_training = network.training
    network.eval()
    found: dict[str, dict[str, list[Tensor]]] = {}
    for family, batches in clips.batches.items():
        found[family] = defaultdict(list)
        guess = mean_depth_image(batches)
        for batch in batches:
            for name, value in _look(network, batch.to(network.device), guess.to(network.device)).items():
                found[family][name].append(value.double().cpu())
    network.train(was_training)
    everything = {
        name: [value for family in found.values() for value in family[name]] for name in next(iter(found.values()))
    }
    return {family: _summarise(values) for family, values in {**found, "all": everything}.items()}


def mean_depth_image(batches: tuple[ClipBatch, ...]) -> Float[Tensor, "height width"]:
    """The mean over frames of depth at unit mean, of the very clips that it is judged on: a guess hard to beat."""
    total = torch.zeros(batches[0].depth.shape[2:])
    count = torch.zeros(batches[0].depth.shape[2:])
    for batch in batches:
        depth, valid = batch.depth.flatten(0, 1), batch.valid.flatten(0, 1)
        mean = masked_mean(depth.flatten(1), valid.flatten(1)).clamp(min=1e-6)[:, None, None]
        total = total + torch.where(valid, depth / mean, 0.0).sum(0)
        count = count + valid.sum(0)
    return torch.where(count > 0, total / count.clamp(min=1), 1.0)


def abs_rel(
    predicted: Float[Tensor, "batch frame height width"],
    truth: Float[Tensor, "batch frame height width"],
    valid: Bool[Tensor, "batch frame height width"],
) -> Float[Tensor, " batch"]:
    """Mean |s·d̂ − d|/d over a window, with the one scale s that makes it smallest."""
    predicted, truth, valid = predicted.flatten(1), truth.flatten(1), valid.flatten(1)
    inverse = torch.where(valid, 1 / truth.clamp(min=1e-9), 0.0)
    scale = weighted_median(truth / predicted.clamp(min=1e-9), predicted * inverse)
    return masked_mean((scale[:, None] * predicted - truth).abs() * inverse, valid)


def _look(network: Network, clips: ClipBatch, guess: Tensor) -> dict[str, Tensor]:
    chain, match = run_and_match(network, clips, partial(run_chain, network, clips.images, size=0, overlap=0))
    prediction = chain.prediction
    depth = prediction.points_cam[..., 2]
    frames = clips.depth.shape[1]
    i, j = torch.triu_indices(frames, frames, offset=1, device=clips.depth.device)
    truth, found = (
        SE3.from_matrix(relative_motion(SE3.from_matrix(side)).matrix()[:, i, j])
        for side in (clips.world_from_cam, prediction.world_from_cam.float())
    )
    distance = masked_mean(clips.depth.flatten(1), clips.valid.flatten(1))
    moved = torch.linalg.vector_norm(truth.translation, dim=-1) > _MOVED * distance[:, None]
    return {
        "abs_rel": abs_rel(depth, clips.depth, clips.valid),
        "rotation": rotation_angle((found.inverse() @ truth).rotation).rad2deg().flatten(),
        "direction": _angle(found.translation, truth.translation).rad2deg()[moved],
        "top1": match.top1[None],
        "guess_abs_rel": abs_rel(guess.expand_as(clips.depth), clips.depth, clips.valid),
        "guess_rotation": rotation_angle(truth.rotation).rad2deg().flatten(),
        "guess_top1": match.same_position[None],
        "log_depth": depth.log().mean(dim=(1, 2, 3)),
    }


def _angle(a: Tensor, b: Tensor) -> Tensor:
    sine = torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1)
    return torch.atan2(sine, (a * b).sum(-1))


def _summarise(values: dict[str, list[Tensor]]) -> Scores:
    mean = {name: float(torch.cat(parts).mean()) for name, parts in values.items()}
    return Scores(
        abs_rel=mean["abs_rel"],
        rotation_deg=mean["rotation"],
        direction_deg=mean["direction"],
        top1=mean["top1"],
        guess_abs_rel=mean["guess_abs_rel"],
        guess_rotation_deg=mean["guess_rotation"],
        guess_top1=mean["guess_top1"],
        log_depth=mean["log_depth"],
    )
