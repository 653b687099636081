"""A fisheye is told from a pinhole by exact matches of either; a camera that only moves ahead tells nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from network.motion_scenes import HEIGHT, WIDTH, cell_world, generator
from openloger.geometry import SE3
from openloger.network.motion import EdgeFlow, Edges, fisheye_error
from openloger.network.motion.flow import cell_centres

FRAMES = 4
EDGES = Edges.gaps(FRAMES, (1, 2))
HALF = math.hypot(HEIGHT, WIDTH) / 2


def through(fov_deg: float, *, fisheye: bool) -> tuple[Tensor, float]:
    """Unit rays of the cells' centres, and the focal length."""
    half = math.radians(fov_deg / 2)
    focal_px = HALF / (half if fisheye else math.tan(half))
    cells = cell_centres(HEIGHT, WIDTH, like=torch.zeros((), dtype=torch.float64))
    place = (cells - cells.new_tensor([WIDTH / 2, HEIGHT / 2])) / focal_px
    radius = place.norm(dim=-1, keepdim=True)
    angle = radius if fisheye else radius.atan()
    return torch.cat([place / radius * angle.sin(), angle.cos()], -1), focal_px


def matches(rays: Tensor, focal_px: float, cameras: SE3, *, fisheye: bool, noise_px: float = 0.1) -> EdgeFlow:
    """Of every edge; each frame sees a scene of its own, at a distance along its rays."""
    middle = rays.new_tensor([WIDTH / 2, HEIGHT / 2])
    shifts = []
    for source, target in zip(EDGES.source.tolist(), EDGES.target.tolist(), strict=True):
        ends = (SE3(cameras.rotation[0, at], cameras.translation[0, at]) for at in (target, source))
        move = next(ends).inverse() @ next(ends)
        seen = move.apply(rays * cell_world(source, dtype=torch.float64)[0, 0, 2::4, 2::4, None])
        radius = seen[..., :2].norm(dim=-1, keepdim=True)
        angle = torch.atan2(radius, seen[..., 2:])
        image = seen[..., :2] / radius * (angle if fisheye else angle.tan()) * focal_px + middle
        image = image + noise_px * torch.randn(image.shape, generator=generator(len(shifts)), dtype=torch.float64)
        shifts.append(image - cell_centres(HEIGHT, WIDTH, like=rays))
    shift = torch.stack(shifts)[None].float()
    return EdgeFlow(shift, torch.ones_like(shift[..., 0]), torch.ones_like(shift[..., 0], dtype=torch.bool))


def found(fov_deg: float, *, fisheye: bool, twist: tuple[float, ...]) -> float:
    steps = torch.arange(FRAMES, dtype=torch.float64)[:, None] * torch.tensor(twist, dtype=torch.float64)
    true = SE3.exp(steps[None])
    flow = matches(*through(fov_deg, fisheye=fisheye), true, fisheye=fisheye)
    noise = 0.01 * torch.randn(FRAMES, 6, generator=generator(9), dtype=torch.float64)  # of an adjusted window
    return fisheye_error(flow, EDGES, SE3.exp((steps + noise)[None]).matrix().float()).item()


ASIDE = (0.25, 0.05, 0.0, 0.02, 0.12, 0.03)


@pytest.mark.parametrize("fov_deg", [100.0, 120.0, 150.0, 180.0])
def test_matches_of_a_fisheye(fov_deg: float) -> None:
    assert found(fov_deg, fisheye=True, twist=ASIDE) < 0.4


@pytest.mark.parametrize("fov_deg", [45.0, 70.0, 90.0, 115.0])
def test_matches_of_a_pinhole(fov_deg: float) -> None:
    assert found(fov_deg, fisheye=False, twist=ASIDE) > 1.2


@pytest.mark.parametrize("fisheye", [False, True])
def test_a_camera_that_moves_ahead_tells_nothing(fisheye: bool) -> None:
    assert found(100.0, fisheye=fisheye, twist=(0.0, 0.0, 0.3, 0.0, 0.0, 0.0)) > 0.9


def test_a_camera_that_stands_still_is_not_judged() -> None:
    assert math.isnan(found(120.0, fisheye=True, twist=(0.0,) * 6))
