"""The loop on a CPU: golden losses, cut and resumed, NaN, budgets."""

import json
import os
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from openloger.errors import InputError
from openloger.network import Network, preset
from openloger.network.checkpoint import read_config, save_network
from openloger.training.checkpoint import latest_checkpoint, read_progress, shards
from openloger.training.config import TrainConfig, ValidationConfig, recipe
from openloger.training.curriculum import CONFIDENCE_ALONE, DatasetPlan, RatePlan, WindowPlan
from openloger.training.data import HELD_OUT_SEEDS, ClipSpec
from openloger.training.metrics import read_metrics
from openloger.training.train import Budget, TrainingDivergedError, make_network, train

from .boxes import render_box, render_boxes

GOLDEN = Path(__file__).parent / "golden_losses.json"


def tiny(steps: int = 20, **changes) -> TrainConfig:
    """A few steps of the pocket recipe on 32×40 pictures of boxes, in what every machine computes alike."""
    config = recipe("pocket")
    stage = config.stages[0]
    clips = replace(stage.clips, size=(32, 40), batch=2, lanes=1, least_baseline=0.0, pool=6, reuse=4.0)
    stage = replace(stage, steps=steps, clips=clips, rate=RatePlan(peak=5e-5, warmup_steps=5))
    config = replace(
        config, stages=(stage,), validation=ValidationConfig(every=0), render_workers=0, log_every=1, save_every=1000
    )
    alike = replace(config, precision="float32", optimiser=replace(config.optimiser, kind="adamw"))
    return replace(alike, **changes)


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


def test_one_run_at_a_time_trains_in_a_folder(tmp_path):
    refused = []

    def render(specs):
        if not refused:
            with pytest.raises(InputError, match="another run is training there; wait for it, or end it") as error:
                train(tiny(1), tmp_path, render=render_boxes, device="cpu", resume=True)
            refused.append(error)
        return render_boxes(specs)

    train(tiny(1), tmp_path, render=render, device="cpu")
    assert refused
    assert train(tiny(1), tmp_path, render=render, device="cpu", resume=True).step == 1


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


def test_minutes_stop_the_run_with_a_checkpoint(tmp_path, monkeypatch):
    seconds = count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds))  # each look at it takes a second
    monkeypatch.setattr("openloger.training.train.time", clock)
    progress = train(tiny(10_000), tmp_path, render=render_boxes, device="cpu", budget=Budget(minutes=0.2))
    assert 0 < progress.step < 12
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


def test_a_stop_does_not_wait_for_the_worlds_of_validation(tmp_path):
    held_out: list[ClipSpec] = []

    def interrupted(specs: list[ClipSpec]):
        if specs[0].seed < HELD_OUT_SEEDS:
            held_out.extend(specs)
            os.kill(os.getpid(), signal.SIGINT)
        return render_boxes(specs)

    config = tiny(4, validation=ValidationConfig(every=2, clips=64))
    with pytest.raises(KeyboardInterrupt, match="step 2"):
        train(config, tmp_path, render=interrupted, device="cpu")
    path = latest_checkpoint(tmp_path / "checkpoints")
    assert path is not None
    assert read_progress(path).step == 2
    assert 0 < len(held_out) < 64
    assert not list(read_metrics(tmp_path / "metrics.jsonl", "validation"))


def test_validation_stands_beside_its_guesses(tmp_path):
    config = tiny(2, validation=ValidationConfig(every=2, clips=4))
    train(config, tmp_path, render=render_boxes, device="cpu")
    lines = {line["family"]: line for line in read_metrics(tmp_path / "metrics.jsonl", "validation")}
    assert set(lines) == {"rooms", "street", "terrain", "clutter", "all"}
    everything = lines["all"]
    assert 0 < everything["guess_abs_rel"] < 1
    assert 0.5 < everything["guess_rotation_deg"] < 40
    assert 45 < everything["direction_deg"] < 135  # nothing is learnt yet
    assert 0 < everything["guess_ate"] < everything["ate"]
    assert (tmp_path / "pictures" / "step-00000002.png").is_file()


def test_the_weights_carry_their_network(whole):
    config = read_config(whole / "weights.safetensors")
    assert config is not None
    assert config.name == "pocket"


def test_shards_keep_their_limit():
    tensors = {str(i): torch.zeros(size) for i, size in enumerate([30, 30, 30, 500, 10])}
    parts = list(shards(tensors, limit=300))
    assert [list(part) for part in parts] == [["0", "1"], ["2"], ["3"], ["4"]]


