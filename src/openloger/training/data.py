"""The clips of a step: decided by (seed, step, lane) alone, whoever renders them and whenever.

A lane draws clip numbers 0, 1, 2, … and keeps the newest in a pool; a step adds `batch / reuse` new ones and picks its
batch from the pool. So a rendered clip is used about `reuse` times, each time with other frames of it, another
direction of time, flip, colour and exposure. Nothing here depends on how far ahead the renderer is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from openloger import worlds
from openloger.training.augment import augment
from openloger.training.clips import Clip, ClipBatch, FramePairs, choose_frames, stack
from openloger.training.curriculum import ClipPlan, DatasetPlan
from openloger.training.matching import baseline, covisibility

HELD_OUT_SEEDS = 1_000_000  # worlds with a smaller seed are never trained on
_TRAINED_SEEDS = 2**31 - HELD_OUT_SEEDS
_REACH = 600  # frames into a world at which clips begin
_SIZE_TRIES = 100
_NEAR = 60  # frames: the clips of one world begin within this stretch, so that they share what is built of it


@dataclass(frozen=True)
class ClipSpec:
    """One clip of one world."""

    family: str
    seed: int
    first: int
    frames: int
    fps: float
    size: tuple[int, int]  # height and width in pixels
    textures: str = worlds.PROCEDURAL

    def __str__(self) -> str:
        return f"{self.family}:{self.seed}@{self.first}+{self.frames}/{self.fps:g}fps"


@dataclass(frozen=True)
class FileClipSpec:
    """One clip of a dataset's folder; `number` stands for a sequence and a place in it (`footage.py`)."""

    source: DatasetPlan
    number: int
    frames: int
    stride: int  # frames from one to the next
    size: tuple[int, int]  # height and width in pixels

    def __str__(self) -> str:
        return f"{self.source.name}:{self.source.folder}#{self.number}+{self.frames}/{self.stride}"


AnyClipSpec = ClipSpec | FileClipSpec


