"""Train on video of your own, from the weights in the box.

The data are folders with a video, its cameras, lens and depth (docs/datasets.md); the public benchmarks do as well.
Without any, two procedural worlds are written out as such folders first.

python examples/06_fine_tune.py --data my-labelled-videos --steps 500
"""

import logging
from dataclasses import replace
from pathlib import Path

import tyro

import openloger
from openloger.datasets import write_folder
from openloger.network.load import boxed
from openloger.training.config import TrainConfig, ValidationConfig, recipe
from openloger.training.curriculum import DatasetPlan, RatePlan
from openloger.training.train import train


def main(data: Path | None = None, out: Path = Path("out/fine-tune"), steps: int = 10, batch: int = 2) -> None:
    """Fine-tune `pocket`, and use what came out.

    Args:
        data: A folder of labelled videos.
        out: The run's folder; weights, metrics and checkpoints end up there.
        steps: How many; hundreds to change anything. More than last time go on from there.
        batch: Clips a step.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = own_recipe(data or written_worlds(out / "data"), steps, batch)
    begun = (out / "run" / "checkpoints").exists()
    train(config, out / "run", weights=None if begun else boxed("pocket"), resume=begun)
    # The same with a TOML file: openloger train own.toml --weights pocket --out run

    network = openloger.load_network("pocket", weights=out / "run" / "weights.safetensors")
    again = openloger.RunOptions(existing="overwrite")
    print(
        openloger.reconstruct("world:rooms:5?frames=12&size=64x80", out / "recording", network=network, options=again)
    )


def own_recipe(data: Path, steps: int, batch: int) -> TrainConfig:
    """The last stage of `pocket`'s recipe, on other clips and at a rate that does not undo what is known."""
    known = recipe("pocket")
    stage = known.stage("chained")
    clips = replace(
        stage.clips,
        rendered=8,
        frames=(4, 8),
        odds=(1.0, 1.0),
        batch=batch,
        lanes=1,
        pool=4 * batch,
        world_odds=0.5,  # a third of the clips are still of worlds, so that what they taught is not forgotten
        datasets=(DatasetPlan("folder", str(data), odds=1.0, stride=(1, 3)),),
    )
    stage = replace(stage, steps=steps, clips=clips, rate=RatePlan(peak=1e-4, warmup_steps=steps // 10))
    validation = ValidationConfig(every=0)  # on worlds; hold some videos of your own back, and see example 05
    return replace(known, stages=(stage,), validation=validation, render_workers=0, log_every=max(1, steps // 10))


def written_worlds(folder: Path) -> Path:
    """Two short labelled videos, as they could come from anywhere."""
    for seed in (11, 12):
        if not (folder / f"room-{seed}").exists():
            world = openloger.worlds.World("rooms", seed=seed, size=(96, 120), fps=6, frames=30)
            write_folder(world, folder / f"room-{seed}", fps=6.0)
    return folder


if __name__ == "__main__":
    tyro.cli(main)
