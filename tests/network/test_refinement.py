"""Refinement of depth: nothing while untrained, learns what a measurement is worth, and the cameras gain by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from network.motion_scenes import SIZE, generator, lens, path, wall
from openloger.geometry import centred_intrinsics, unproject
from openloger.network import Network, Window, preset
from openloger.network.heads import HeadOutputs
from openloger.network.motion import (
    GeometricCameras,
    NeighbouringDepth,
    SweepSettings,
    Triangulated,
    flow_features,
    geometric_camera,
    readjusted,
)
from openloger.network.refinement import DepthRefinement, RefinementConfig

PYRAMID = (2, 3, 4, 5, 6)
SMALL = RefinementConfig(channels=(8, 8, 8))
HEIGHT, WIDTH = 64, 96


def small(seed: int = 0) -> DepthRefinement:
    torch.manual_seed(seed)
    return DepthRefinement(SMALL, pyramid=PYRAMID)


def pyramid(frames: int) -> tuple[Tensor, ...]:
    sizes = [(HEIGHT // s, WIDTH // s) for s in (2, 4, 8, 16, 32)]
    pairs = enumerate(zip(PYRAMID, sizes, strict=True))
    return tuple(torch.randn(1, frames, c, *size, generator=generator(n)) for n, (c, size) in pairs)


def heads(depth: Tensor) -> HeadOutputs:
    """Depth (1, frame, height, width) and logits of zero."""
    frames = depth.shape[1]
    rays = centred_intrinsics(torch.full((1, frames), 100.0), size=(HEIGHT, WIDTH))
    zero = torch.zeros_like(depth)
    eye = torch.eye(4).expand(1, frames, 4, 4)
    return HeadOutputs(eye, unproject(depth, rays), zero, None, sky_logit=zero, moving_logit=zero)


def measurement(seed: int, frames: int = 2) -> tuple[Triangulated, Tensor]:
    """Measured corrections of cells and the true ones: three in ten are wrong, and what is left of their flow tells."""
    random = generator(seed)
    coarse = 0.3 * torch.randn(1, frames, HEIGHT // 16, WIDTH // 16, generator=random)
    true = F.interpolate(coarse, size=(HEIGHT // 4, WIDTH // 4), mode="bilinear")
    wrong = torch.rand(true.shape, generator=random) < 0.3
    found = torch.where(wrong, 0.5 * torch.randn(true.shape, generator=random), true)
    information = torch.full_like(true, 1e3)
    return Triangulated(found, information, torch.where(wrong, 3.0, 0.2), torch.full_like(true, 3.0)), true


def no_neighbours(found: Triangulated) -> NeighbouringDepth:
    return NeighbouringDepth(*[torch.zeros_like(found.log_depth)] * 4)


def train(network: DepthRefinement, error: Callable[[int], Tensor]) -> None:
    """By the error of 250 measurements."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(250):
        optimiser.zero_grad()
        error(step).backward()
        optimiser.step()


def no_sweep(found: Triangulated) -> Tensor:
    batch, frames, *cells = found.log_depth.shape
    return torch.zeros(batch, frames, SweepSettings().planes, *cells)


def test_untrained_it_changes_nothing() -> None:
    found, _ = measurement(0)
    given = heads(torch.full((1, 2, HEIGHT, WIDTH), 2.0))
    for term in small()(given, found, no_neighbours(found), no_sweep(found), pyramid(2)):
        assert term.shape == (1, 2, HEIGHT, WIDTH)
        assert not term.any()


def test_it_learns_what_a_measurement_is_worth() -> None:
    network, levels = small(), pyramid(2)
    given = heads(torch.full((1, 2, HEIGHT, WIDTH), 2.0))

    def error(seed: int) -> Tensor:
        found, true = measurement(seed)
        log_depth, _ = network(given, found, no_neighbours(found), no_sweep(found), levels)
        return (F.avg_pool2d(log_depth, 4) - true).abs().mean()

    train(network, error)
    with torch.no_grad():
        found, true = measurement(1000)
        assert float(error(1000)) < 0.5 * float((found.log_depth - true).abs().mean())
        assert float(error(1000)) < 0.4 * float(true.abs().mean())


def test_it_learns_what_neighbours_have() -> None:
    network, levels = small(), pyramid(2)
    given = heads(torch.full((1, 2, HEIGHT, WIDTH), 2.0))

    def error(seed: int) -> tuple[Tensor, Tensor]:
        found, true = measurement(seed)
        alone = replace(found, log_depth=torch.zeros_like(true), information=torch.zeros_like(true))
        theirs = replace(no_neighbours(found), measured=found.log_depth, information=found.information)
        log_depth, _ = network(given, alone, theirs, no_sweep(found), levels)
        return (F.avg_pool2d(log_depth, 4) - true).abs().mean(), true

    train(network, lambda step: error(step)[0])
    with torch.no_grad():
        left, true = error(1000)
        assert float(left) < 0.5 * float(true.abs().mean())


