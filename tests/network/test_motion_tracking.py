"""Following: the flow from a keyframe to later frames, and how far the picture has moved."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from network.motion_scenes import SIZE, generator, motion, texture, wall
from openloger.geometry import SE3, pixel_grid
from openloger.network.motion import MotionMeter
from openloger.network.motion.flow import Edges, flow_between, flow_features
from openloger.network.motion.tracking import flow_from_ends

PIXELS = pixel_grid(*SIZE)


def picture(shift: tuple[float, float]) -> Tensor:
    return texture(PIXELS - torch.tensor(shift)).expand(3, -1, -1)


@pytest.mark.parametrize("step", [(1.5, 0.5), (-2.5, 1.0)])
def test_a_shift_adds_up_over_frames(step: tuple[float, float]) -> None:
    meter = MotionMeter(picture((0.0, 0.0)))
    lengths = [meter.measure(picture((k * step[0], k * step[1]))) for k in range(1, 7)]
    true = torch.tensor(step).norm() * torch.arange(1, 7)
    assert_close(torch.tensor(lengths), true, rtol=0.1, atol=0.2)


def test_a_picture_that_stands_still_does_not_move_whatever_the_light() -> None:
    meter = MotionMeter(picture((0.0, 0.0)))
    assert max(meter.measure(0.2 + gain * picture((0.0, 0.0))) for gain in (1.0, 0.7, 0.5)) < 0.1


def test_after_a_cut_the_flow_is_lost() -> None:
    meter = MotionMeter(picture((0.0, 0.0)))
    assert meter.measure(torch.rand(3, *SIZE, generator=generator(1))) == float("inf")


def test_a_picture_without_texture_stands_still() -> None:
    meter = MotionMeter(torch.full((3, *SIZE), 0.5))
    assert meter.measure(torch.full((3, *SIZE), 0.5)) == 0.0


def test_it_is_the_flow_that_matches_find() -> None:
    """Both ends to all frames between, in the order of the edges."""
    first, step = motion(1, angle=0.05, length=0.1), torch.tensor([0.015, 0.006, -0.012, 0.003, -0.004, 0.006])
    images, stride8, stride16, _ = wall([first @ SE3.exp(step * k) for k in range(5)])
    edges = Edges(torch.tensor([0, 0, 0, 4, 4, 4]), torch.tensor([1, 2, 3, 1, 2, 3]))
    matched = flow_between(flow_features(images, stride8, stride16), edges)
    followed = flow_from_ends(images[0])
    off = (followed.shift_px - matched.shift_px).norm(dim=-1)
    for edge in range(len(edges)):
        assert float(off[0, edge][matched.inside[0, edge]].quantile(0.9)) < 0.2
