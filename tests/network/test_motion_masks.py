"""Flow, tracked cameras and warped depth where masks hide a part of the pictures that stands still in them."""

from __future__ import annotations

import torch

from network.motion_scenes import SIZE, texture
from openloger.geometry import SE3, pixel_grid
from openloger.network.motion import KeyframePair, MotionMeter
from openloger.network.motion.between import warp_depth
from openloger.network.motion.tracking import flow_from_ends

HALF = SIZE[0] // 2  # rows; the lower half is hidden


def moving(count=4, *, step=2.0):
    """A texture that moves to the left, and below it another that stands still, as a bonnet does; and its mask."""
    pixels = pixel_grid(*SIZE)
    moved = [texture(pixels + pixels.new_tensor([step * number, 0.0])) for number in range(count)]
    images = torch.stack(moved)[:, None].repeat(1, 3, 1, 1)
    images[:, :, HALF:] = texture(pixels, seed=1)[HALF:]
    used = torch.ones(count, *SIZE, dtype=torch.bool)
    used[:, HALF:] = False
    return images, used


def test_what_stands_still_under_a_mask_does_not_slow_the_flow():
    """Up to the mask's border the flow is the texture's; without the mask the bonnet holds it there."""
    images, used = moving()
    masked, bare = flow_from_ends(images, used), flow_from_ends(images)
    last = slice(SIZE[0] // 8 - 1, SIZE[0] // 8)  # the cells above the border
    inner = slice(3, -6)
    edge = 1  # from the first frame to the third
    assert (masked.shift_px[0, edge, last, inner, 0] + 4).abs().median() < 0.3
    assert (bare.shift_px[0, edge, last, inner, 0] + 4).abs().median() > 0.6
    hidden = masked.weight[0, :, SIZE[0] // 8 + 1 :]
    assert float(hidden.max()) < 1e-6


def test_the_meter_measures_what_is_not_hidden():
    """Most of the picture stands still, and its camera moves."""
    images, used = moving()
    used[:, : SIZE[0] // 4] = False
    meter, bare = MotionMeter(images[0], used[0]), MotionMeter(images[0])
    lengths = [meter.measure(image, hidden) for image, hidden in zip(images[1:], used[1:], strict=True)]
    assert all(abs(length - 2 * (number + 1)) < 0.6 for number, length in enumerate(lengths))
    assert bare.measure(images[1]) > 0  # it measures as much, but of all


def test_a_picture_that_is_hidden_whole_is_lost():
    images, used = moving()
    meter = MotionMeter(images[0], used[0])
    assert meter.measure(images[1], torch.zeros_like(used[1])) == float("inf")


def test_depth_comes_from_the_keyframe_that_has_it():
    """Zero where neither has, and from one where the other is masked."""
    depth = torch.full((2, *SIZE), 2.0)
    depth[1, :, : SIZE[1] // 2] = 0
    depth[:, : SIZE[0] // 4] = 0
    depth[0, SIZE[0] // 2 :] = 3.0
    depth[1, SIZE[0] // 2 :, SIZE[1] // 2 :] = 3.0
    lens = torch.tensor([[60.0, 0, SIZE[1] / 2], [0, 60, SIZE[0] / 2], [0, 0, 1]])
    ends = KeyframePair(SE3.identity(), depth, torch.zeros(2, *SIZE), lens)
    warped, confidence = warp_depth(SE3.identity(3), ends)
    border = 2
    assert not warped[:, : SIZE[0] // 4 - border].any()
    upper = warped[:, SIZE[0] // 4 + border : SIZE[0] // 2 - border]
    assert (upper - 2).abs().max() < 1e-3
    assert (warped[:, SIZE[0] // 2 + border :] - 3).abs().max() < 1e-3
    assert bool(confidence.isfinite().all())
