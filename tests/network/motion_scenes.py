"""Scenes with known flow for the tests of the geometric camera: analytic textures, walls and boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from openloger.geometry import SE3, centred_intrinsics, pixel_grid
from openloger.network.motion import EdgeFlow, Edges
from openloger.network.motion.flow import cell_centres

HEIGHT, WIDTH, FOCAL = 96, 128, 110.0
SIZE = (HEIGHT, WIDTH)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texture(pixel: Tensor, *, seed: int = 0, waves: int = 60, shortest_px: float = 6.0) -> Tensor:
    """Grey in about 0 to 1 at any pixels (… 2): a sum of random waves, so that a shift is exact."""
    random = generator(seed)
    angle = torch.rand(waves, generator=random) * 2 * torch.pi
    length = shortest_px * 8 ** torch.rand(waves, generator=random)
    phase = torch.rand(waves, generator=random) * 2 * torch.pi
    wave = torch.stack([angle.cos(), angle.sin()], 0) * (2 * torch.pi / length)
    value = (pixel.double() @ wave.double() + phase).sin() * length.sqrt() / length.sqrt().sum()
    return (0.5 + 1.5 * value.sum(-1)).clamp(0, 1).to(pixel.dtype)


def cell_world(seed: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """(1, 1, height, width): depth 1.5 to 6, a wavy wall with boxes before it, the same within a cell."""
    random = generator(seed)
    cells = cell_centres(*SIZE, like=torch.zeros((), dtype=torch.float64))
    depth = 4 + cells[..., 0] / 64 + (cells[..., 1] / 17).sin() * 0.6
    for _ in range(4):
        row, column = (int(torch.randint(0, 18, (), generator=random)) for _ in range(2))
        depth[row : row + 6, column : column + 8] = 1.5 + 2 * torch.rand((), generator=random).double()
    return depth.to(dtype).repeat_interleave(4, 0).repeat_interleave(4, 1)[None, None]


def intrinsics(frames: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    return centred_intrinsics(torch.full((1, frames), FOCAL, dtype=dtype), size=SIZE)


def exact_flow(depth: Tensor, target_from_source: SE3) -> EdgeFlow:
    """Flow of a depth map (height, width) that is the same within a cell."""
    cells = cell_centres(*SIZE, like=depth)
    z = depth[2::4, 2::4]
    middle = depth.new_tensor([WIDTH / 2, HEIGHT / 2])
    points = torch.cat([(cells - middle) / FOCAL * z[..., None], z[..., None]], -1)
    moved = target_from_source.apply(points)
    matched = moved[..., :2] / moved[..., 2:] * FOCAL + middle
    inside = ((matched > 0) & (matched < depth.new_tensor([WIDTH, HEIGHT]))).all(-1)
    return EdgeFlow((matched - cells)[None, None], torch.ones_like(z)[None, None], inside[None, None])


def worlds_and_flow(cameras: SE3, edges: Edges) -> tuple[EdgeFlow, Tensor]:
    """The exact flow of all edges between cameras (1, frame), and depth that is the same within a cell.

    Every frame looks at a world of its own.
    """
    depth = torch.cat([cell_world(seed) for seed in range(cameras.batch_shape[1])], 1)
    flows = []
    for source, target in zip(edges.source.tolist(), edges.target.tolist(), strict=True):
        move = SE3(cameras.rotation[0, target], cameras.translation[0, target]).inverse() @ SE3(
            cameras.rotation[0, source], cameras.translation[0, source]
        )
        flows.append(exact_flow(depth[0, source], move))
    joined = flows[0]
    for flow in flows[1:]:
        joined = joined + flow
    return joined, depth


def motion(seed: int, *, angle: float = 0.1, length: float = 0.25, dtype: torch.dtype = torch.float32) -> SE3:
    """A random rotation of about `angle` and a random translation of about `length`."""
    twist = torch.randn(6, generator=generator(seed), dtype=torch.float64)
    size = torch.tensor([length] * 3 + [angle] * 3, dtype=torch.float64) / 3**0.5
    return SE3.exp(twist * size).to(dtype)


NORMAL = torch.tensor([0.12, -0.1, 0.3])  # of a wall, NORMAL · X = 1 in the world


def wall(cameras: list[SE3]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, feature maps of strides 8 and 16, and depth of a textured wall, seen by each camera (world_from_cam)."""
    pixels = pixel_grid(HEIGHT, WIDTH)
    ray = torch.cat([(pixels - torch.tensor([WIDTH / 2, HEIGHT / 2])) / FOCAL, torch.ones(HEIGHT, WIDTH, 1)], -1)
    images, depths = [], []
    for camera in cameras:
        z = (1 - NORMAL @ camera.translation) / (ray @ (camera.rotation.mT @ NORMAL))
        world = camera.apply(ray * z[..., None])
        images.append(texture(world[..., :2] * 30, seed=5).expand(3, -1, -1))
        depths.append(z)
    pictures = torch.stack(images)
    mix8, mix16 = (torch.randn(count, 16, generator=generator(count)) for count in (12, 20))
    patches = F.pixel_unshuffle(F.avg_pool2d(pictures[:, :1], 2), 4)
    coarse = F.pixel_unshuffle(F.avg_pool2d(pictures[:, :1], 4), 4)
    stride8 = torch.einsum("oc,ichw->iohw", mix8, patches)
    return pictures[None], stride8, torch.einsum("oc,ichw->iohw", mix16, coarse), torch.stack(depths)[None]


def path(frames: int) -> list[SE3]:
    step = SE3.exp(torch.tensor([0.05, 0.02, -0.04, 0.01, -0.012, 0.02]))
    cameras = [motion(1, angle=0.05, length=0.1)]
    for _ in range(frames - 1):
        cameras.append(cameras[-1] @ step)
    return cameras


def lens(frames: int) -> Tensor:
    return centred_intrinsics(torch.full((1, frames), FOCAL), size=SIZE)
