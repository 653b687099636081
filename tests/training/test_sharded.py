"""Weights that are sharded over processes: saved in the background, read by any number, and cheap in messages."""

import threading
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from network.exported_networks import small_config
from torch import nn
from torch.distributed.tensor import DTensor

from openloger.errors import InputError
from openloger.network import Network, Window, preset
from openloger.outputs import damaged_file
from openloger.training import saving
from openloger.training.blocks import blocks
from openloger.training.checkpoint import latest_checkpoint, read_progress, read_terms, restore_checkpoint
from openloger.training.config import OptimiserConfig, recipe
from openloger.training.distribute import Ranks, accumulate, full_tensor, put_together, shard
from openloger.training.optimiser import RunningMean, make_optimisers
from openloger.training.run_state import TrainingProgress, tensors_of
from openloger.training.saving import Saver
from openloger.training.sharded import is_sharded
from openloger.transformer.layers import Linear

from .test_distribute import alone, assert_the_same_run, start
from .test_optimiser import HAS_MUON, NEEDS_MUON

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore::FutureWarning:torch", "ignore::ResourceWarning"),
]
CPU = torch.device("cpu")
OPTIMISER = "muon" if HAS_MUON else "adamw"


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone: shards are whole, and everything else is as with many."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield Ranks(0, 1, CPU)
    dist.destroy_process_group()


class State:
    """A sharded network after a step of its optimisers."""

    def __init__(self, among: Ranks | None, *, steps: int = 1, kind: str = OPTIMISER) -> None:
        torch.manual_seed(3)
        self.network = Network(small_config("loger"))
        if among is not None:
            shard(self.network, among)
        config = OptimiserConfig(kind=kind)
        self.optimisers = make_optimisers(self.network, config, encoder_rate=1.0)
        self.mean = RunningMean(dict(self.network.named_parameters()), config.ema)
        for step in range(steps):
            self.move(step)

    def move(self, step: int) -> None:
        for weight in self.network.parameters():
            weight.grad = torch.full_like(weight, 0.1 * (step + 1))
        for optimiser in self.optimisers:
            for one in optimiser.param_groups:
                one["lr"] = 0.01
            optimiser.step()
        self.mean.update(dict(self.network.named_parameters()), step)

    def whole(self) -> dict[str, torch.Tensor]:
        return {name: one.clone() for name, one in put_together(dict(tensors_of(**vars(self)))).items()}


def saver(among: Ranks, **changes) -> Saver:
    """A saver that saves as of many processes, though there is one."""
    made = Saver(replace(recipe("pocket"), parallel="fsdp", **changes), among)
    made._group = dist.new_group(backend="gloo")
    return made


def progress(step: int) -> TrainingProgress:
    return TrainingProgress("pairs", step, step, 1.5, 7 * step)


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, one in a.items():
        assert torch.equal(one, b[name]), name


@pytest.mark.parametrize("kind", ["adamw", pytest.param("muon", marks=NEEDS_MUON)])
def test_what_is_saved_is_the_state_of_its_step(group, tmp_path, kind):
    """It is written while the run goes on and changes everything in place."""
    state = State(group, kind=kind)
    before = state.whole()
    with saver(group) as writer:
        writer.save(tmp_path / "run", progress(4), **vars(state), terms=[[{"loss": 2.0}]])
        state.move(1)
    path = latest_checkpoint(tmp_path / "run")
    assert path is not None
    assert is_sharded(path)
    assert damaged_file(path) is None
    assert read_progress(path) == progress(4)
    assert read_terms(path, rank=0, count=1) == [{"loss": 2.0}]
    other = State(group, steps=0, kind=kind)
    restore_checkpoint(path, **vars(other))
    assert_equal(other.whole(), before)
    assert all(isinstance(weight, DTensor) for weight in other.network.parameters())
    other.move(1)
    assert_equal(other.whole(), state.whole())


def test_one_process_reads_it_without_a_group(group, tmp_path):
    state = State(group)
    with saver(group) as writer:
        writer.save(tmp_path / "run", progress(1), **vars(state), terms=())
    plain = State(None, steps=0)
    path = latest_checkpoint(tmp_path / "run")
    assert path is not None
    restore_checkpoint(path, **vars(plain))
    assert_equal(plain.whole(), state.whole())


