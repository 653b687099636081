"""Which clips a step sees: decided by (seed, step, lane) alone, whoever renders them and whenever.

A lane draws clip numbers 0, 1, 2, … and keeps the newest in a pool; a step adds `batch / reuse` new ones and picks its
batch from the pool. So a rendered clip is used about `reuse` times, each time with other frames of it, another
direction of time, flip, colour and exposure. Nothing here depends on how far ahead the renderer is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from openloger.shapes import Bool, Float32, Float64, UInt8
from openloger.training.clips import ClipBatch
from openloger.training.curriculum import ClipPlan

HELD_OUT_SEEDS = 1_000_000  # worlds with a smaller seed are never trained on
_TRAINED_SEEDS = 2**31 - HELD_OUT_SEEDS
_REACH = 600  # frames into a world at which clips begin
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

    def __str__(self) -> str:
        return f"{self.family}:{self.seed}@{self.first}+{self.frames}/{self.fps:g}fps"


@dataclass(frozen=True)
class FileClipSpec:
    """One clip of a dataset's folder; `number` stands for a sequence and a place in it (`footage.py`)."""

    dataset: str
    folder: str
    number: int
    frames: int
    stride: int  # frames from one to the next
    size: tuple[int, int]  # height and width in pixels

    def __str__(self) -> str:
        return f"{self.dataset}:{self.folder}#{self.number}+{self.frames}/{self.stride}"


AnyClipSpec = ClipSpec | FileClipSpec


@dataclass(frozen=True)
class Clip:
    """A rendered clip, as small as it can be kept."""

    name: str
    rgb: UInt8[np.ndarray, "frame height width 3"]
    depth: Float32[np.ndarray, "frame height width"]
    valid: Bool[np.ndarray, "frame height width"]
    moving: Bool[np.ndarray, "frame height width"]
    intrinsics: Float64[np.ndarray, "frame 3 3"]
    world_from_cam: Float64[np.ndarray, "frame 4 4"]

    def __len__(self) -> int:
        return len(self.rgb)


def spec_of(plan: ClipPlan, *, seed: int, lane: int, number: int) -> AnyClipSpec:
    """The clip that a lane's number stands for."""
    if plan.datasets:
        pick = np.random.default_rng([seed, lane, number, 5])
        odds = np.asarray(plan.source_odds) / sum(plan.source_odds)
        source = int(pick.choice(len(odds), p=odds))
        if source > 0:
            chosen, stride = plan.datasets[source - 1], pick.integers(*plan.datasets[source - 1].stride, endpoint=True)
            place = int(pick.integers(2**31))
            return FileClipSpec(chosen.name, chosen.folder, place, plan.rendered, int(stride), plan.size)
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
        fps=round(float(world.uniform(*plan.fps)), 2),
        size=plan.size,
    )


def specs(plan: ClipPlan, *, seed: int, lane: int, first: int = 0) -> Iterator[AnyClipSpec]:
    """A lane's clips from number `first` on, without end."""
    number = first
    while True:
        yield spec_of(plan, seed=seed, lane=lane, number=number)
        number += 1


def rendered_by(plan: ClipPlan, step: int) -> int:
    """How many clips a lane has drawn when it takes its batch of `step`."""
    return plan.batch + math.floor(step * plan.batch / plan.reuse)


def frames_of(plan: ClipPlan, *, seed: int, step: int) -> int:
    """How many frames every clip of a step has."""
    odds = np.asarray(plan.odds) / sum(plan.odds)
    return int(np.random.default_rng([seed, step, 2]).choice(plan.frames, p=odds))