def two_stages(**changes) -> TrainConfig:
    """Single windows without memory, then chains with it."""
    config = tiny(3, **changes)
    first = config.stages[0]
    chained = replace(
        first,
        name="chained",
        clips=replace(first.clips, rendered=6, frames=(6,), odds=(1.0,)),
        windows=WindowPlan(window=(4, 4), overlap=(2, 2)),
    )
    return replace(config, stages=(replace(first, windows=WindowPlan(memory=False)), chained))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    out = tmp_path_factory.mktemp("both")
    assert train(two_stages(), out, render=render_boxes, device="cpu").stage == "chained"
    return out


def test_stages_follow_each_other_when_resumed(both, tmp_path):
    for steps in (3, 1, 9):  # to the end of the first stage, into the second, to its end
        progress = train(
            two_stages(), tmp_path, render=render_boxes, device="cpu", resume=True, budget=Budget(steps=steps)
        )
    assert (progress.stage, progress.step, progress.total_step) == ("chained", 3, 6)
    assert losses(tmp_path) == losses(both)


def test_one_stage_alone_begins_from_the_latest_weights(both, tmp_path):
    config = two_stages()
    progress = train(config, tmp_path, render=render_boxes, device="cpu", budget=Budget(stage="pairs"))
    assert (progress.stage, progress.total_step) == ("pairs", 3)
    with pytest.raises(InputError, match="--resume"):
        train(config, tmp_path, render=render_boxes, device="cpu", budget=Budget(stage="pairs"))
    progress = train(config, tmp_path, render=render_boxes, device="cpu", budget=Budget(stage="chained"))
    assert (progress.stage, progress.step, progress.total_step) == ("chained", 3, 6)
    assert losses(tmp_path) == losses(both)
    with pytest.raises(InputError, match=r"'pears'.*pairs, chained"):
        train(config, tmp_path, render=render_boxes, device="cpu", budget=Budget(stage="pears"))


def test_a_run_begins_from_pi3(tmp_path):
    torch.manual_seed(9)
    pi3 = Network(replace(preset("pocket"), name="pi3", memory=None))
    save_network(pi3, tmp_path / "pi3.safetensors")
    out = tmp_path / "run"
    config = two_stages()
    train(config, out, render=render_boxes, device="cpu", weights=tmp_path / "pi3.safetensors", budget=Budget(steps=0))
    begun = load_file(out / "weights.safetensors")
    assert all(torch.equal(begun[name], weight) for name, weight in pi3.state_dict().items())
    with pytest.raises(InputError, match="--weights"):
        train(config, out, render=render_boxes, device="cpu", weights=tmp_path / "pi3.safetensors", resume=True)


class Interrupting:
    """Renders, and at its second call sends this process a signal as Ctrl-C or a scheduler would."""

    def __init__(self, number: signal.Signals) -> None:
        self.number, self.calls = number, 0

    def __call__(self, specs):
        self.calls += 1
        if self.calls == 2:
            os.kill(os.getpid(), self.number)
        return render_boxes(specs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint(whole, tmp_path, number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match=r"step \d+"):
        train(tiny(), tmp_path, render=Interrupting(number), device="cpu")
    assert signal.getsignal(number) is before
    path = latest_checkpoint(tmp_path / "checkpoints")
    assert path is not None
    assert 0 < read_progress(path).step < 20
    train(tiny(), tmp_path, render=render_boxes, device="cpu", resume=True)
    assert losses(tmp_path) == losses(whole)


def test_a_dataset_that_is_not_there_is_said_before_anything_else(tmp_path):
    config = tiny()
    plan = replace(config.stages[0].clips, datasets=(DatasetPlan("folder", str(tmp_path / "absent")),))
    config = replace(config, stages=(replace(config.stages[0], clips=plan),))
    with pytest.raises(InputError, match="absent"):
        train(config, tmp_path / "out", render=render_boxes, device="cpu")
    assert not (tmp_path / "out").exists()


def test_blocks_that_run_twice_give_the_same_run(whole, tmp_path):
    train(tiny(recompute=True), tmp_path, render=render_boxes, device="cpu", budget=Budget(steps=3))
    np.testing.assert_allclose(losses(tmp_path), losses(whole)[:3], rtol=1e-5)


def test_only_what_a_stage_names_moves(tmp_path):
    config = tiny(3)
    stage = replace(config.stages[0], trainable=("heads.confidence",), losses=CONFIDENCE_ALONE)
    train(replace(config, stages=(stage,)), tmp_path, render=render_boxes, device="cpu")
    network = make_network(config, stage)
    moved = {
        name.rpartition("heads.confidence")[1]
        for name, weight in load_file(tmp_path / "weights.safetensors").items()
        if not torch.equal(weight, network.state_dict()[name])
    }
    assert moved == {"heads.confidence"}


def test_a_stage_that_moves_nothing_is_refused(tmp_path):
    config = tiny(1)
    stage = replace(config.stages[0], trainable=("haeds",))
    with pytest.raises(InputError, match="'haeds'"):
        train(replace(config, stages=(stage,)), tmp_path, render=render_boxes, device="cpu")