def test_the_run_goes_on_while_a_checkpoint_is_written(group, tmp_path, monkeypatch):
    """`save` returns before anything has its name; the next one waits for it."""
    state, go, order = State(group), threading.Event(), []
    finish = saving.make_latest

    def later(path, **rest):
        go.wait(60)
        order.append(path)
        finish(path, **rest)

    monkeypatch.setattr(saving, "make_latest", later)
    with saver(group) as writer:
        writer.save(tmp_path / "run", progress(1), **vars(state), terms=())
        assert order == []
        assert not (tmp_path / "run" / "latest").exists()
        go.set()
        writer.save(tmp_path / "run", progress(2), **vars(state), terms=())
        assert [path.name for path in order] == ["step-00000001"]
    assert [path.name for path in order] == ["step-00000001", "step-00000002"]


def test_milestones_stay(group, tmp_path):
    state = State(group)
    with saver(group, keep_every=2) as writer:
        for step in range(1, 7):
            writer.save(tmp_path / "run", progress(step), **vars(state), terms=())
    kept = sorted(path.name for path in (tmp_path / "run").glob("step-*"))
    assert kept == [f"step-{step:08d}" for step in (2, 4, 5, 6)]


def test_a_checkpoint_that_cannot_be_written_is_one_line(group, tmp_path, monkeypatch):
    state = State(group)
    (tmp_path / "run").write_text("a file is in the way")
    with saver(group) as writer, pytest.raises(InputError, match="checkpoint cannot be written"):
        writer.save(tmp_path / "run", progress(1), **vars(state), terms=())

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "write_state", full)
    with pytest.raises(InputError, match=r"checkpoint cannot be written.*No space left"), saver(group) as writer:
        writer.save(tmp_path / "other", progress(1), **vars(state), terms=())
    assert latest_checkpoint(tmp_path / "other") is None
    assert list((tmp_path / "other").iterdir()) == []


def test_damage_and_another_architecture_are_named(group, tmp_path):
    state = State(group)
    with saver(group) as writer:
        for step in (1, 2):
            writer.save(tmp_path / "run", progress(step), **vars(state), terms=())
    part = next((tmp_path / "run" / "step-00000002" / "sharded").glob("*.distcp"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    path = latest_checkpoint(tmp_path / "run")
    assert path is not None
    assert path.name == "step-00000001"
    other = State(group, steps=0)
    other.network = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(InputError, match="another architecture"):
        restore_checkpoint(path, network=other.network, mean=RunningMean({}, 0.9), optimisers=[])


def test_gradients_travel_with_the_last_lane_alone(group):
    network = nn.Sequential(nn.Linear(3, 2, bias=False))
    shard(network, group)
    inputs = torch.tensor([[1.0, 2.0, 3.0]])
    with accumulate(nn.ModuleList([network]), last=False):
        network(inputs).sum().backward()
    assert network[0].weight.grad is None
    with accumulate(nn.ModuleList([network]), last=True):
        network(10 * inputs).sum().backward()
    assert torch.equal(full_tensor(network[0].weight.grad), 11 * inputs.expand(2, 3))


def test_blocks_multiply_in_the_precision_of_the_run_and_nothing_is_kept_in_it(group):
    torch.manual_seed(0)
    network = Network(preset("pocket"))
    network.precision = torch.bfloat16
    window = Window(torch.rand(1, 2, 3, 64, 80), 2, 1)
    whole = network(window)[0].points_cam
    shard(network, group, precision=torch.bfloat16)
    seen = []
    for part in blocks(network)[2].modules():
        if isinstance(part, Linear | nn.LayerNorm):
            part.register_forward_pre_hook(lambda part, given: seen.append((type(part).__bases__, part.weight.dtype)))
    found = network(window)[0].points_cam
    found.square().mean().backward()
    assert {kept for _, kept in seen} == {torch.bfloat16, torch.float32}
    assert all((kept == torch.bfloat16) == any(issubclass(base, Linear) for base in bases) for bases, kept in seen)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in network.parameters() if weight.grad is not None} == {torch.float32}
    torch.testing.assert_close(found, whole, rtol=0.05, atol=0.05)


def test_processes_in_groups_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"shard_over = 3: 4 processes"):
        shard(nn.Linear(2, 2), Ranks(0, 4, CPU), over=3)


@pytest.mark.slow
def test_what_two_processes_left_four_go_on_with_in_two_groups(tmp_path):
    """Of sharded weights, and of four processes of which two share a copy."""
    start(tmp_path / "moving", "fsdp", "pairs", steps=3)
    assert is_sharded(latest_checkpoint(tmp_path / "moving" / "checkpoints"))
    start(tmp_path / "moving", "hsdp", "pairs", processes=4)
    assert_the_same_run(tmp_path / "moving", *alone(tmp_path, "pairs"))
