"""The small form of a run's state: how small, and how near."""

import torch

from openloger.network import Network, preset
from openloger.training.checkpoint import (
    latest_checkpoint,
    pack,
    restore_checkpoint,
    save_checkpoint,
    unpack,
)
from openloger.training.config import OptimiserConfig
from openloger.training.optimiser import RunningMean, make_optimisers, set_rate
from openloger.training.run_state import TrainingProgress


def moved(name: str, *, seed: int):
    """A network a few noisy steps into training."""
    torch.manual_seed(seed)
    network = Network(preset(name))
    optimisers = make_optimisers(network, OptimiserConfig(), encoder_rate=1.0)
    mean = RunningMean(dict(network.named_parameters()), 0.9)
    set_rate(optimisers, 1e-3)
    for step in range(2):
        for weight in network.parameters():
            weight.grad = torch.randn_like(weight) * torch.rand_like(weight) ** 4
        for optimiser in optimisers:
            optimiser.step()
        mean.update(dict(network.named_parameters()), step + 20)
    return {"network": network, "mean": mean, "optimisers": optimisers}


def test_compact_goes_on_from_sixty_megabytes_in_files_of_fifteen(tmp_path):
    state = moved("compact", seed=0)
    save_checkpoint(tmp_path, TrainingProgress("pairs", 2, 2, 1.0, 3), small=True, **state)
    path = latest_checkpoint(tmp_path)
    assert path is not None
    sizes = [file.stat().st_size for file in path.iterdir()]
    assert sum(sizes) < 60e6
    assert max(sizes) < 15e6
    back = moved("compact", seed=1)
    restore_checkpoint(path, **back)
    for name, weight in state["network"].named_parameters():
        other = back["network"].get_parameter(name)
        assert (weight - other).norm() < 1e-3 * weight.norm() + 1e-6, name
        mean, other_mean = state["mean"].weights[name], back["mean"].weights[name]
        assert (mean - other_mean).norm() < 2e-3 * mean.norm() + 1e-5, name
        for key, tolerance in (("exp_avg", 0.02), ("exp_avg_sq", 0.06)):
            here = state["optimisers"][0].state[weight][key]
            there = back["optimisers"][0].state[other][key]
            assert (here - there).norm() < tolerance * here.norm(), (name, key)


def test_what_is_packed_is_never_divided_by_nothing():
    second = torch.rand(4096) ** 20 * 1e-6
    second[:7] = 0
    name = "moment.exp_avg_sq.a"
    back = unpack(pack({name: second}))[name]
    assert (back > 0).all()
    wide = second > second.max() * 1e-8
    assert ((back / second)[wide].log2().abs() < 0.07).all()


def test_small_tensors_and_counters_stay_as_they_are():
    tensors = {"weight.a": torch.randn(10), "moment.step.a": torch.tensor(7.0)}
    back = unpack(pack(tensors))
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_plain_checkpoint_is_exact(tmp_path):
    state, back = moved("pocket", seed=0), moved("pocket", seed=1)
    save_checkpoint(tmp_path, TrainingProgress("pairs", 2, 2, 1.0, 3), **state)
    path = latest_checkpoint(tmp_path)
    assert path is not None
    restore_checkpoint(path, **back)
    for name, weight in state["network"].named_parameters():
        assert torch.equal(weight, back["network"].get_parameter(name))
        assert torch.equal(state["mean"].weights[name], back["mean"].weights[name])
