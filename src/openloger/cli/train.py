"""`openloger train`: train a network on worlds."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import tyro

from openloger.cli import EXIT_INTERRUPTED
from openloger.errors import InputError
from openloger.runtime.allocator import keep_freed_memory


def train(
    preset_or_toml: tyro.conf.Positional[str],
    /,
    *,
    out: Path,
    stage: str | None = None,
    resume: bool = False,
    weights: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    clip_cache: Path | None = None,
) -> int:
    """Train a network on endless worlds, and leave weights, metrics and checkpoints in a folder.

    Ctrl-C finishes the step in hand and keeps everything; --resume goes on from there.

    Args:
        preset_or_toml: A preset with a recipe (pocket, compact, loger, loger-star) or a TOML file that changes one.
        out: The run's folder: weights.safetensors, metrics.jsonl, checkpoints.
        stage: Do this stage of the run alone, from the folder's latest weights where it has any.
        resume: Go on from the folder's latest checkpoint.
        weights: Begin from these: a preset's name for those in the box or on the hub, a file, a folder, or a Hugging
            Face id (user/repo). Those of π³ do for a network with memory, which then begins closed.
        minutes: Stop after so many minutes, with a checkpoint.
        steps: Make the stage (or every stage) this many steps long, its learning rate with it.
        device: cpu, cuda, or auto.
        clip_cache: Keep rendered clips in this folder, and read those that are there; runs may share it.
    """
    from openloger.network import PRESETS
    from openloger.network.load import find_weights
    from openloger.training.config import load_config
    from openloger.training.render import CachedRender, render_clips
    from openloger.training.train import Budget
    from openloger.training.train import train as run

    config = load_config(preset_or_toml)
    if steps is not None:
        config = replace(config, stages=tuple(replace(one, steps=steps) for one in config.stages))
    start = None
    if weights is not None:
        start = find_weights(weights, None) if weights in PRESETS else find_weights(config.preset, weights)
        if start is None:
            raise InputError(f"{weights} has no weights yet; give a file")
    budget = Budget(minutes=minutes, stage=stage)
    render = render_clips if clip_cache is None else CachedRender(clip_cache)
    keep_freed_memory()
    try:
        run(config, out, resume=resume, weights=start, budget=budget, device=device, render=render)
    except KeyboardInterrupt as stopped:
        reason = str(stopped) or f"interrupted; what the last checkpoint holds is kept in {out}"
        print(f"openloger: {reason}; the same command with --resume goes on from there", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
