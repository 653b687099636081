"""The loop: stages of steps, resumable to the step with the same losses, stoppable by the minute."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from openloger.errors import InputError, OpenlogerError
from openloger.network import Network, NetworkConfig, preset
from openloger.network.efficientnet import EfficientNet
from openloger.network.precision import training_dtype
from openloger.network.pretrained import load_imagenet
from openloger.runtime.interrupts import StopRequest, stop_requests
from openloger.runtime.threads import cores_shared
from openloger.shapes import Tensor
from openloger.training.batches import LaneFeed, ReadyBatch, arrived
from openloger.training.blocks import compile_blocks, recompute_blocks
from openloger.training.checkpoint import (
    checkpoint_path,
    latest_checkpoint,
    read_progress,
    read_terms,
    restore_checkpoint,
    save_checkpoint,
)
from openloger.training.clips import Clip
from openloger.training.config import TrainConfig
from openloger.training.curriculum import Stage
from openloger.training.data import ClipSpec
from openloger.training.distribute import (
    Ranks,
    accumulate,
    any_rank,
    average,
    full_tensor,
    gather,
    put_together,
    ranks,
    shard,
    wrap,
)
from openloger.training.folder import CHECKPOINTS_FOLDER, alone_in, check_run_folder, write_config, write_weights
from openloger.training.footage import opened
from openloger.training.initialise import begin_from, join_memory
from openloger.training.lines import progress_line, score_line
from openloger.training.metrics import MetricsLog, draw_held_out
from openloger.training.objective import Objective, mean_terms
from openloger.training.optimiser import RunningMean, check_optimiser, make_optimisers, rate_at, set_rate
from openloger.training.render import RenderClips, renderer
from openloger.training.run_state import TrainingProgress
from openloger.training.saving import Saver
from openloger.training.validate import HeldOut, held_out, validate

_NEXT_SAVES_S, _LAST_SAVES_S = 4.0, 12.0  # after another process has died; torchrun ends all after 30
_log = logging.getLogger("openloger")


class TrainingDivergedError(OpenlogerError):
    """A loss or gradient that is not finite; the message names the step and its clips."""


class _StopRequestedError(Exception):
    """Leaves a rendering that takes minutes."""


@dataclass(frozen=True)
class Budget:
    """When to stop, apart from the stages' end."""

    minutes: float | None = None
    steps: int | None = None  # optimiser steps of this call
    stage: str | None = None  # this stage alone, from the folder's latest weights where it has any


@dataclass
class Run:
    """The state that a stage changes; owned by the loop."""

    network: Network
    mean: RunningMean
    optimisers: list[torch.optim.Optimizer]
    progress: TrainingProgress
    terms: list[dict[str, float]] = field(default_factory=list)  # of batches since the last line of metrics


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    weights: Path | None = None,
    budget: Budget | None = None,
    device: str = "auto",
    render: RenderClips | None = None,
    shape_of: Callable[[str], NetworkConfig] = preset,
) -> TrainingProgress:
    """Train through the stages of `config` and leave checkpoints, metrics and weights in the folder `out`.

    `weights` is a checkpoint to begin from: of this network, or of π³. Clips of worlds are made by `render`, or as the
    config says. `shape_of` gives the network of a preset's name. Ctrl-C or SIGTERM ends a run after its step.

    Raises:
        InputError: `out` holds a run and `resume` is off, a run of another architecture, or files that no run wrote;
            a stage, a dataset, a device or compiler of worlds that is not there; an optimiser that torch does not have.
        WeightsError: `weights` does not hold this network, nor the same without its memory.
        TrainingDivergedError: a loss that is not finite.
        KeyboardInterrupt: a signal ended it; everything is on disk.
    """
    budget = budget or Budget()
    check_optimiser(config.optimiser)
    check_datasets(config)
    render = render or renderer(config)
    check_run_folder(out)  # before the processes meet, and the first of them begins to write
    beside = config.render_workers
    with (
        ranks(device, context=config.context_parallel) as among,
        alone_in(out, among),
        stop_requests() as stop,
        cores_shared(work=math.inf, beside=beside),
        Saver(config, among) as saver,
    ):
        context = RunContext(out, among, None, render, stop, saver, shape_of)
        begin = partial(start_run, config, context, resume=resume, stage=budget.stage, weights=weights)
        progress = run_stages(config, begin, context, budget)
        saver.wait()
        if any_rank(stop.requested, among):
            raise KeyboardInterrupt(f"stopped at step {progress.total_step}, all of it is kept in {out}")
    return progress


