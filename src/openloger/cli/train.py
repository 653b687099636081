"""`openloger train`: train a network on worlds, or rehearse it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from openloger.cli import EXIT_INTERRUPTED
from openloger.cli.terminal import print_table
from openloger.errors import InputError
from openloger.runtime.allocator import keep_freed_memory

if TYPE_CHECKING:
    from openloger.training.config import TrainConfig
    from openloger.training.rehearse import StagePlan


def train(
    preset_or_toml: tyro.conf.Positional[str],
    /,
    *,
    out: Path | None = None,
    stage: str | None = None,
    resume: bool = False,
    weights: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    clip_cache: Path | None = None,
    rehearse: bool = False,
    processes: int = 1,
) -> int:
    """Train a network on endless worlds, and leave weights, metrics and checkpoints in a folder.

    Ctrl-C finishes the step in hand and keeps everything; --resume goes on from there.

    Args:
        preset_or_toml: A preset with a recipe (pocket, compact, loger, loger-star) or a TOML file that changes one.
        out: The run's folder: weights.safetensors, metrics.jsonl, checkpoints. A rehearsal needs none.
        stage: Do this stage of the run alone, from the folder's latest weights where it has any.
        resume: Go on from the folder's latest checkpoint.
        weights: Begin from these: a preset's name for those in the box or on the hub, a file, a folder, or a Hugging
            Face id (user/repo). Those of π³ do for a network with memory, which then begins closed.
        minutes: Stop after so many minutes, with a checkpoint.
        steps: Make the stage (or every stage) this many steps long, its learning rate with it.
        device: cpu, cuda, or auto.
        clip_cache: Keep rendered clips in this folder, those of validation too, and read those that are there; runs may
            share it.
        rehearse: Instead of training, go through every stage, validation, checkpoint and resume on small shapes, and
            print what the run takes of each process.
        processes: Of a rehearsal: for how many processes the run is planned.
    """
    from openloger.network import PRESETS
    from openloger.network.load import find_weights
    from openloger.training.config import load_config
    from openloger.training.render import CachedRender, renderer
    from openloger.training.train import Budget
    from openloger.training.train import train as run

    config = load_config(preset_or_toml)
    if rehearse:
        return _rehearse(config, processes=processes, device=device)
    if out is None:
        raise InputError("a run needs a folder; give it with --out FOLDER (or --rehearse, which needs none)")
    if steps is not None:
        config = replace(config, stages=tuple(replace(one, steps=steps) for one in config.stages))
    start = None
    if weights is not None:
        start = find_weights(weights, None) if weights in PRESETS else find_weights(config.preset, weights)
        if start is None:
            raise InputError(f"{weights} has no weights yet; give a file")
    budget = Budget(minutes=minutes, stage=stage)
    render = renderer(config) if clip_cache is None else CachedRender(clip_cache, renderer(config))
    keep_freed_memory()
    try:
        run(config, out, resume=resume, weights=start, budget=budget, device=device, render=render)
    except KeyboardInterrupt as stopped:
        reason = str(stopped) or f"interrupted; what the last checkpoint holds is kept in {out}"
        print(f"openloger: {reason}; the same command with --resume goes on from there", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _rehearse(config: TrainConfig, *, processes: int, device: str) -> int:
    """Run it on small shapes in a temporary folder, and print the plan."""
    from rich.table import Table

    from openloger.training.rehearse import rehearse

    with tempfile.TemporaryDirectory(prefix="openloger-rehearsal-") as folder:
        plans = rehearse(config, Path(folder) / "run", processes=processes, device=device)
    table = Table(title=f"{config.preset}: every stage went through; a process of {processes} takes")
    for column in ("", *(plan.name for plan in plans)):
        table.add_column(column, justify="right" if column else "left")
    for name, cells in plan_rows(plans, recompute=config.recompute):
        table.add_row(name, *cells)
    print_table(table)
    return 0


def plan_rows(plans: Sequence[StagePlan], *, recompute: bool) -> list[tuple[str, list[str]]]:
    """Rows of the printed plan, a cell a stage."""

    def row(name: str, cell: Callable[[StagePlan], str]) -> tuple[str, list[str]]:
        return name, [cell(plan) for plan in plans]

    return [
        row("steps", lambda plan: f"{plan.steps:,}"),
        row("weights", lambda plan: f"{plan.weights / 1e9:.2f} GB"),
        row("gradients", lambda plan: f"{plan.gradients / 1e9:.2f} GB"),
        row("moments", lambda plan: f"{plan.moments / 1e9:.2f} GB"),
        row("running mean", lambda plan: f"{plan.running_mean / 1e9:.2f} GB"),
        row("activations of a batch", lambda plan: f"{plan.activations.kept / 1e9:.2f} GB"),
        row("the same, recomputed", lambda plan: f"{plan.activations.recomputed / 1e9:.2f} GB"),
        row("together", lambda plan: f"{plan.total(recompute=recompute) / 1e9:.2f} GB"),
        row("clips that wait, host", lambda plan: f"{plan.waiting_clips / 1e9:.2f} GB"),
        row("clips to draw from, host", lambda plan: f"{plan.pooled_clips / 1e9:.2f} GB"),
        row("frames a step", lambda plan: f"{plan.frames_per_step:,}"),
        row("of these new", lambda plan: f"{plan.new_frames_per_step:,}"),
        row("worlds rendered here", lambda plan: f"{plan.feed_frames_per_s:.1f} frames/s a process"),
        row("renderers", lambda plan: f"{plan.feed_processes:,}"),
        row("a step takes at least", lambda plan: f"{plan.least_step_s:.2f} s to feed"),
        row("the stage at least", lambda plan: f"{plan.least_step_s * plan.steps / 3600:.1f} h to feed"),
        row("validation renders", lambda plan: f"{plan.validation_frames:,} frames, {plan.validation_s / 60:.1f} min"),
    ]
