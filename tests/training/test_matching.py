"""Where a token's centre goes, and the cross-entropy that asks for it."""

from dataclasses import replace

import pytest
import torch

from openloger.network import Network, preset
from openloger.training.chaining import run_chain
from openloger.training.clips import stack
from openloger.training.curriculum import ClipPlan
from openloger.training.data import ClipSpec
from openloger.training.matching import Correspondence, correspond, match_loss, middle_block, probe_tokens
from openloger.training.objective import run_and_match

from .boxes import render_box

PATCH = 8


def batch(count=2, frames=3):
    specs = [ClipSpec("rooms", seed, seed, frames, 10.0, (32, 48)) for seed in range(count)]
    return stack([render_box(spec) for spec in specs])


def test_a_still_camera_matches_every_token_with_itself():
    clips = batch()
    still = replace(
        clips,
        world_from_cam=clips.world_from_cam[:, :1].expand_as(clips.world_from_cam),
        depth=clips.depth[:, :1].expand_as(clips.depth),
    )
    found = correspond(still, patch=PATCH)
    same = torch.arange(24).expand_as(found.target)
    assert found.visible.float().mean() > 0.6  # all but the diagonal
    assert not found.visible[:, range(3), range(3)].any()
    assert (found.target == same)[found.visible].all()


def test_targets_are_where_the_same_surface_is_seen():
    clips = batch()
    found = correspond(clips, patch=PATCH)
    assert 0.2 < found.visible.float().mean() < 0.7
    checked = 0
    world = clips.world_from_cam.double()
    for b, i, j, token in found.visible.nonzero()[::7].tolist():
        row, col = divmod(token, 6)
        y, x = row * PATCH + PATCH // 2, col * PATCH + PATCH // 2
        K = clips.intrinsics[b, i].double()
        ray = torch.linalg.inv(K) @ torch.tensor([x + 0.5, y + 0.5, 1.0], dtype=torch.float64)
        point = torch.cat([ray * clips.depth[b, i, y, x].double(), torch.ones(1, dtype=torch.float64)])
        seen = torch.linalg.inv(world[b, j]) @ world[b, i] @ point
        px = clips.intrinsics[b, j].double() @ seen[:3] / seen[2]
        assert int(px[1] // PATCH) * 6 + int(px[0] // PATCH) == found.target[b, i, j, token]
        assert abs(float(seen[2]) - float(clips.depth[b, j, int(px[1]), int(px[0])])) < 0.05 * float(seen[2])
        checked += 1
    assert checked > 20


def test_what_moves_or_has_no_depth_is_left_out():
    clips = batch()
    moving = replace(clips, moving=torch.ones_like(clips.moving))
    unknown = replace(clips, valid=torch.zeros_like(clips.valid), depth=torch.zeros_like(clips.depth))
    for side in (moving, unknown):
        found = correspond(side, patch=PATCH)
        assert not found.visible.any()
        tokens = torch.randn(2, 2, 3 * 25, 4)
        assert float(match_loss(tokens, tokens, found, special_tokens=1).loss) == 0.0


def test_right_answers_cost_nothing_and_score_one():
    frames, tokens, special = 2, 6, 2
    target = torch.stack([torch.randperm(tokens) for _ in range(4)]).reshape(1, frames, frames, tokens)
    visible = ~torch.eye(frames, dtype=torch.bool)[None, :, :, None].expand_as(target)
    key = 30 * torch.eye(frames * (special + tokens)).reshape(1, 1, frames, special + tokens, -1)
    query = torch.zeros_like(key)
    for i, j in ((0, 1), (1, 0)):
        query[:, :, i, special:] = key[0, 0, j, special:][target[0, i, j]]
    query, key = (side.flatten(2, 3) for side in (query, key))
    result = match_loss(query, key, Correspondence(target, visible), special_tokens=special)
    assert float(result.loss) < 1e-3
    assert float(result.top1) == 1.0
    swapped = match_loss(query, key, Correspondence(target.roll(1, -1), visible), special_tokens=special)
    assert float(swapped.top1) < 0.5


def test_the_probe_hears_all_heads_and_tokens_and_lets_go():
    network = Network(preset("pocket"))
    clips = batch(2, 3)
    plan = ClipPlan(size=(32, 48), rendered=3, frames=(3,))
    assert plan.size == tuple(clips.depth.shape[-2:])
    block = network.decoder.blocks[middle_block(len(network.decoder.blocks))]
    with probe_tokens(block) as probe:
        run_chain(network, clips.images, size=0, overlap=0)
        ((query, key),) = probe.take()
    assert not probe.take()
    assert query.shape == key.shape == (2, 4, 3 * (24 + network.decoder.special_tokens), 32)
    assert not block.attention.q_norm._forward_hooks
    assert not block.attention.k_norm._forward_hooks


def test_the_loss_reaches_the_encoder():
    network = Network(replace(preset("pocket"), memory=None))
    clips = batch()
    _, match = run_and_match(network, clips, lambda: run_chain(network, clips.images, size=0, overlap=0))
    match.loss.backward()
    assert network.encoder.patch.weight.grad is not None
    assert float(network.encoder.patch.weight.grad.abs().max()) > 0
    assert all(weight.grad is None for weight in network.heads.parameters())


@pytest.mark.parametrize(("depth", "block"), [(2, 1), (4, 3), (6, 3), (8, 5), (36, 19)])
def test_the_middle_block_looks_over_the_window(depth, block):
    assert middle_block(depth) == block
