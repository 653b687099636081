"""Blocks that run twice or compiled learn the same."""

from dataclasses import replace

import pytest
import torch

from openloger.network import Network, preset
from openloger.training.blocks import blocks, recompute_blocks
from openloger.training.clips import stack
from openloger.training.config import recipe
from openloger.training.curriculum import Stage, WindowPlan
from openloger.training.data import ClipSpec
from openloger.training.objective import Objective

from .boxes import render_box


def network() -> Network:
    torch.manual_seed(0)
    net = Network(preset("pocket"))
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "gate" in name:
                weight.add_(torch.randn_like(weight) * 0.3)  # memory that says something
    return net


def stage() -> Stage:
    first = recipe("pocket").stages[0]
    return replace(first, windows=WindowPlan(window=(4, 4), overlap=(1, 1)))


def loss_and_gradients(net: Network) -> tuple[float, dict[str, torch.Tensor]]:
    clips = stack([render_box(ClipSpec("rooms", seed, 0, 7, 10.0, (16, 24))) for seed in range(2)])
    loss, _ = Objective(net, stage())(clips)
    loss.backward()
    return float(loss.detach()), {name: w.grad for name, w in net.named_parameters() if w.grad is not None}


@pytest.fixture(scope="module")
def plain():
    return loss_and_gradients(network())


class Saved:
    """Counts what a forward pass keeps for the backward pass."""

    def __init__(self) -> None:
        self.numbers = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.numbers += tensor.numel()
        return tensor


def test_gradients_are_the_same_when_blocks_run_twice(plain):
    net = network()
    recompute_blocks(net)
    loss, gradients = loss_and_gradients(net)
    assert loss == plain[0]
    assert gradients.keys() == plain[1].keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[1][name], rtol=1e-5, atol=1e-7, msg=name)


def test_blocks_that_run_twice_keep_little():
    kept = []
    for twice in (False, True):
        net, saved = network(), Saved()
        if twice:
            recompute_blocks(net)
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
            x = torch.rand(3, 20, 128, requires_grad=True)
            for block in net.decoder.blocks:
                x = block(x)
        kept.append(saved.numbers)
    assert kept[1] < 0.2 * kept[0]


def test_every_block_counts_once():
    found = list(blocks(network()))
    shape = preset("pocket")
    assert shape.memory is not None
    memory = len(shape.memory.ttt_after) + len(shape.memory.swa_after)
    assert len(found) == shape.encoder.depth + shape.decoder.depth + 3 * shape.heads.depth + memory
    assert len(set(found)) == len(found)
