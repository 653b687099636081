"""The plane sweep: true depth agrees best, what cannot be compared is 0, each value is that of a loop over cells."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from network.motion_scenes import FOCAL, HEIGHT, NORMAL, WIDTH, generator, lens, texture
from openloger.geometry import SE3, pixel_grid
from openloger.network.motion import Edges, SweepSettings, plane_sweep

FRAMES, CHANNELS = 4, 12
ALL = Edges.gaps(FRAMES, (1, -1, 2, -2))
CELLS = HEIGHT // 4, WIDTH // 4
SETTINGS = SweepSettings()
MIDDLE = SETTINGS.planes // 2
STEP = SETTINGS.reach / MIDDLE  # of log depth, from plane to plane


def sideways(length: float) -> SE3:
    """(1, frame) cameras that move on by `length` and turn a little."""
    step = torch.tensor([length, 0.3 * length, 0.0, 0.01, -0.015, 0.02])
    cameras = [SE3.exp(step * frame) for frame in range(FRAMES)]
    return SE3(torch.stack([c.rotation for c in cameras])[None], torch.stack([c.translation for c in cameras])[None])


def seen_wall(cameras: SE3) -> tuple[Tensor, Tensor]:
    """Feature maps of stride 4 and depth of a wall that carries a texture a channel."""
    ray = (pixel_grid(HEIGHT, WIDTH) - torch.tensor([WIDTH / 2, HEIGHT / 2])) / FOCAL
    ray = torch.cat([ray, torch.ones(HEIGHT, WIDTH, 1)], -1)
    maps, depths = [], []
    for frame in range(FRAMES):
        camera = SE3(cameras.rotation[0, frame], cameras.translation[0, frame])
        depth = (1 - NORMAL @ camera.translation) / (ray @ (camera.rotation.mT @ NORMAL))
        place = camera.apply(ray * depth[..., None])[..., :2] * 30
        pictures = [texture(place, seed=channel, shortest_px=20.0) for channel in range(CHANNELS)]
        maps.append(F.avg_pool2d(torch.stack(pictures), 4))
        depths.append(depth)
    return torch.stack(maps)[None], torch.stack(depths)[None]


def swept(maps: Tensor, cameras: SE3, depth: Tensor, edges: Edges = ALL) -> Tensor:
    return plane_sweep(maps, edges, cameras, depth, lens(maps.shape[1]))


@pytest.mark.parametrize("planes_off", [-2, -1, 0, 1, 2])
def test_true_depth_agrees_best(planes_off: int) -> None:
    cameras = sideways(0.6)
    maps, depth = seen_wall(cameras)
    agreement = swept(maps, cameras, depth * torch.tensor(-planes_off * STEP).exp())[0, ..., 2:-2, 2:-2]
    true = MIDDLE + planes_off
    assert agreement.mean((0, 2, 3)).argmax() == true
    near = (agreement.argmax(1) - true).abs() <= 1  # between two planes, and features are interpolated
    assert float(near.float().mean()) > 0.9
    assert float(agreement[:, true].quantile(0.1)) > 0.9


def test_it_is_what_a_loop_over_cells_computes() -> None:
    cameras = sideways(0.3)
    maps, depth = seen_wall(cameras)
    agreement = swept(maps, cameras, depth)
    unit = F.normalize(maps[0] - maps[0].mean((2, 3), keepdim=True), dim=1)
    frame, targets = 1, (3, 2, 0)  # two frames on, one on, one back
    middle = torch.tensor([WIDTH / 2, HEIGHT / 2])
    for row, column in ((12, 16), (0, 0), (23, 31), (7, 29), (15, 2)):
        patch = depth[0, frame, 4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3]
        cell = torch.tensor([4 * column + 2.0, 4 * row + 2.0])
        for plane in range(SETTINGS.planes):
            z = 1 / (1 / patch).mean() * torch.tensor((plane - MIDDLE) * STEP).exp()
            point = torch.cat([(cell - middle) / FOCAL, torch.ones(1)]) * z
            world = SE3(cameras.rotation[0, frame], cameras.translation[0, frame]).apply(point)
            cosines = []
            for target in targets:
                moved = SE3(cameras.rotation[0, target], cameras.translation[0, target]).inverse().apply(world)
                x, y = (moved[:2] / moved[2] * FOCAL + middle).tolist()
                if not (0 < x < WIDTH and 0 < y < HEIGHT):
                    continue
                column_of, row_of = min(max(x / 4 - 0.5, 0), CELLS[1] - 1), min(max(y / 4 - 0.5, 0), CELLS[0] - 1)
                left, top = min(int(column_of), CELLS[1] - 2), min(int(row_of), CELLS[0] - 2)
                right, down = column_of - left, row_of - top
                four = unit[target, :, top : top + 2, left : left + 2]
                weight = torch.tensor(
                    [[(1 - down) * (1 - right), (1 - down) * right], [down * (1 - right), down * right]]
                )
                cosines.append(float((four * weight).sum((1, 2)) @ unit[frame, :, row, column]))
            expected = sum(cosines) / len(cosines) if cosines else 0.0
            assert float(agreement[0, frame, plane, row, column]) == pytest.approx(expected, abs=1e-4)


def test_a_camera_that_turns_on_the_spot_finds_all_depths_alike() -> None:
    cameras = sideways(0.0)
    maps, depth = seen_wall(cameras)
    agreement = swept(maps, cameras, depth)
    assert float((agreement - agreement.mean(2, keepdim=True)).abs().max()) < 1e-3


def test_what_has_no_depth_is_0() -> None:
    cameras = sideways(0.3)
    maps, depth = seen_wall(cameras)
    holed = depth.clone()
    holed[:, :, :16] = torch.nan
    agreement = swept(maps, cameras, holed)
    assert not agreement[..., :4, :].any()
    assert_close(agreement[..., 4:, :], swept(maps, cameras, depth)[..., 4:, :])


def test_what_no_other_picture_holds_is_0() -> None:
    maps, depth = seen_wall(sideways(0.3))
    far = SE3.exp(torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.5 * frame, 0.0] for frame in range(FRAMES)])[None])
    assert not swept(maps, far, depth, Edges.gaps(FRAMES, (1, -1))).any()


def test_the_farthest_frames_are_compared() -> None:
    cameras = sideways(0.3)
    maps, depth = seen_wall(cameras)
    few = Edges(torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]))
    more = few + Edges.gaps(FRAMES, (1, -1))
    assert [those.tolist() for those in more.farthest(2, frames=FRAMES)] == [[3, 2], [2, 0], [3, 1], [2]]
    assert_close(swept(maps, cameras, depth, few)[:, 0], swept(maps, cameras, depth, more)[:, 0])
    assert not swept(maps, cameras, depth, few)[:, 1:].any()


def test_a_window_of_one_frame_compares_nothing() -> None:
    cameras = sideways(0.3)
    maps, depth = seen_wall(cameras)
    first = SE3(cameras.rotation[:, :1], cameras.translation[:, :1])
    agreement = swept(maps[:, :1], first, depth[:, :1], Edges.chain(1))
    assert agreement.shape == (1, 1, SETTINGS.planes, *CELLS)
    assert not agreement.any()


def test_windows_of_a_batch_do_not_mix() -> None:
    cameras, other = sideways(0.3), sideways(0.2)
    maps, depth = seen_wall(cameras)
    theirs, their_depth = seen_wall(other)
    both = SE3(torch.cat([cameras.rotation, other.rotation]), torch.cat([cameras.translation, other.translation]))
    together = plane_sweep(
        torch.cat([maps, theirs]), ALL, both, torch.cat([depth, their_depth]), lens(FRAMES).expand(2, -1, -1, -1)
    )
    alone = torch.cat([swept(maps, cameras, depth), swept(theirs, other, their_depth)])
    assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_gradients_lead_to_true_depth_and_cameras() -> None:
    cameras = sideways(0.3)
    maps, depth = seen_wall(cameras)
    wrong = torch.full((1, FRAMES, 1, 1), 0.1, requires_grad=True)
    rough = 0.02 * torch.randn(1, FRAMES, 3, generator=generator(0))
    rough = rough.requires_grad_()
    moved = SE3(cameras.rotation, cameras.translation + rough)
    swept(maps, moved, depth * wrong.exp())[:, :, MIDDLE].mean().backward()
    assert wrong.grad is not None
    assert rough.grad is not None
    assert bool((wrong.grad < 0).all())  # smaller depth agrees better
    assert float((rough.grad * rough.detach()).sum()) < 0
