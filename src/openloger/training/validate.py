"""Validation on worlds, and sequences of datasets, that are never trained on, beside trivial baselines.

Each clip is one window of a few frames; some are also run whole, as the stage's chain of windows.
Depth: mean |s·d̂ − d|/d after one scale s a window (the minimiser of that very number).
Motion: all pairs of a clip's frames; directions only where the camera moved by over 1 % of the mean distance.
Path of whole clips: root mean square distance of camera centres after the best similarity, over the path's length.
Guesses: the mean depth image of the same clips, no rotation, any direction (90° on average), the same token, and the
straight line at constant speed that fits the true path best.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from openloger.geometry import SE3, rotation_angle, weighted_median
from openloger.network import Network
from openloger.shapes import Bool, Float, Tensor
from openloger.training.chaining import run_chain
from openloger.training.clips import Clip, ClipBatch, choose_frames, stack
from openloger.training.config import ValidationConfig
from openloger.training.curriculum import Stage
from openloger.training.data import AnyClipSpec, ClipSpec, FileClipSpec, suited
from openloger.training.distribute import Ranks, gather, sum_over
from openloger.training.losses import masked_mean, relative_motion
from openloger.training.objective import run_and_match
from openloger.training.render import TOGETHER, RenderClips, make_clips

Found = dict[str, dict[str, list[Tensor]]]  # by family, by name
_BATCH = 16
_MOVED = 0.01  # of the mean distance


@dataclass(frozen=True)
class Scores:
    """Means over clips or pairs, and medians over pairs where a few that are far off would hide the many."""

    abs_rel: float
    rotation_deg: float
    direction_deg: float
    top1: float  # tokens matched rightly
    guess_abs_rel: float  # the mean depth image
    guess_rotation_deg: float  # no rotation at all
    guess_top1: float  # the same position
    log_depth: float
    ate: float  # of the path's length
    guess_ate: float  # a straight line at constant speed
    rotation_median_deg: float
    direction_median_deg: float
    guess_rotation_median_deg: float

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
    paths: dict[str, tuple[Clip, ...]]  # whole clips, to run one at a time
    window: int  # frames, how they are cut; 0: each is one window
    overlap: int
    size: tuple[int, int]  # height and width in pixels


def held_out_clips(stage: Stage, config: ValidationConfig) -> int:
    """The number of clips a family: those wanted, or as many as `config.most_frames` allows."""
    return min(config.clips, max(1, config.most_frames // (_families(stage, config) * _frames_of(stage, config))))


def held_out_frames(stage: Stage, config: ValidationConfig) -> int:
    """The number of frames that are rendered for validation, over all processes."""
    return held_out_clips(stage, config) * _families(stage, config) * _frames_of(stage, config)


def _families(stage: Stage, config: ValidationConfig) -> int:
    return len(set(stage.clips.families)) + len(config.datasets)


def _frames_of(stage: Stage, config: ValidationConfig) -> int:
    return max(stage.clips.rendered, config.frames)


def held_out(stage: Stage, config: ValidationConfig, render: RenderClips, among: Ranks | None = None) -> HeldOut:
    """Render this process' share of them: `config.clips` worlds a family, of seeds below those that training draws, and
    as many clips of each dataset, which is a family of its name.

    Clip i of a family is that of process i mod the number of processes; what it shows does not depend on that.
    """
    plan, count = stage.clips, held_out_clips(stage, config)
    batches: dict[str, tuple[ClipBatch, ...]] = {}
    paths: dict[str, tuple[Clip, ...]] = {}
    own = range(count) if among is None else range(among.rank, count, among.count)
    for number, (family, of_family) in enumerate(_specs(stage, config).items()):
        specs = [of_family[seed] for seed in own]
        made = [clip for at in range(0, len(specs), TOGETHER) for clip in make_clips(specs[at : at + TOGETHER], render)]
        clips = [
            choose_frames(
                clip,
                config.frames,
                np.random.default_rng([0, number, seed]),
                suited=suited(clip, plan),
                shuffle_time=False,
            )
            for seed, clip in zip(own, made, strict=True)
        ]
        batches[family] = tuple(stack(clips[at : at + _BATCH]) for at in range(0, len(clips), _BATCH))
        paths[family] = tuple(clip for seed, clip in zip(own, made, strict=True) if seed < config.paths)
    window, overlap = stage.windows.at(1.0)
    return HeldOut(batches, paths, window, overlap, plan.size)


def _specs(stage: Stage, config: ValidationConfig) -> dict[str, Sequence[AnyClipSpec]]:
    """The clips of each family, of which as many are made as there is room for."""
    plan, frames = stage.clips, _frames_of(stage, config)
    fps, draw = math.sqrt(plan.fps[0] * plan.fps[1]), np.random.default_rng(0)
    specs: dict[str, Sequence[AnyClipSpec]] = {}
    for family in sorted(set(plan.families)):
        firsts = draw.integers(600, size=config.clips)
        specs[family] = [
            ClipSpec(family, seed, int(firsts[seed]), frames, fps, plan.size) for seed in range(config.clips)
        ]
    for source in config.datasets:
        name = source.name if source.name not in specs else f"{source.name}:{source.folder}"
        stride = (source.stride[0] + source.stride[1]) // 2
        specs[name] = [FileClipSpec(source, seed, frames, stride, plan.size) for seed in range(config.clips)]
    return specs


@torch.no_grad()
def validate(network: Network, clips: HeldOut, among: Ranks | None = None) -> dict[str, Scores]:
    """Scores of every family, and of "all" together; of the clips of all processes, on each of them."""
    was_training = network.training
    network.eval()
    found: Found = {}
    for family, batches in clips.batches.items():
        found[family] = defaultdict(list)
        guess = mean_depth_image(batches, size=clips.size, among=among)
        for batch in batches:
            for name, value in _look(network, batch.to(network.device), guess.to(network.device)).items():
                found[family][name].append(value.double().cpu())
        for clip in clips.paths[family]:
            for name, value in _follow(network, stack([clip]).to(network.device), clips.window, clips.overlap).items():
                found[family][name].append(value.double().cpu())
    network.train(was_training)
    found = _of_all_processes(found, among)
    everything = {
        name: [value for family in found.values() for value in family[name]] for name in next(iter(found.values()))
    }
    return {family: _summarise(values) for family, values in {**found, "all": everything}.items()}


def _of_all_processes(found: Found, among: Ranks | None) -> Found:
    """Every process' numbers, joined in the order of the processes."""
    if among is None or not among.many:
        return found
    lists = {family: {name: torch.cat(parts).tolist() for name, parts in of.items()} for family, of in found.items()}
    joined: Found = {family: defaultdict(list) for family in found}
    for of_rank in gather(lists, among):
        for family, names in of_rank.items():
            for name, values in names.items():
                joined[family][name].append(torch.tensor(values, dtype=torch.float64))
    return joined