def picks_of(plan: ClipPlan, *, seed: int, step: int, lane: int) -> list[int]:
    """The clip numbers that a lane's batch is made of."""
    newest = rendered_by(plan, step)
    oldest = max(0, newest - plan.pool)
    draw = np.random.default_rng([seed, step, lane, 3])
    return [oldest + int(pick) for pick in draw.choice(newest - oldest, size=plan.batch, replace=False)]


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
        self._pool: dict[int, Clip] = {}

    def __next__(self) -> ClipBatch:
        plan, step = self._plan, self._step
        newest = rendered_by(plan, step)
        while self._next < newest:
            self._pool[self._next] = next(self._clips)
            self._next += 1
        for number in [number for number in self._pool if number < newest - plan.pool]:
            del self._pool[number]
        frames = frames_of(plan, seed=self._seed, step=step)
        picks = picks_of(plan, seed=self._seed, step=step, lane=self._lane)
        draw = np.random.default_rng([self._seed, step, self._lane, 4])
        clips = [choose_frames(self._pool[number], frames, draw, shuffle_time=plan.augment) for number in picks]
        if plan.augment:
            clips = [recolour(mirror(clip) if draw.random() < 0.5 else clip, draw) for clip in clips]
        self._step += 1
        return stack(clips)

    def __iter__(self) -> ClipStream:
        return self


def choose_frames(clip: Clip, count: int, draw: np.random.Generator, *, shuffle_time: bool) -> Clip:
    """`count` frames of a clip in order of time, or with `shuffle_time` half of the times against it."""
    index = np.sort(draw.choice(len(clip), size=count, replace=False))
    return take_frames(clip, index[::-1] if shuffle_time and draw.random() < 0.5 else index)


def take_frames(clip: Clip, index: np.ndarray) -> Clip:
    """The frames of these numbers; they are kept in the name."""
    return Clip(
        f"{clip.name}[{','.join(str(i) for i in index)}]",
        *(
            np.ascontiguousarray(value[index])
            for value in (clip.rgb, clip.depth, clip.valid, clip.moving, clip.intrinsics, clip.world_from_cam)
        ),
    )


def mirror(clip: Clip) -> Clip:
    """The mirror world: x ↦ −x in image, camera and world."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    intrinsics = clip.intrinsics.copy()
    intrinsics[:, 0, 2] = clip.rgb.shape[2] - intrinsics[:, 0, 2]
    rgb, depth, valid, moving = (
        np.ascontiguousarray(image[:, :, ::-1]) for image in (clip.rgb, clip.depth, clip.valid, clip.moving)
    )
    return Clip(clip.name, rgb, depth, valid, moving, intrinsics, flip @ clip.world_from_cam @ flip)


def recolour(clip: Clip, draw: np.random.Generator) -> Clip:
    """Channels swapped, gain and gamma drawn for the clip, and a slight drift of exposure over its frames."""
    rgb = clip.rgb[..., draw.permutation(3)].astype(np.float32) / 255
    gain = draw.uniform(0.75, 1.25, size=3) * draw.uniform(0.95, 1.05, size=(len(rgb), 1))
    gamma = draw.uniform(0.8, 1.25)
    rgb = np.clip(rgb**gamma * gain[:, None, None].astype(np.float32), 0, 1)
    return replace(clip, rgb=(rgb * 255 + 0.5).astype(np.uint8))


def stack(clips: list[Clip]) -> ClipBatch:
    """Equal-sized clips as one batch, each in its own first frame's coordinates (taken in float64)."""
    world_from_cam = np.stack([np.linalg.inv(clip.world_from_cam[:1]) @ clip.world_from_cam for clip in clips])
    images = torch.from_numpy(np.stack([clip.rgb for clip in clips])).permute(0, 1, 4, 2, 3).float() / 255
    return ClipBatch(
        images=images.contiguous(),
        depth=torch.from_numpy(np.stack([clip.depth for clip in clips])),
        valid=torch.from_numpy(np.stack([clip.valid for clip in clips])),
        moving=torch.from_numpy(np.stack([clip.moving for clip in clips])),
        intrinsics=torch.from_numpy(np.stack([clip.intrinsics for clip in clips])).float(),
        world_from_cam=torch.from_numpy(world_from_cam).float(),
        names=tuple(clip.name for clip in clips),
    )