def run_stages(config: TrainConfig, begin: Callable[[], Run], context: RunContext, budget: Budget) -> TrainingProgress:
    """From what `begin` gives to the end or the budget's; nothing of the run outlives this call."""
    until = None if budget.minutes is None else time.monotonic() + 60 * budget.minutes
    with ExitStack() as stack:
        run = begin()
        before = run.progress.total_step
        if context.among.first:
            write_config(context.out, config)
            context = replace(context, metrics=stack.enter_context(MetricsLog(context.out, from_step=before)))
        for stage in stages_left(config, run.progress.stage, only=budget.stage):
            if stage.name != run.progress.stage:
                run = enter_stage(run, config, stage, context)
            left = None if budget.steps is None else budget.steps - (run.progress.total_step - before)
            if not StageLoop(config, stage, run, context).go(until=until, steps=left):
                break
        return run.progress


def check_datasets(config: TrainConfig) -> None:
    """Raises InputError for a folder that is missing or laid out otherwise, and a sequence that a run would be trained
    and validated on, before anything else is done."""
    validation = config.validation.datasets
    for other in validation:
        opened(other)
    for stage in config.stages:
        for dataset in stage.clips.datasets:
            names = opened(dataset).names
            same = [other for other in validation if (other.name, other.folder) == (dataset.name, dataset.folder)]
            both = [name for name in names if any(other.takes(name) for other in same)]
            if both:
                raise InputError(
                    f"{dataset.name} in {dataset.folder}: stage {stage.name!r} trains on sequence {both[0]!r}, and "
                    "validation has it too; part them by include and exclude"
                )


def stages_left(config: TrainConfig, current: str, *, only: str | None) -> tuple[Stage, ...]:
    """The current stage and those after it, or one alone."""
    if only is not None:
        return (config.stage(only),)
    return config.stages[config.stages.index(config.stage(current)) :]


def start_run(
    config: TrainConfig, context: RunContext, *, resume: bool, stage: str | None = None, weights: Path | None = None
) -> Run:
    """The first weights, those of a file, or those of the latest checkpoint of the folder."""
    out, among = context.out, context.among
    first = config.stages[0] if stage is None else config.stage(stage)
    path = latest_checkpoint(out / CHECKPOINTS_FOLDER)
    progress = read_progress(path) if path else TrainingProgress(first.name, 0, 0, 0.0, 0)
    if path is not None and not resume and stage in (None, progress.stage):
        raise InputError(f"{out} holds a run already; go on with it by --resume, or train into another folder")
    if path is not None and weights is not None:
        raise InputError(f"{out} holds a run already, which has its weights; leave out --weights, or use a new folder")
    out.mkdir(parents=True, exist_ok=True)
    current = config.stage(progress.stage)
    network = make_network(config, current, context.shape_of)
    if weights is not None:
        begin_from(network, weights, gate=current.initial_gate)
    elif path is None and isinstance(network.encoder, EfficientNet):
        load_imagenet(network.encoder)
    run = make_run(network, config, current, progress, among)
    if path:
        restore_checkpoint(path, network=run.network, mean=run.mean, optimisers=run.optimisers)
        run.terms = read_terms(path, rank=among.rank, count=among.count)
    return run


def make_network(config: TrainConfig, stage: Stage, shape_of: Callable[[str], NetworkConfig] = preset) -> Network:
    """The preset's network with its first weights, without memory layers where the stage leaves them out."""
    torch.manual_seed(config.seed)
    shape = shape_of(config.preset)
    return Network(shape if stage.windows.memory else replace(shape, memory=None))


def make_run(network: Network, config: TrainConfig, stage: Stage, progress: TrainingProgress, among: Ranks) -> Run:
    """Everything that moves, fresh for a stage."""
    network = network.to(among.device).train()
    network.precision = training_dtype(config.precision, among.device)  # the weights that move stay float32
    set_trainable(network, stage)
    if among.many and config.parallel == "fsdp":
        shard(network, among, over=config.shard_over, precision=network.precision)
    optimisers = make_optimisers(network, config.optimiser, encoder_rate=stage.rate.encoder)
    mean = RunningMean(dict(network.named_parameters()), config.optimiser.ema)
    return Run(network, mean, optimisers, progress)


def set_trainable(network: Network, stage: Stage) -> None:
    """Train only the weights that the stage names.

    Raises:
        InputError: nothing in this network has such a name.
    """
    for wanted in stage.trainable:
        if not any(name.startswith(wanted) for name, _ in network.named_parameters()):
            raise InputError(f"stage {stage.name!r}: nothing in {network.config.name} begins with {wanted!r}")
    for name, weight in network.named_parameters():
        weight.requires_grad_(not stage.trainable or name.startswith(stage.trainable))