@lru_cache(maxsize=16384)
def size_of(plan: ClipPlan, *, seed: int, lane: int, number: int) -> tuple[int, int]:
    """The size of the clip that a lane's number stands for; all clips of a world have one."""
    draw = np.random.default_rng([seed, lane, number // plan.per_world, 6])
    if plan.pixels != (0, 0):
        return _drawn_size(plan, draw)
    if not plan.other_sizes or draw.random() >= plan.other_odds:
        return plan.size
    return plan.other_sizes[draw.integers(len(plan.other_sizes))]


def _drawn_size(plan: ClipPlan, draw: np.random.Generator) -> tuple[int, int]:
    """Pixels evenly within their bounds, and the aspect in its logarithm; drawn again where rounding leaves these."""
    (fewest, most), (upright, wide) = plan.pixels, plan.aspect
    for _ in range(_SIZE_TRIES):
        pixels, aspect = draw.uniform(fewest, most), math.exp(draw.uniform(*np.log((upright, wide))))
        sides = (math.sqrt(pixels / aspect), math.sqrt(pixels * aspect))
        height, width = (max(1, round(side / plan.multiple)) * plan.multiple for side in sides)
        if fewest <= height * width <= most and upright <= width / height <= wide:
            return height, width
    return plan.largest_size


def spec_of(plan: ClipPlan, *, seed: int, lane: int, number: int) -> AnyClipSpec:
    """The clip that a lane's number stands for."""
    if plan.datasets:
        pick = np.random.default_rng([seed, lane, number, 5])
        odds = np.asarray(plan.source_odds) / sum(plan.source_odds)
        source = int(pick.choice(len(odds), p=odds))
        if source > 0:
            chosen, stride = plan.datasets[source - 1], pick.integers(*plan.datasets[source - 1].stride, endpoint=True)
            place = int(pick.integers(2**31))
            size = size_of(plan, seed=seed, lane=lane, number=number)
            return FileClipSpec(chosen, place, plan.rendered, int(stride), size)
    return world_spec_of(plan, seed=seed, lane=lane, number=number)


def world_spec_of(plan: ClipPlan, *, seed: int, lane: int, number: int) -> ClipSpec:
    """The clip of a world that a lane's number stands for."""
    world = np.random.default_rng([seed, lane, number // plan.per_world, 0])
    draw = np.random.default_rng([seed, lane, number, 1])
    odds = np.asarray(plan.family_odds) / sum(plan.family_odds)
    return ClipSpec(
        family=plan.families[world.choice(len(odds), p=odds)],
        seed=HELD_OUT_SEEDS + int(world.integers(_TRAINED_SEEDS)),
        first=int(world.integers(_REACH)) + int(draw.integers(_NEAR)),
        frames=plan.rendered,
        fps=round(float(np.exp(world.uniform(*np.log(plan.fps)))), 2),
        size=size_of(plan, seed=seed, lane=lane, number=number),
        textures=plan.textures,
    )


def specs(plan: ClipPlan, *, seed: int, lane: int, first: int = 0) -> Iterator[AnyClipSpec]:
    """A lane's clips from number `first` on, without end."""
    number = first
    while True:
        yield spec_of(plan, seed=seed, lane=lane, number=number)
        number += 1


def rendered_by(plan: ClipPlan, step: int) -> int:
    """The number of clips that a lane has drawn at its batch of `step`; it starts with about a batch of every size."""
    return max(plan.ready, plan.batch * (1 + len(plan.other_sizes))) + math.floor(step * plan.batch / plan.reuse)


def frames_of(plan: ClipPlan, *, seed: int, step: int) -> int:
    """The number of frames of every clip of a step."""
    odds = np.asarray(plan.odds) / sum(plan.odds)
    return int(np.random.default_rng([seed, step, 2]).choice(plan.frames, p=odds))


def picks_of(plan: ClipPlan, *, seed: int, step: int, lane: int) -> list[int]:
    """The clip numbers that a lane's batch is made of: clips of one size, that of any clip of the pool.

    Where the pool has too few of that size, as it may in the beginning, some are taken more than once.
    """
    newest = rendered_by(plan, step)
    pool = range(max(0, newest - plan.pool), newest)
    draw = np.random.default_rng([seed, step, lane, 3])
    if plan.other_sizes:
        sizes = [size_of(plan, seed=seed, lane=lane, number=number) for number in pool]
        size = sizes[draw.integers(len(pool))]
        pool = [number for number, its in zip(pool, sizes, strict=True) if its == size]
    picks = draw.choice(len(pool), size=plan.batch, replace=len(pool) < plan.batch)
    return [pool[pick] for pick in picks]


def suited(clip: Clip, plan: ClipPlan) -> FramePairs:
    """1 where two frames have enough in common and were taken far enough apart; less, the less they have of either."""
    pairs = np.ones((len(clip), len(clip)))
    if plan.least_overlap > 0:  # from eight points along the shorter side
        pairs = np.minimum(pairs, covisibility(clip, patch=max(1, min(clip.depth.shape[1:]) // 8)) / plan.least_overlap)
    if plan.least_baseline > 0:
        pairs = np.minimum(pairs, baseline(clip) / plan.least_baseline)
    return pairs


class ClipStream:
    """One lane's batches, step after step; `render` gives clips 'from number n on', in order.

    A stream that starts at a later step gives the batches that an earlier one would have come to.
    """

    def __init__(
        self, plan: ClipPlan, render: Callable[[int], Iterator[Clip]], *, seed: int, lane: int, step: int = 0
    ) -> None:
        self._plan, self._seed, self._lane, self._step = plan, seed, lane, step
        self._next = max(0, rendered_by(plan, step) - plan.pool)
        self._clips = render(self._next)
        self._pool: dict[int, tuple[Clip, FramePairs]] = {}

    def __next__(self) -> ClipBatch:
        plan, step = self._plan, self._step
        newest = rendered_by(plan, step)
        while self._next < newest:
            clip = next(self._clips)
            self._pool[self._next] = clip, suited(clip, plan)
            self._next += 1
        for number in [number for number in self._pool if number < newest - plan.pool]:
            del self._pool[number]
        frames = frames_of(plan, seed=self._seed, step=step)
        picks = picks_of(plan, seed=self._seed, step=step, lane=self._lane)
        draw = np.random.default_rng([self._seed, step, self._lane, 4])
        clips = [self._choose(number, frames, draw) for number in picks]
        if plan.augment:
            clips = [augment(clip, draw, faults=plan.faults, swaps=plan.swaps) for clip in clips]
        self._step += 1
        return stack(clips)

    def __iter__(self) -> ClipStream:
        return self

    def _choose(self, number: int, frames: int, draw: np.random.Generator) -> Clip:
        clip, pairs = self._pool[number]
        return choose_frames(clip, frames, draw, suited=pairs, shuffle_time=self._plan.augment)
