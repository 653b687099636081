"""Losses on the recorded blocks: the token that shows the same surface, and the displacement to it."""

from dataclasses import replace

import pytest
import torch

from openloger.network import Network, preset
from openloger.training.chaining import run_chain
from openloger.training.clips import stack
from openloger.training.curriculum import ClipPlan
from openloger.training.data import ClipSpec
from openloger.training.matching import BlockPass, Correspondence, match, matching_blocks, probe_tokens, shift_loss
from openloger.training.objective import run_and_match

from .boxes import render_box


def batch(count=2, frames=3):
    specs = [ClipSpec("rooms", seed, seed, frames, 10.0, (32, 48)) for seed in range(count)]
    return stack([render_box(spec) for spec in specs])


def test_right_answers_cost_nothing_and_score_one():
    frames, tokens, special = 2, 6, 2
    target = torch.stack([torch.randperm(tokens) for _ in range(4)]).reshape(1, frames, frames, tokens)
    visible = ~torch.eye(frames, dtype=torch.bool)[None, :, :, None].expand_as(target)
    key = 30 * torch.eye(frames * (special + tokens)).reshape(1, 1, frames, special + tokens, -1)
    query = torch.zeros_like(key)
    for i, j in ((0, 1), (1, 0)):
        query[:, :, i, special:] = key[0, 0, j, special:][target[0, i, j]]
    query, key = (side.flatten(2, 3) for side in (query, key))
    output = torch.zeros(1, frames * (special + tokens), 4)
    truth = Correspondence(target, torch.zeros(*target.shape, 2), visible)
    result = match(BlockPass(query, key, output), truth, special_tokens=special)
    assert float(result.loss) < 1e-3
    assert float(result.top1) == 1.0
    assert float(result.shift) == 0.0
    swapped = match(BlockPass(query, key, output), replace(truth, target=target.roll(1, -1)), special_tokens=special)
    assert float(swapped.top1) < 0.5


def test_the_probe_hears_all_heads_and_tokens_and_lets_go():
    network = Network(preset("pocket"))
    clips = batch(2, 3)
    plan = ClipPlan(size=(32, 48), rendered=3, frames=(3,))
    assert plan.size == tuple(clips.depth.shape[-2:])
    block = network.decoder.blocks[matching_blocks(len(network.decoder.blocks))[-1]]
    with probe_tokens(block) as probe:
        run_chain(network, clips.images, size=0, overlap=0)
        ((query, key, output),) = probe.take()
    assert not probe.take()
    assert query.shape == key.shape == (2, 4, 3 * (24 + network.decoder.special_tokens), 32)
    assert output.shape == (2, query.shape[2], 128)
    assert not any(part._forward_hooks for part in block.modules())


def test_the_loss_reaches_the_encoder():
    network = Network(replace(preset("pocket"), memory=None))
    clips = batch()
    _, found = run_and_match(network, clips, lambda: run_chain(network, clips.images, size=0, overlap=0))
    (found.loss + found.shift).backward()
    assert network.encoder.patch.weight.grad is not None
    assert float(network.encoder.patch.weight.grad.abs().max()) > 0
    assert all(weight.grad is None for weight in network.heads.parameters())


def test_shifts_are_asked_of_tokens_that_another_frame_sees():
    frames, tokens = 3, 4
    visible = torch.zeros(1, frames, frames, tokens, dtype=torch.bool)
    visible[0, 0, 1, 0] = visible[0, 0, 2, 0] = visible[0, 1, 2, 3] = True
    shift = torch.zeros(1, frames, frames, tokens, 2)
    shift[0, 0, 1, 0], shift[0, 0, 2, 0] = torch.tensor([1.0, 0.0]), torch.tensor([3.0, -2.0])
    shift[0, 1, 2, 3] = torch.tensor([0.5, 0.5])
    truth = Correspondence(torch.zeros_like(visible, dtype=torch.long), shift, visible)
    said = torch.randn(1, frames, tokens, 6)
    said[0, 0, 0, :2], said[0, 1, 3, :2] = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.5])
    assert float(shift_loss(said, truth)) == 0.0
    said[0, 0, 0, 0] += 0.5
    assert float(shift_loss(said, truth)) == pytest.approx(0.5 * 0.5**2 / 2)


@pytest.mark.parametrize(("depth", "listened"), [(2, (1,)), (4, (1, 3)), (6, (1, 3)), (8, (3, 5)), (36, (17, 19))])
def test_blocks_that_look_over_the_window_are_listened_to(depth, listened):
    assert matching_blocks(depth) == listened
