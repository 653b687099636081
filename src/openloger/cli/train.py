"""`openloger train`: train a network on worlds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path


def train(
    preset_or_toml: str,
    *,
    out: Path,
    stage: str | None = None,
    resume: bool = False,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "auto",
) -> None:
    """Train a network on endless worlds, and leave weights, metrics and checkpoints in a folder.

    Args:
        preset_or_toml: A preset with a recipe (pocket, compact, loger, loger-star) or a TOML file that changes one.
        out: The run's folder: weights.safetensors, metrics.jsonl, checkpoints.
        stage: Do this stage of the run alone.
        resume: Go on from the folder's latest checkpoint.
        minutes: Stop after so many minutes, with a checkpoint.
        steps: Make the stage (or every stage) this many steps long, its learning rate with it.
        device: cpu, cuda, or auto.
    """
    from openloger.training.config import load_config
    from openloger.training.train import Budget
    from openloger.training.train import train as run

    config = load_config(preset_or_toml)
    stages = config.stages if stage is None else (config.stage(stage),)
    if steps is not None:
        stages = tuple(replace(one, steps=steps) for one in stages)
    run(replace(config, stages=stages), out, resume=resume, budget=Budget(minutes=minutes), device=device)