def test_it_learns_from_a_sweep_alone() -> None:
    """Agreement is best at the true depth, in cells and with noise, and nothing is triangulated."""
    network, levels = small(), pyramid(2)
    given = heads(torch.full((1, 2, HEIGHT, WIDTH), 2.0))
    settings = SweepSettings()
    planes = torch.linspace(-settings.reach, settings.reach, settings.planes)[:, None, None]

    def error(seed: int) -> tuple[Tensor, Tensor]:
        found, true = measurement(seed)
        true = true.clamp(-settings.reach, settings.reach)
        sweep = 1 - 2 * (planes - true[:, :, None]).abs()
        sweep = sweep + 0.1 * torch.randn(sweep.shape, generator=generator(seed))
        nothing = Triangulated(*[torch.zeros_like(true)] * 4)
        log_depth, _ = network(given, nothing, no_neighbours(found), sweep, levels)
        return (F.avg_pool2d(log_depth, 4) - true).abs().mean(), true

    train(network, lambda step: error(step)[0])
    with torch.no_grad():
        left, true = error(1000)
        assert float(left) < 0.5 * float(true.abs().mean())


def test_frames_in_another_order_are_refined_alike() -> None:
    network = small()
    torch.nn.init.normal_(network.output.weight, generator=generator(2))
    found, _ = measurement(3)
    depth = 1 + torch.rand(1, 2, HEIGHT, WIDTH, generator=generator(4))
    levels = pyramid(2)
    parts = (found.log_depth, found.information, found.residual_px, found.support)
    theirs = [torch.rand(found.log_depth.shape, generator=generator(5 + part)) for part in range(4)]
    turned = Triangulated(*(part.flip(1) for part in parts)), NeighbouringDepth(*(part.flip(1) for part in theirs))
    sweep = torch.rand(no_sweep(found).shape, generator=generator(9))
    other = network(heads(depth.flip(1)), *turned, sweep.flip(1), tuple(level.flip(1) for level in levels))
    for one, two in zip(network(heads(depth), found, NeighbouringDepth(*theirs), sweep, levels), other, strict=True):
        assert_close(one, two.flip(1), atol=1e-5, rtol=1e-5)


def fit(depth: Tensor) -> tuple[GeometricCameras, Tensor, Tensor]:
    """Cameras of the textured wall by a depth, its true cameras, and the regressed ones."""
    true = path(4)
    images, stride8, stride16, _ = wall(true)
    regressed = torch.stack([true[0].matrix()] * 4)[None]
    found = geometric_camera(flow_features(images, stride8, stride16), depth, lens(4), regressed)
    return found, torch.stack([camera.matrix() for camera in true])[None], regressed


def test_better_depth_gives_better_cameras() -> None:
    depth = wall(path(4))[3]
    tilt = 0.25 * torch.linspace(-1, 1, SIZE[1]).expand_as(depth)
    found, true, regressed = fit(depth * tilt.exp())
    again = readjusted(found, depth, lens(4), regressed)

    def off(cameras: GeometricCameras) -> float:
        return float((cameras.world_from_cam - true)[..., :3, 3].norm(dim=-1).max())

    assert off(again) < 0.5 * off(found)
    assert again.flow is found.flow


def test_depth_that_was_right_moves_little() -> None:
    depth = wall(path(4))[3]
    found, _, regressed = fit(depth)
    lens_found = lens(4)
    lens_found.diagonal(dim1=-2, dim2=-1)[..., :2] *= found.log_focal.exp()[:, None, None]
    again = readjusted(found, found.corrected_depth(depth), lens_found, regressed)
    assert_close(again.world_from_cam, found.world_from_cam, atol=5e-3, rtol=0)
    assert float(again.log_depth.abs().max()) < 0.02


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(replace(preset("compact"), memory=None))


def test_training_measures_where_it_is_wanted(network: Network) -> None:
    images = torch.rand(1, 3, 3, 64, 96, generator=generator(0))
    network.train().requires_grad_(False)
    assert network.refinement is not None
    network.refinement.requires_grad_()
    regressed, _ = network(Window(images, 3, 0))
    measured, _ = network(Window(images, 3, 0, measured=True))
    in_use, _ = network.eval()(Window(images, 3, 0))
    assert not regressed.points_cam.requires_grad
    assert_close(measured.points_cam.detach(), in_use.points_cam.detach())
    assert not torch.equal(measured.world_from_cam, regressed.world_from_cam)
    measured.points_cam[..., 2].log().square().sum().backward()
    moved = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    assert moved
    assert all(name.startswith("refinement.") for name in moved)
    assert float(network.refinement.output.weight.grad.abs().max()) > 0  # pyright: ignore[reportOptionalMemberAccess]


def test_a_window_keeps_its_scale(network: Network) -> None:
    window = Window(torch.rand(1, 3, 3, 64, 96, generator=generator(0)), 3, 0)
    network.eval()
    assert network.refinement is not None
    before, _ = network(window)
    with torch.no_grad():
        network.refinement.output.bias[0] += 0.3  # of every pixel's log depth
        after, _ = network(window)
        network.refinement.output.bias[0] -= 0.3
    assert_close(after.points_cam, before.points_cam, atol=1e-5, rtol=1e-5)
    assert_close(after.world_from_cam, before.world_from_cam, atol=1e-5, rtol=1e-5)
