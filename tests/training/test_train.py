"""The loop on a CPU: golden losses, cut and resumed, NaN, budgets."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from openloger.errors import InputError
from openloger.network.checkpoint import read_config
from openloger.training.checkpoint import latest_checkpoint, read_progress, shards
from openloger.training.config import TrainConfig, ValidationConfig, recipe
from openloger.training.curriculum import RatePlan
from openloger.training.data import ClipSpec
from openloger.training.metrics import read_metrics
from openloger.training.train import Budget, TrainingDivergedError, train

from .boxes import render_box, render_boxes

GOLDEN = Path(__file__).parent / "golden_losses.json"


def tiny(steps: int = 20, **changes) -> TrainConfig:
    """A few steps of the pocket recipe on 32×40 pictures of boxes."""
    config = recipe("pocket")
    stage = config.stages[0]
    clips = replace(stage.clips, size=(32, 40), batch=2, pool=6)
    stage = replace(stage, steps=steps, clips=clips, rate=RatePlan(peak=5e-5, warmup_steps=5))
    config = replace(
        config, stages=(stage,), validation=ValidationConfig(every=0), render_workers=0, log_every=1, save_every=1000
    )
    return replace(config, **changes)


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(out / "metrics.jsonl", "train")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    train(tiny(), out, render=render_boxes, device="cpu")
    return out


def test_golden_losses(whole):
    np.testing.assert_allclose(losses(whole), json.loads(GOLDEN.read_text()), rtol=5e-3)


def test_a_cut_and_resumed_run_equals_the_uncut_one(whole, tmp_path):
    progress = train(tiny(), tmp_path, render=render_boxes, device="cpu", budget=Budget(steps=7))
    assert progress.step == 7
    progress = train(tiny(), tmp_path, render=render_boxes, device="cpu", resume=True)
    assert progress.step == progress.total_step == 20
    assert losses(tmp_path) == losses(whole)
    a, b = (latest_checkpoint(out / "checkpoints") for out in (whole, tmp_path))
    assert a is not None
    assert b is not None
    for shard in a.glob("*.safetensors"):
        assert shard.read_bytes() == (b / shard.name).read_bytes()


def test_a_killed_run_goes_on_from_its_last_checkpoint(whole, tmp_path):
    train(tiny(save_every=4), tmp_path, render=render_boxes, device="cpu", budget=Budget(steps=6))
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "latest").write_text("step-00000004")  # as if the last one had not been written
    (checkpoints / ".step-00000009.1").mkdir()  # and one was cut short
    train(tiny(), tmp_path, render=render_boxes, device="cpu", resume=True)
    assert losses(tmp_path) == losses(whole)


def test_a_finished_run_stays_as_it_is(whole):
    before = losses(whole)
    progress = train(tiny(), whole, render=render_boxes, device="cpu", resume=True)
    assert progress.step == 20
    assert losses(whole) == before


def test_a_folder_with_a_run_is_not_trained_over(whole):
    with pytest.raises(InputError, match="--resume"):
        train(tiny(), whole, render=render_boxes)


def test_another_architecture_is_refused(whole):
    with pytest.raises(InputError, match="another architecture"):
        train(replace(tiny(), preset="compact"), whole, render=render_boxes, resume=True)


def test_minutes_stop_the_run_with_a_checkpoint(tmp_path):
    progress = train(tiny(10_000), tmp_path, render=render_boxes, device="cpu", budget=Budget(minutes=0.02))
    assert 0 < progress.step < 10_000
    path = latest_checkpoint(tmp_path / "checkpoints")
    assert path is not None
    assert read_progress(path) == progress


def nothing_known(specs: list[ClipSpec]):
    clips = map(render_box, specs)
    return [replace(clip, depth=np.full_like(clip.depth, np.nan)) for clip in clips]


def test_nan_stops_the_run_and_names_the_clips(tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"step 0 of stage 'pairs'.*(rooms|street|terrain|clutter):\d+@"):
        train(tiny(), tmp_path, render=nothing_known, device="cpu")
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_validation_stands_beside_its_guesses(tmp_path):
    config = tiny(2, validation=ValidationConfig(every=2, clips=4))
    train(config, tmp_path, render=render_boxes, device="cpu")
    lines = {line["family"]: line for line in read_metrics(tmp_path / "metrics.jsonl", "validation")}
    assert set(lines) == {"rooms", "street", "terrain", "clutter", "all"}
    everything = lines["all"]
    assert 0 < everything["guess_abs_rel"] < 1
    assert 0.5 < everything["guess_rotation_deg"] < 40
    assert 45 < everything["direction_deg"] < 135  # nothing is learnt yet


def test_the_weights_carry_their_network(whole):
    config = read_config(whole / "weights.safetensors")
    assert config is not None
    assert config.name == "pocket"


def test_shards_keep_their_limit():
    tensors = {str(i): torch.zeros(size) for i, size in enumerate([30, 30, 30, 500, 10])}
    parts = list(shards(tensors, limit=300))
    assert [list(part) for part in parts] == [["0", "1"], ["2"], ["3"], ["4"]]
