"""The layer: pictures, features and depth of a window to its cameras."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from network.motion_scenes import HEIGHT, SIZE, WIDTH, lens, path, wall
from openloger.errors import InputError
from openloger.geometry import SE3, centred_intrinsics, rotation_angle
from openloger.network.motion import CameraSettings, EdgeStatus, flow_features, geometric_camera

NEIGHBOURS = CameraSettings(window=None)


@pytest.mark.parametrize(("settings", "length", "angle"), [(NEIGHBOURS, 6e-3, 2e-3), (CameraSettings(), 1.2e-2, 4e-3)])
def test_a_window_gets_its_cameras(settings: CameraSettings, length: float, angle: float) -> None:
    """Of a plane, which says little about focal length."""
    true = path(4)
    images, stride8, stride16, depth = wall(true)
    regressed = torch.stack([true[0].matrix()] * 4)[None]
    found = geometric_camera(flow_features(images, stride8, stride16), depth, lens(4), regressed, settings=settings)
    assert found.motion.status.tolist() == [[EdgeStatus.MEASURED] * 3]
    assert torch.equal(found.world_from_cam[:, 0], regressed[:, 0])
    wanted = torch.stack([camera.matrix() for camera in true])[None]
    assert_close(found.world_from_cam[..., :3, 3], wanted[..., :3, 3], rtol=0, atol=length)
    turned = found.world_from_cam[..., :3, :3].mT @ wanted[..., :3, :3]
    assert float(rotation_angle(turned).max()) < angle


def test_gradients_reach_depth_and_lens() -> None:
    images, stride8, stride16, depth = wall(path(3))
    depth, intrinsics = depth.requires_grad_(), lens(3).requires_grad_()
    regressed = SE3.identity(1, 3).matrix()
    found = geometric_camera(flow_features(images, stride8, stride16), depth, intrinsics, regressed)
    found.world_from_cam[:, -1, :3, 3].square().sum().backward()
    for given in (depth, intrinsics):
        assert given.grad is not None
        assert bool(given.grad.isfinite().all())
        assert float(given.grad.abs().max()) > 0


def test_longer_steps_from_deeper_depth() -> None:
    """Depth times two gives translations times two and the same rotations."""
    images, stride8, stride16, depth = wall(path(3))
    features, start = flow_features(images, stride8, stride16), SE3.identity(1, 3).matrix()
    one, two = (geometric_camera(features, depth * scale, lens(3), start).world_from_cam for scale in (1.0, 2.0))
    assert_close(two[..., :3, 3], 2 * one[..., :3, 3], rtol=1e-3, atol=1e-4)
    assert_close(two[..., :3, :3], one[..., :3, :3], rtol=0, atol=1e-4)


def test_depth_that_is_not_known_has_no_say() -> None:
    images, stride8, stride16, depth = wall(path(3))
    features, start = flow_features(images, stride8, stride16), SE3.identity(1, 3).matrix()
    holes = depth.clone()
    holes[..., :40, :50] = 0
    holes[..., 60:, 90:] = torch.nan
    found = geometric_camera(features, holes, lens(3), start).world_from_cam
    assert_close(found, geometric_camera(features, depth, lens(3), start).world_from_cam, rtol=0, atol=0.01)


def test_bare_pictures_keep_the_regressed_cameras() -> None:
    images = torch.full((2, 3, 3, *SIZE), 0.4)
    features = flow_features(
        images, torch.zeros(6, 4, HEIGHT // 8, WIDTH // 8), torch.zeros(6, 4, HEIGHT // 16, WIDTH // 16)
    )
    regressed = torch.stack([camera.matrix() for camera in path(6)]).unflatten(0, (2, 3))
    found = geometric_camera(features, torch.ones(2, 3, *SIZE), lens(3).expand(2, 3, 3, 3), regressed)
    assert_close(found.world_from_cam, regressed, rtol=0, atol=1e-5)
    assert bool((found.motion.status == EdgeStatus.FALLBACK).all())


def test_corrections_are_zero_without_a_wall() -> None:
    images, stride8, stride16, depth = wall(path(3))
    features, start = flow_features(images, stride8, stride16), SE3.identity(1, 3).matrix()
    found = geometric_camera(features, depth, lens(3), start, settings=NEIGHBOURS)
    assert torch.equal(found.corrected_depth(depth), depth)
    assert found.log_focal.tolist() == [0.0]
    together = geometric_camera(features, depth, lens(3), start)
    assert together.log_depth.shape == (1, 3, 3, 4)
    assert_close(together.corrected_depth(depth), depth, rtol=0.1, atol=0)


def test_a_window_of_one_frame_keeps_its_camera() -> None:
    images, stride8, stride16, depth = wall(path(1))
    regressed = path(1)[0].matrix()[None, None]
    found = geometric_camera(flow_features(images, stride8, stride16), depth, lens(1), regressed)
    assert torch.equal(found.world_from_cam, regressed)


def test_autocast_does_not_touch_the_cameras() -> None:
    images, stride8, stride16, depth = wall(path(3))
    start = SE3.identity(1, 3).matrix()
    outside = geometric_camera(flow_features(images, stride8, stride16), depth, lens(3), start).world_from_cam
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = geometric_camera(flow_features(images, stride8, stride16), depth, lens(3), start).world_from_cam
    assert torch.equal(inside, outside)


def test_a_lens_needs_a_positive_focal_length() -> None:
    with pytest.raises(InputError, match="-3 px"):
        centred_intrinsics(torch.tensor([[-3.0]]), size=SIZE)