def enter_stage(run: Run, config: TrainConfig, stage: Stage, context: RunContext) -> Run:
    """Take the weights along; the optimiser and the running mean begin anew, memory layers where they join."""
    progress = replace(run.progress, stage=stage.name, step=0)
    old = plain_network(run, dict(run.network.named_parameters()))
    network = make_network(config, stage, context.shape_of)
    if network.config.memory is not None and old.config.memory is None:
        join_memory(old, network, gate=stage.initial_gate)
    else:
        network.load_state_dict(old.state_dict())
    return make_run(network, config, stage, progress, context.among)


def plain_network(run: Run, weights: Mapping[str, Tensor]) -> Network:
    """A network of its own on the CPU with these weights, put together where they are sharded."""
    return network_with(run, put_together(weights))


def network_with(run: Run, weights: Mapping[str, Tensor]) -> Network:
    """A network of its own on the CPU with these whole weights."""
    network = Network(run.network.config)
    network.precision = run.network.precision
    network.load_state_dict({**network.state_dict(), **weights})
    return network


@dataclass(frozen=True)
class RunContext:
    """Where a run happens."""

    out: Path
    among: Ranks
    metrics: MetricsLog | None  # the first process' alone
    render: RenderClips
    stop: StopRequest
    saver: Saver
    shape_of: Callable[[str], NetworkConfig] = preset