def mean_depth_image(
    batches: tuple[ClipBatch, ...], *, size: tuple[int, int], among: Ranks | None = None
) -> Float[Tensor, "height width"]:
    """The mean over frames of depth at unit mean, of the very clips that it is judged on: a guess hard to beat."""
    total, count = torch.zeros(size), torch.zeros(size)
    for batch in batches:
        depth, valid = batch.depth.flatten(0, 1), batch.valid.flatten(0, 1)
        mean = masked_mean(depth.flatten(1), valid.flatten(1)).clamp(min=1e-6)[:, None, None]
        total = total + torch.where(valid, depth / mean, 0.0).sum(0)
        count = count + valid.sum(0)
    if among is not None:
        total, count = sum_over(total, among), sum_over(count, among)
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


def path_error(found: Float[Tensor, "batch frame 3"], truth: Float[Tensor, "batch frame 3"]) -> Float[Tensor, " batch"]:
    """Root mean square distance of two paths after the best similarity of the first (Umeyama 1991, equation 33).

    Where the first stands still, it is that of the mean of the second.
    """
    found, truth = found.double(), truth.double()
    found, truth = found - found.mean(1, keepdim=True), truth - truth.mean(1, keepdim=True)
    covariance = truth.mT @ found
    stretch = torch.linalg.svdvals(covariance)
    turned = torch.cat([stretch[:, :2], stretch[:, 2:] * torch.linalg.det(covariance).sign()[:, None]], dim=1).sum(1)
    own = found.square().sum((1, 2)).clamp(min=1e-30)
    left = truth.square().sum((1, 2)) - turned.square() / own
    return (left.clamp(min=0) / truth.shape[1]).sqrt()


def straight_line_error(truth: Float[Tensor, "batch frame 3"]) -> Float[Tensor, " batch"]:
    """The same for the best straight line at constant speed."""
    time = torch.arange(truth.shape[1], dtype=torch.float64, device=truth.device)
    line = torch.stack([time, 0 * time, 0 * time], dim=1)
    return path_error(line.expand(len(truth), -1, -1), truth)


def path_length(centres: Float[Tensor, "batch frame 3"]) -> Float[Tensor, " batch"]:
    """Along the path, in its own unit."""
    return torch.linalg.vector_norm(centres.double().diff(dim=1), dim=-1).sum(1)


def _follow(network: Network, clips: ClipBatch, window: int, overlap: int) -> dict[str, Tensor]:
    """Whole clips as chains of windows; a frame of two windows is where the later one puts it, as in use."""
    chain = run_chain(network, clips.images, size=window, overlap=overlap)
    last = {frame: place for place, frame in enumerate(chain.index.tolist())}
    found = chain.prediction.world_from_cam[:, [last[frame] for frame in sorted(last)], :3, 3]
    truth = clips.world_from_cam[..., :3, 3]
    length = path_length(truth)
    distance = masked_mean(clips.depth.flatten(1), clips.valid.flatten(1))
    moved = length > _MOVED * distance
    return {
        "ate": (path_error(found, truth) / length)[moved],
        "guess_ate": (straight_line_error(truth) / length)[moved],
    }


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
    mean: defaultdict[str, float] = defaultdict(lambda: float("nan"))  # what nothing was measured of
    mean |= {name: float(torch.cat(parts).mean()) for name, parts in values.items()}
    median = {name: float(torch.cat(values[name]).nanmedian()) for name in ("rotation", "direction", "guess_rotation")}
    return Scores(
        abs_rel=mean["abs_rel"],
        rotation_deg=mean["rotation"],
        direction_deg=mean["direction"],
        top1=mean["top1"],
        guess_abs_rel=mean["guess_abs_rel"],
        guess_rotation_deg=mean["guess_rotation"],
        guess_top1=mean["guess_top1"],
        log_depth=mean["log_depth"],
        ate=mean["ate"],
        guess_ate=mean["guess_ate"],
        rotation_median_deg=median["rotation"],
        direction_median_deg=median["direction"],
        guess_rotation_median_deg=median["guess_rotation"],
    )
