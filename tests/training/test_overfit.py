"""Proof that the loop can learn: a small network knows sixteen scenes by heart; minutes of work (`-m slow -s`).

The whole of it is the trainer's own: objective, optimiser, rate; only the clips are sixteen and always the same.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from openloger.network import Network, preset
from openloger.training.clips import Clip, stack, take_frames
from openloger.training.config import OptimiserConfig, recipe
from openloger.training.curriculum import RatePlan
from openloger.training.data import ClipSpec
from openloger.training.objective import Objective
from openloger.training.optimiser import make_optimisers, rate_at, set_rate
from openloger.training.render import RenderClips, render_clips
from openloger.training.validate import HeldOut, Scores, validate

from .boxes import render_boxes

SCENES = 16
FAMILIES = ("rooms", "street", "terrain", "clutter")


def scenes(render: RenderClips, size: tuple[int, int]) -> list[Clip]:
    """A pair of frames of each, a second apart: they turn by ten degrees on average."""
    return [
        take_frames(clip, np.array([0, 1]))
        for seed in range(SCENES)
        for clip in render([ClipSpec(FAMILIES[seed % 4], seed, 40, 2, 1.0, size)])
    ]


def overfit(clips: list[Clip], *, steps: int, show_every: int = 50) -> list[Scores]:
    """The scores on the very clips, now and then; it ends early where they are good enough."""
    torch.manual_seed(0)
    stage = replace(recipe("pocket").stages[0], rate=RatePlan(peak=1e-3, warmup_steps=50))
    network = Network(replace(preset("pocket"), memory=None))
    objective, optimisers = Objective(network, stage), make_optimisers(network, OptimiserConfig(), encoder_rate=1.0)
    batch = stack(clips)
    judged = HeldOut({"all": (batch,)}, {"all": ()}, 0, 0, size=tuple(batch.depth.shape[2:]))
    curve = [validate(network, judged)["all"]]
    for step in range(steps):
        set_rate(optimisers, rate_at(stage.rate, step, steps))
        loss, _ = objective(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 4.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if (step + 1) % show_every == 0:
            curve.append(validate(network, judged)["all"])
            print(f"{step + 1}: rotation {curve[-1].rotation_deg:.2f}°, AbsRel {curve[-1].abs_rel:.3f}", flush=True)
            if good_enough(curve[-1]):
                break
    return curve


def good_enough(scores: Scores) -> bool:
    return scores.rotation_deg <= 3.5 and scores.abs_rel <= 0.2


@pytest.mark.slow
@pytest.mark.timeout(7200)  # the steps decide, not the load
def test_sixteen_scenes_are_learnt_by_heart():
    curve = overfit(scenes(render_clips, (64, 80)), steps=1500)
    assert curve[0].rotation_deg > 8  # so that there is something to learn
    assert not good_enough(curve[0])
    assert good_enough(curve[-1]), curve[-1]


def test_a_few_steps_go_down():
    curve = overfit(scenes(render_boxes, (16, 24)), steps=30, show_every=30)
    assert curve[-1].abs_rel < 0.95 * curve[0].abs_rel
    assert curve[-1].top1 > curve[0].top1 + 0.1
