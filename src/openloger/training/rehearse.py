"""A rehearsal of a run: every stage and transition of its real configuration on small shapes, and its plan in numbers.

What is rehearsed is what a run of days would otherwise meet late: data of each stage, a step, validation, a checkpoint,
a resume in the middle of the stage, the change to the next stage, with the stage's own windows, losses, optimiser and
precision. The network keeps its depth and the places of its memory layers; large widths shrink.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from openloger.errors import InputError
from openloger.network import Network, NetworkConfig, preset
from openloger.network.dense import DenseHeadsConfig
from openloger.network.encoder import EncoderConfig
from openloger.network.heads import HeadsConfig
from openloger.training.batches import LaneFeed
from openloger.training.blocks import recompute_blocks
from openloger.training.chaining import check_shares, run_chain
from openloger.training.config import TrainConfig, ValidationConfig
from openloger.training.curriculum import ClipPlan, Stage
from openloger.training.data import world_spec_of
from openloger.training.distribute import Ranks
from openloger.training.optimiser import is_matrix
from openloger.training.render import RenderClips, renderer
from openloger.training.train import Budget, check_datasets, set_trainable, train
from openloger.training.validate import held_out_frames
from openloger.transformer.share import WindowShare

STEPS = 4  # of each stage; the run is cut in the middle of each
_WIDE = 64  # features; networks that are narrower are rehearsed as they are
_TIMED_FRAMES = 4  # rendered at full size to measure the speed


@dataclass(frozen=True)
class Activations:
    """Bytes that the network keeps of a batch for its backward pass."""

    kept: int  # all of them
    recomputed: int  # with `recompute`: of every block what goes in


@dataclass(frozen=True)
class StagePlan:
    """The memory and feed of one stage in each process, in bytes and seconds: by arithmetic, or measured."""

    name: str
    steps: int
    frames_per_step: int  # that go through the network, over all processes
    new_frames_per_step: int  # of these, rendered or read anew
    weights: int  # float32, with the buffers' few bytes left out
    gradients: int
    moments: int  # of the optimiser
    running_mean: int
    feed_frames_per_s: float  # rendered here at full size by one process, measured
    feed_processes: int  # over all training processes
    validation_frames: int  # rendered once, over all processes
    waiting_clips: int  # in the host's memory, until they are used
    pooled_clips: int  # the same, to draw from
    activations: Activations

    @property
    def state(self) -> int:
        """Bytes that a process keeps between two steps."""
        return self.weights + self.gradients + self.moments + self.running_mean

    def total(self, *, recompute: bool) -> int:
        """At the end of a forward pass, when most is kept; what a block needs while it runs comes on top."""
        return self.state + (self.activations.recomputed if recompute else self.activations.kept)

    @property
    def least_step_s(self) -> float:
        """A step is not faster than its new frames come, where all are rendered on machines like this one."""
        return self.new_frames_per_step / (self.feed_frames_per_s * self.feed_processes)

    @property
    def validation_s(self) -> float:
        """Until the clips for validation are there, the first time."""
        return self.validation_frames / (self.feed_frames_per_s * self.feed_processes)


def small_shape(name: str) -> NetworkConfig:
    """The network of a preset with its depth, memory layers and patches, and few features where it has many."""
    shape = preset(name)
    encoder, heads, memory = shape.encoder, shape.heads, shape.memory
    if not isinstance(encoder, EncoderConfig) or not isinstance(heads, HeadsConfig) or encoder.width <= _WIDE:
        return shape
    return replace(
        shape,
        encoder=replace(encoder, width=32, heads=2, depth=2, position_grid=8),
        decoder=replace(shape.decoder, width=32, heads=2),
        heads=replace(heads, width=32, heads=2, depth=1, output_width=32, camera_width=32),
        memory=None if memory is None else replace(memory, ttt_head_dim=16),
    )


def small_config(config: TrainConfig, *, processes: int = 1, steps: int = STEPS) -> TrainConfig:
    """The same run with few and small clips, and `steps` steps a stage; windows, losses and optimiser stay."""
    patch = small_shape(config.preset).encoder.patch
    stages = tuple(
        replace(stage, steps=steps, clips=_small_clips(stage, patch=patch, processes=processes))
        for stage in config.stages
    )
    validation = ValidationConfig(every=2, clips=1, frames=2, paths=1, pictures=0, most_frames=10_000)
    return replace(
        config,
        stages=stages,
        validation=validation,
        render_workers=0,
        render_compiled=False,
        log_every=3,
        save_every=10**6,
        compile=False,
    )


def _small_clips(stage: Stage, *, patch: int, processes: int) -> ClipPlan:
    plan, (window, overlap) = stage.clips, stage.windows.at(0.0)
    most = max(2, 2 * window - overlap) if window else 4
    frames = tuple(min(count, most) for count in plan.frames)
    return replace(
        plan,
        size=(2 * patch, 3 * patch),
        other_sizes=((3 * patch, 2 * patch),) if plan.other_sizes or plan.pixels != (0, 0) else (),
        pixels=(0, 0),
        frames=frames,
        rendered=max(frames),
        batch=min(plan.batch, 2),
        lanes=processes * min(2, max(1, plan.lanes // processes)),
        pool=min(plan.pool, 4),
        ready=0,
        reuse=min(plan.reuse, 2.0),
    )


def rehearse(
    config: TrainConfig,
    folder: Path,
    *,
    processes: int = 1,
    device: str = "cpu",
    render: RenderClips | None = None,
    shape_of: Callable[[str], NetworkConfig] = preset,
) -> list[StagePlan]:
    """Go through the run on small shapes, in the empty `folder`, and plan it for `processes` processes.

    `shape_of` gives the network that is planned for.

    Raises:
        InputError: the configuration cannot be run; a dataset is missing; what a resumed run learned differs.
    """
    check_datasets(config)
    small = small_config(config)
    cut, until = 0, len(small.stages) * STEPS
    while cut < until:  # in the middle of each stage, and at its end
        progress = train(
            small,
            folder,
            resume=cut > 0,
            budget=Budget(steps=STEPS // 2),
            device=device,
            render=render,
            shape_of=small_shape,
        )
        if progress.total_step == cut:
            raise InputError(f"stage {progress.stage!r} does not go on after its step {progress.step}")
        cut = progress.total_step
    return plan_run(config, processes=processes, render=render, shape_of=shape_of)


def plan_run(
    config: TrainConfig,
    *,
    processes: int,
    render: RenderClips | None = None,
    shape_of: Callable[[str], NetworkConfig] = preset,
) -> list[StagePlan]:
    """Memory and feed of each stage. Raises InputError where its lanes do not go into `processes`."""
    plans, render = [], render or renderer(config)
    for stage in config.stages:
        clips = stage.clips
        among = Ranks(0, processes, torch.device("cpu"), config.context_parallel if processes > 1 else 1)
        feed = LaneFeed(config, clips, among, render)
        with torch.device("meta"):
            shape = shape_of(config.preset)
            network = Network(shape if stage.windows.memory else replace(shape, memory=None))
        set_trainable(network, stage)
        check_shares(network, among.context)
        shards = (config.shard_over or processes) if config.parallel == "fsdp" else 1
        weights = _bytes(weight for _, weight in network.named_parameters())
        trained = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
        moments = sum(
            4 * weight.numel() * (1 if config.optimiser.kind == "muon" and is_matrix(name, weight) else 2)
            for name, weight in trained
        )
        mean_frames = sum(c * o for c, o in zip(clips.frames, clips.odds, strict=True)) / sum(clips.odds)
        plans.append(
            StagePlan(
                name=stage.name,
                steps=stage.steps,
                frames_per_step=round(clips.lanes * clips.batch * mean_frames),
                new_frames_per_step=round(clips.lanes * clips.batch * clips.rendered / clips.reuse),
                weights=weights // shards,
                gradients=_bytes(weight for _, weight in trained) // shards,
                moments=moments // shards,
                running_mean=weights // shards,
                feed_frames_per_s=_measured_feed(config, stage, render),
                feed_processes=clips.lanes * max(1, config.render_workers),
                validation_frames=held_out_frames(stage, config.validation),
                waiting_clips=feed.waiting_bytes,
                pooled_clips=feed.pool_bytes,
                activations=count_activations(config, stage, network.config, context=among.context),
            )
        )
    return plans


def count_activations(config: TrainConfig, stage: Stage, shape: NetworkConfig, *, context: int = 1) -> Activations:
    """Of a batch of one lane with the most frames of the stage, at the windows that it begins with.

    Of clips of several sizes the largest count. Windows after the second keep as much as the second, so no more than
    two are gone through. The losses, which keep little beside the network, are left out. Of `context` processes that
    share the windows the first is counted, whose share is the largest.
    """
    clips, (window, overlap) = stage.clips, stage.windows.at(0.0)
    frames = max(clips.frames)
    count = 1 + -(-(frames - window) // (window - overlap)) if 0 < window < frames else 1
    gone_through = frames if count == 1 else 2 * window - overlap
    each = [_kept(config, stage, shape, gone_through, recompute=again, context=context) for again in (False, True)]
    kept, recomputed = (first + (count - 1) * (both - first) for first, *_, both in each)
    return Activations(kept, recomputed)


def _kept(
    config: TrainConfig, stage: Stage, shape: NetworkConfig, frames: int, *, recompute: bool, context: int
) -> list[int]:
    """Bytes of all tensors that are kept for the backward pass, each memory once: after each window, and at the end.

    Dense heads check their values, which tensors without contents have not: their small networks run on one clip of
    the batch, whose bytes count once for each. A geometric camera keeps what it finds, so the weights are seeded.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    is_checked = isinstance(shape.heads, DenseHeadsConfig)
    clips, times = (1, stage.clips.batch) if is_checked else (stage.clips.batch, 1)
    with nullcontext() if is_checked else FakeTensorMode():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = Network(shape).train()
        network.precision = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        set_trainable(network, stage)
        if recompute:
            recompute_blocks(network)
        weights = {weight.untyped_storage()._cdata for weight in network.parameters()}
        kept: dict[int, torch.UntypedStorage] = {}
        totals: list[int] = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            memory = tensor.untyped_storage()
            if memory._cdata not in weights:
                kept[memory._cdata] = memory
            return tensor

        def count(*_: object) -> None:
            totals.append(times * sum(memory.nbytes() for memory in kept.values()))

        network.register_forward_hook(count)
        images = torch.zeros(clips, frames, 3, *stage.clips.largest_size)
        window, overlap = stage.windows.at(0.0)
        share = None if context == 1 else lambda frames: WindowShare(frames, 0, context, None)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            chain = run_chain(
                network, images, size=window, overlap=overlap, share=share, measured=stage.windows.measured
            )
        count()
        del chain
    return totals


def _bytes(weights: Iterable[torch.Tensor]) -> int:
    return sum(4 * weight.numel() for weight in weights)


def _measured_feed(config: TrainConfig, stage: Stage, render: RenderClips) -> float:
    """Frames a second of one process, of a clip of each of the first worlds that this stage would draw."""
    own = stage.clips
    size = own.size if own.pixels == (0, 0) else own.largest_size
    plan = replace(
        own, size=size, rendered=_TIMED_FRAMES, frames=(_TIMED_FRAMES,), odds=(1.0,), other_sizes=(), pixels=(0, 0)
    )
    specs = [world_spec_of(plan, seed=config.seed, lane=0, number=number * plan.per_world) for number in range(2)]
    if config.render_compiled or config.render_device != "cpu":
        render(specs)  # kernels are compiled or loaded when they are first called
    began_s = time.perf_counter()
    clips = render(specs)
    return sum(len(clip) for clip in clips) / (time.perf_counter() - began_s)
