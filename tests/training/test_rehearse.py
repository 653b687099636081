"""Every shipped recipe on small shapes: through all stages, cut in each, to the last bit what an uncut run learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from openloger.errors import InputError
from openloger.network import Network
from openloger.training import rehearse as rehearse_module
from openloger.training import train as train_module
from openloger.training.checkpoint import latest_checkpoint
from openloger.training.config import ValidationConfig, recipe
from openloger.training.curriculum import DatasetPlan
from openloger.training.data import ClipSpec
from openloger.training.metrics import read_metrics
from openloger.training.rehearse import Activations, count_activations, plan_run, rehearse, small_config, small_shape
from openloger.training.train import Budget, train

from .boxes import render_box, render_boxes
from .shallow import shallow
from .test_optimiser import NEEDS_MUON

STEPS = 3
pytestmark = [
    pytest.mark.timeout(900),  # 15 s of work a test, on a machine that may be busy
    pytest.mark.usefixtures("one_thread"),
]
RECIPES = [  # a checkpoint of `compact` is 100 MB, and `loger-star` differs from `loger` by a norm
    pytest.param("pocket", marks=NEEDS_MUON),
    pytest.param("compact", marks=pytest.mark.slow),
    "loger",
    pytest.param("loger-star", marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True)
def random_encoder(monkeypatch):
    """Its pretrained features are a package of their own."""
    monkeypatch.setattr(train_module, "load_imagenet", lambda encoder: None)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Real video, as far as training can see."""
    out = tmp_path_factory.mktemp("footage")
    clip = render_box(ClipSpec("rooms", 4, 0, 30, 10.0, (32, 48)))
    for name in ("rgb", "depth"):
        (out / "kitchen" / name).mkdir(parents=True)
    for number in range(30):
        Image.fromarray(clip.rgb[number]).save(out / "kitchen" / "rgb" / f"{number:06d}.png")
        np.save(out / "kitchen" / "depth" / f"{number:06d}.npy", clip.depth[number])
    np.savetxt(out / "kitchen" / "world_from_cam.txt", clip.world_from_cam.reshape(30, 16))
    np.savetxt(out / "kitchen" / "intrinsics.txt", clip.intrinsics[0])
    return out


def shipped(name, footage):
    """The recipe, made small, of worlds and footage."""
    config = small_config(recipe(name), steps=STEPS)
    mixed = (DatasetPlan("folder", str(footage), odds=0.5, stride=(1, 1)),)
    stages = tuple(replace(stage, clips=replace(stage.clips, datasets=mixed)) for stage in config.stages)
    return replace(config, stages=stages, validation=ValidationConfig(every=0), log_every=2)


def lines(out):
    clock = ("seconds", "frames_per_s")
    return [
        {name: value for name, value in line.items() if name not in clock}
        for line in read_metrics(out / "metrics.jsonl", "train")
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_cut_in_every_stage_learns_the_same_to_the_last_bit(name, footage, tmp_path):
    """Muon, mixed data, the running mean, several stages; the lines of metrics are means over what was cut, too."""
    config, begun = shipped(name, footage), False
    draw = np.random.default_rng(sum(name.encode()))
    whole = {"render": render_boxes, "device": "cpu", "shape_of": shallow}
    train(config, tmp_path / "whole", **whole)
    cuts = [STEPS * number + int(draw.integers(1, STEPS)) for number in range(len(config.stages))]
    for before, cut in zip([0, *cuts], [*cuts, None], strict=True):
        budget = Budget(steps=None if cut is None else cut - before)
        progress = train(config, tmp_path / "cut", resume=begun, budget=budget, **whole)
        begun = True
        assert cut is None or progress.total_step == cut
    assert len(lines(tmp_path / "whole")) == STEPS * len(config.stages) // 2
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole"), cuts
    a, b = (latest_checkpoint(tmp_path / side / "checkpoints") for side in ("whole", "cut"))
    assert a is not None
    assert b is not None
    shards = sorted(path.name for path in a.glob("*.safetensors"))
    assert shards == sorted(path.name for path in b.glob("*.safetensors"))
    assert [name for name in shards if (a / name).read_bytes() != (b / name).read_bytes()] == []
    assert (tmp_path / "whole/weights.safetensors").read_bytes() == (tmp_path / "cut/weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("pocket", marks=NEEDS_MUON),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("compact", "loger", "loger-star")),
    ],
)
def test_a_rehearsal_goes_through_every_stage(name, tmp_path):
    config = recipe(name)
    plans = rehearse(config, tmp_path, processes=2, render=render_boxes, shape_of=small_shape)
    assert [plan.name for plan in plans] == [stage.name for stage in config.stages]
    stages = [
        line["step"] for line in read_metrics(tmp_path / "metrics.jsonl", "validation") if line["family"] == "all"
    ]
    assert stages == list(range(2, 4 * len(plans) + 1, 2))
    for plan in plans:
        assert plan.state > plan.weights > 0
        assert 0 < plan.activations.recomputed <= plan.activations.kept
        assert plan.least_step_s > 0


def test_processes_that_share_windows_are_planned_with_their_part():
    config = small_config(recipe("loger"))
    alone, shared = (
        count_activations(config, config.stages[0], shallow("loger"), context=context) for context in (1, 3)
    )
    assert alone.kept / 3 < shared.kept < 0.6 * alone.kept  # all keys and values, and a third of the rest
    assert alone.recomputed / 3 < shared.recomputed < 0.6 * alone.recomputed
    with pytest.raises(InputError, match=r"context_parallel = 2: compact takes whole windows"):
        plan_run(replace(recipe("compact"), context_parallel=2), processes=2, render=render_boxes)
    with pytest.raises(InputError, match=r"context_parallel = 3: 8 processes"):
        plan_run(replace(recipe("loger"), context_parallel=3), processes=8, render=render_boxes)


def test_what_the_refinement_keeps_behind_the_geometric_camera_is_counted():
    config = small_config(recipe("compact"))
    found = count_activations(config, config.stages[-1], small_shape("compact"))
    assert found.kept > 0
    assert found.recomputed == found.kept  # none of its blocks learns


def test_the_plan_of_loger_is_right(monkeypatch):
    monkeypatch.setattr(rehearse_module, "count_activations", lambda *_, **__: Activations(0, 0))  # takes minutes
    config = recipe("loger")
    first, second = plan_run(config, processes=8, render=render_boxes)
    with torch.device("meta"):
        count = sum(weight.numel() for weight in Network(train_module.preset("loger")).parameters())
    assert (first.weights, first.gradients, first.moments, first.running_mean) == (
        4 * count,
        4 * count,
        8 * count,
        4 * count,
    )
    assert (first.frames_per_step, first.new_frames_per_step) == (32 * 48, 32 * 48)
    assert (second.frames_per_step, second.new_frames_per_step) == (32 * 128, 32 * 128)
    sharded = plan_run(replace(config, parallel="fsdp"), processes=8, render=render_boxes)[0]
    assert sharded.state == pytest.approx(first.state / 8)
    assert first.validation_frames <= config.validation.most_frames
