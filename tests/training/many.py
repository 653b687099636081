"""Started by torchrun in test_distribute: python many.py OUT KIND STAGE STEPS …. Short runs on boxes, on a CPU."""

import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import torch.distributed as dist

from openloger.training.config import TrainConfig, ValidationConfig, recipe
from openloger.training.curriculum import RatePlan, WindowPlan
from openloger.training.train import Budget, StageLoop, train
from training.boxes import render_boxes
from training.shallow import shallow

STEPS = 4
join = dist.init_process_group


def config(kind: str, stage: str) -> TrainConfig:
    """Four lanes a step: two a process where there are two. `kind` is ddp, fsdp, or hsdp, of groups of two; with
    "-shared" pairs of processes have the frames of their windows between them; with "-saved" every second step is."""
    base = recipe("pocket")
    first = base.stages[0]
    clips = replace(first.clips, size=(16, 24), rendered=6, frames=(2, 3), batch=2, lanes=4, pool=6)
    windows = WindowPlan(memory=False)
    if stage == "chained":
        clips = replace(clips, frames=(6,), odds=(1.0,))
        windows = WindowPlan(window=(4, 4), overlap=(2, 2))
        # gradients of directions grow as vectors get short: in chains, they make rounding a hundred times larger a step
        first = replace(first, losses=replace(first.losses, direction=0.0, normal=0.0))
    short = replace(first, steps=STEPS, clips=clips, windows=windows, rate=RatePlan(peak=1e-4, warmup_steps=1))
    return replace(
        base,
        stages=(short,),
        optimiser=replace(base.optimiser, kind="adamw"),  # Muon iterates in bfloat16, which differs by more
        precision="float32",
        parallel="ddp" if kind.startswith("ddp") else "fsdp",
        context_parallel=2 if kind.endswith("-shared") else 1,
        shard_over=2 if kind == "hsdp" else 0,
        validation=ValidationConfig(every=STEPS, clips=2, pictures=0),
        render_workers=0,
        log_every=1,
        save_every=2 if kind.endswith("-saved") else 1000,
    )


def main(out: Path, kind: str, stage: str, steps: int) -> None:
    resume, budget = (out / "checkpoints" / "latest").is_file(), Budget(steps=steps)
    chosen = config(kind, stage)
    train(chosen, out, render=render_boxes, device="cpu", resume=resume, budget=budget, shape_of=shallow)


def die_before(step: int) -> None:
    """This process is killed, as by the system when memory is short, once so many steps are done."""
    whole = StageLoop.step

    def deadly(loop: StageLoop, *given: Any) -> None:
        if loop.run.progress.total_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(loop, *given)

    StageLoop.step = deadly


def meet_apart(run: int) -> None:
    """The processes meet under names of this run's own: under the same again they would find the run before."""
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    own, rank, count = dist.PrefixStore(str(run), store), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group = partial(join, store=own, rank=rank, world_size=count)


if __name__ == "__main__":
    if os.environ.get("DYING_RANK") == os.environ["RANK"]:
        die_before(3)
    runs = iter(sys.argv[1:])
    for number, (out, kind, stage, steps) in enumerate(zip(runs, runs, runs, runs, strict=True)):
        if number:
            meet_apart(number)
        main(Path(out), kind, stage, int(steps))
