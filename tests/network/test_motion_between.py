"""Frames between keyframes: cameras by both of them, depth where a ray meets the surface they saw."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from network.motion_scenes import SIZE, lens, path, wall
from openloger.geometry import SE3, rotation_angle, unproject
from openloger.network.motion import KeyframePair, track_between
from openloger.network.motion.between import places, track_cameras, warp_depth

STEP = torch.tensor([0.05, 0.02, -0.04, 0.01, -0.012, 0.02])
INSIDE = (slice(None), slice(8, -8), slice(8, -8))


def relative(cameras: list[SE3]) -> SE3:
    """first_from_cam of all of them."""
    matrices = torch.stack([(cameras[0].inverse() @ camera).matrix() for camera in cameras])
    return SE3.from_matrix(matrices)


def ends_of(cameras: list[SE3], depth: Tensor, confidence: tuple[float, float] = (1.0, 1.0)) -> KeyframePair:
    logits = torch.tensor(confidence)[:, None, None].expand(2, *SIZE)
    return KeyframePair(relative(cameras)[-1], depth[[0, -1]], logits, lens(1)[0, 0])


def boxed(camera: SE3) -> Tensor:
    """Depth of a wall at z = 4 and a board at z = 2 that covers x from -0.5 to 0.5, as the camera sees it."""
    rays = unproject(torch.ones(SIZE), lens(1)[0, 0])
    direction, origin = camera.apply(rays) - camera.translation, camera.translation
    board, far = ((z - origin[2]) / direction[..., 2] for z in (2.0, 4.0))
    x = origin[0] + direction[..., 0] * board
    return torch.where(x.abs() < 0.5, board, far)


def test_a_wall_has_its_depth_in_every_frame() -> None:
    cameras = path(6)
    _, _, _, depth = wall(cameras)
    warped, _ = warp_depth(relative(cameras)[1:-1], ends_of(cameras, depth[0]))
    assert_close(warped[INSIDE], depth[0, 1:-1][INSIDE], rtol=2e-3, atol=0)


@pytest.mark.parametrize("turn", [-0.05, 0.02])
def test_a_board_hides_and_uncovers(turn: float) -> None:
    """A camera moves sideways past a board: what one keyframe does not see, the other gives."""
    cameras = [SE3.exp(torch.tensor([0.15 * k - 0.3, 0, 0, 0, turn * k, 0])) for k in range(5)]
    depth = torch.stack([boxed(camera) for camera in cameras])
    warped, _ = warp_depth(relative(cameras)[1:-1], ends_of(cameras, depth))
    wrong = (warped.log() - depth[1:-1].log()).abs() > 0.02
    assert wrong[INSIDE].float().mean() < 0.04  # the board's outlines, two pixels wide, and slivers nobody saw


def test_confidence_is_the_nearer_keyframes() -> None:
    cameras = path(5)
    _, _, _, depth = wall(cameras)
    _, confidence = warp_depth(relative(cameras)[1:-1], ends_of(cameras, depth[0], confidence=(0.0, 4.0)))
    assert_close(confidence[INSIDE].mean((1, 2)), torch.tensor([1.0, 2.0, 3.0]), rtol=0, atol=0.05)


def test_cameras_are_tracked_by_both_keyframes() -> None:
    cameras = path(5)
    images, _, _, depth = wall(cameras)
    found = track_cameras(images[0], ends_of(cameras, depth[0]))
    wanted = relative(cameras)[1:-1]
    assert_close(found.translation, wanted.translation, rtol=0, atol=6e-3)
    assert float(rotation_angle(found.rotation.mT @ wanted.rotation).max()) < 2e-3


def test_a_camera_that_nothing_measures_is_on_the_way() -> None:
    ends = KeyframePair(SE3.exp(STEP), torch.full((2, *SIZE), 2.0), torch.zeros(2, *SIZE), lens(1)[0, 0])
    found = track_between(torch.full((4, 3, *SIZE), 0.4), ends).first_from_cam
    assert_close(found.log(), places(2, like=STEP)[:, None] * STEP, rtol=1e-4, atol=1e-5)


def test_frames_that_stand_still_are_the_keyframe() -> None:
    images, _, _, depth = wall([path(1)[0]] * 4)
    ends = KeyframePair(SE3.identity(), depth[0, [0, -1]], torch.ones(2, *SIZE), lens(1)[0, 0])
    found = track_between(images[0], ends)
    assert_close(found.first_from_cam.matrix(), torch.eye(4).expand(2, 4, 4), rtol=0, atol=1e-5)
    assert_close(found.depth, depth[0, 1:-1], rtol=1e-4, atol=0)
