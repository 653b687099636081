"""Where a token's centre goes, and how much two frames have in common."""

from dataclasses import replace

import numpy as np
import torch

from openloger.training.clips import stack
from openloger.training.data import ClipSpec
from openloger.training.matching import baseline, correspond, covisibility

from .boxes import render_box

PATCH = 8


def clips_of(count=2, frames=3):
    specs = [ClipSpec("rooms", seed, seed, frames, 10.0, (32, 48)) for seed in range(count)]
    return [render_box(spec) for spec in specs]


def batch(count=2, frames=3):
    return stack(clips_of(count, frames))


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
        assert not found.shift.any()


def test_a_shift_leads_from_a_token_to_its_target():
    found = correspond(batch(), patch=PATCH)
    y, x = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
    start = torch.stack([x, y], dim=-1).flatten(0, 1) + 0.5
    col, row = (start + found.shift).floor().unbind(-1)
    assert (row * 6 + col == found.target)[found.visible].all()
    assert float(found.shift.abs().max()) > 0.5


def test_frames_share_what_both_see():
    (clip,) = clips_of(1, 5)
    shared = covisibility(clip, patch=PATCH)
    assert np.array_equal(shared, shared.T)
    assert (np.diagonal(shared) == 1).all()
    near, far = np.diagonal(shared, 1).mean(), shared[0, 4]
    assert 1 >= near > far >= 0
    still = replace(clip, world_from_cam=clip.world_from_cam[:1].repeat(5, axis=0), depth=clip.depth[:1].repeat(5, 0))
    assert (covisibility(still, patch=PATCH) == 1).all()
    apart = replace(clip, world_from_cam=np.stack([turned(72 * i) for i in range(5)]) @ np.eye(4))
    assert covisibility(apart, patch=PATCH)[0, 2] == 0


def test_a_baseline_is_a_part_of_the_mean_depth():
    (clip,) = clips_of(1, 3)
    world_from_cam = np.tile(np.eye(4), (3, 1, 1))
    world_from_cam[:, 0, 3] = 0, 1, 3
    depth = np.where(clip.valid, np.float32(2), np.float32(0))
    moved = replace(clip, world_from_cam=world_from_cam, depth=depth)
    np.testing.assert_allclose(baseline(moved), np.array([[0, 1, 3], [1, 0, 2], [3, 2, 0]]) / 2)
    larger = replace(moved, world_from_cam=world_from_cam * [[1, 1, 1, 5]], depth=5 * depth)
    np.testing.assert_allclose(baseline(larger), baseline(moved))


def turned(degrees):
    """A camera that looks that far to the side."""
    a, matrix = np.deg2rad(degrees), np.eye(4)
    matrix[0, 0], matrix[0, 2], matrix[2, 0], matrix[2, 2] = np.cos(a), np.sin(a), -np.sin(a), np.cos(a)
    return matrix