class StageLoop:
    """One stage of a run, step after step."""

    def __init__(self, config: TrainConfig, stage: Stage, run: Run, context: RunContext) -> None:
        self.config, self.stage, self.run, self.context = config, stage, run, context
        if config.recompute:
            recompute_blocks(run.network)
        if config.compile:
            compile_blocks(run.network)
        self.objective = wrap(Objective(run.network, stage, context.among.window), context.among, config.parallel)
        self._held_out: HeldOut | None = None
        self._clock = time.monotonic()
        self._terms = [{name: torch.tensor(value) for name, value in term.items()} for term in run.terms]
        self._since = run.progress

    def go(self, *, until: float | None, steps: int | None) -> bool:
        """Step until the stage ends (True), or somebody wants it to stop, or the time (of time.monotonic) or the
        number of steps is up (False)."""
        last = self.stage.steps if steps is None else min(self.stage.steps, self.run.progress.step + steps)
        with ExitStack() as stack, self._kept_where_others_die():
            context, step = self.context, self.run.progress.step
            feed = LaneFeed(self.config, self.stage.clips, context.among, context.render)
            _log.info("%s: %s", self.stage.name, feed.describe())
            batches, lanes = stack.enter_context(feed.batches(step)), len(feed.lanes)
            while self.run.progress.step < last and not self._must_stop(until):
                self.step(batches, lanes)
                self._report()
        self._save()
        return self.run.progress.step >= self.stage.steps and not any_rank(
            self.context.stop.requested, self.context.among
        )

    def step(self, batches: Iterator[ReadyBatch], lanes: int) -> None:
        """One optimiser step: the mean gradient over the lanes of all processes, of which this one's are next."""
        run = self.run
        set_rate(run.optimisers, rate_at(self.stage.rate, run.progress.step, self.stage.steps))
        names: list[str] = []
        terms: list[dict[str, Tensor]] = []
        frames = 0
        for lane, ready in enumerate(islice(batches, lanes), start=1):
            clips = arrived(ready, self.context.among)
            names += clips.names
            frames += clips.images.shape[0] * clips.images.shape[1]
            with accumulate(self.objective, last=lane == lanes):
                loss, term = self.objective(clips, run.progress.step / self.stage.steps)
                (loss / lanes).backward()
            terms.append(term)
        norm = full_tensor(nn.utils.clip_grad_norm_(run.network.parameters(), self.config.optimiser.clip)).detach()
        self._refuse_nan(terms, norm, names)
        for optimiser in run.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        run.mean.update(dict(run.network.named_parameters()), run.progress.step)
        self._terms += [{**term, "gradient_norm": norm} for term in terms]
        self._advance(frames * self.context.among.teams)

    def _must_stop(self, until: float | None) -> bool:
        late = until is not None and time.monotonic() >= until
        return any_rank(late or self.context.stop.requested, self.context.among)

    def _advance(self, frames: int) -> None:
        now, done = time.monotonic(), self.run.progress
        self.run.progress = TrainingProgress(
            done.stage, done.step + 1, done.total_step + 1, done.seconds + now - self._clock, done.frames + frames
        )
        self._clock = now

    def _refuse_nan(self, terms: list[dict[str, Tensor]], norm: Tensor, names: list[str]) -> None:
        finite = bool(torch.isfinite(norm)) and all(bool(torch.isfinite(term["loss"])) for term in terms)
        if not any_rank(not finite, self.context.among):
            return
        wrong = sorted({name for term in terms for name, value in term.items() if not bool(torch.isfinite(value))})
        raise TrainingDivergedError(
            f"step {self.run.progress.total_step} of stage {self.stage.name!r} is not finite "
            f"({', '.join(wrong) or 'the gradient'}); its clips: {' '.join(names)}; "
            "the last checkpoint is whole, resume it with a lower rate"
        )

    def _report(self) -> None:
        done, config = self.run.progress, self.config
        if done.total_step % config.log_every == 0:
            self._write_terms()
        ends = done.step == self.stage.steps
        if config.validation.every and (done.total_step % config.validation.every == 0 or ends):
            self._validate()
        if done.total_step % config.save_every == 0:
            self._save()

    def _write_terms(self) -> None:
        done = self.run.progress
        numbers = average(mean_terms(self._terms), self.context.among)
        numbers |= {
            "rate": rate_at(self.stage.rate, done.step - 1, self.stage.steps),
            "frames_per_s": (done.frames - self._since.frames) / max(done.seconds - self._since.seconds, 1e-9),
            "seconds": done.seconds,
        }
        self._terms, self._since = [], done
        if self.context.metrics is not None:
            line = {"stage": self.stage.name, "frames": done.frames, **numbers}
            self.context.metrics.write("train", done.total_step, line)
            _log.info("%s", progress_line(done, self.stage, numbers))

    def _validate(self) -> None:
        done = self.run.progress
        among = self.context.among
        network = plain_network(self.run, self.run.mean.weights).to(among.device)
        if self._held_out is None:
            self._held_out = self._rendered_held_out()
        if self._held_out is None:
            _log.info("the validation of step %d is left out, as the run is to stop", done.total_step)
            return
        scores = validate(network, self._held_out, among)
        if self.context.metrics is not None:
            if self.config.validation.pictures:
                path = self.context.out / "pictures" / f"step-{done.total_step:08d}.png"
                draw_held_out(network, self._held_out, self.config.validation.pictures, path)
            for family, score in scores.items():
                line = {"family": family, "frames": done.frames, **asdict(score)}
                self.context.metrics.write("validation", done.total_step, line)
            _log.info("%s", score_line(done, scores["all"]))
        self._clock = time.monotonic()

    def _rendered_held_out(self) -> HeldOut | None:
        """Each process renders its share, so none waits for another's; None where the run is to stop meanwhile."""
        stop, render, among = self.context.stop, self.context.render, self.context.among

        def render_unless_stopped(specs: Sequence[ClipSpec]) -> list[Clip]:
            if stop.requested:
                raise _StopRequestedError
            return render(specs)

        try:
            rendered = held_out(self.stage, self.config.validation, render_unless_stopped, among)
        except _StopRequestedError:
            rendered = None
        return None if any_rank(rendered is None, among) else rendered

    @contextmanager
    def _kept_where_others_die(self) -> Iterator[None]:
        """Where another process dies: the last step, by one that has all of the state, which those of FSDP have not."""
        try:
            yield
        except RuntimeError:  # of the messages between processes; nothing has changed since the last step
            if self.context.among.many and self.config.parallel == "ddp":
                self._save_alone()
            raise

    def _save_alone(self) -> None:
        run, rank = self.run, self.context.among.rank
        folder = self.context.out / CHECKPOINTS_FOLDER
        time.sleep(min(_NEXT_SAVES_S * rank, _LAST_SAVES_S))
        if checkpoint_path(folder, run.progress).exists():  # by a process before this one
            return
        terms = [{name: float(value) for name, value in term.items()} for term in self._terms]
        state = {"network": run.network, "mean": run.mean, "optimisers": run.optimisers}
        save_checkpoint(folder, run.progress, **state, terms=[terms], small=self.config.small_state)
        _log.warning("another process has died: step %d is kept, --resume goes on from it", run.progress.total_step)

    def _save(self) -> None:
        run, context = self.run, self.context
        context.saver.save(
            context.out / CHECKPOINTS_FOLDER,
            run.progress,
            network=run.network,
            mean=run.mean,
            optimisers=run.optimisers,
            terms=gather([{name: float(value) for name, value in term.items()} for term in self._terms], context.among),
        )
        whole = put_together(run.mean.weights, keep=context.among.first)
        if context.among.first:
            write_weights(context.out, network_with(run, whole))
