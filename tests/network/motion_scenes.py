"""Scenes with known flow for the tests of the geometric camera: analytic textures, walls and boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from openloger.geometry import SE3, centred_intrinsics
from openloger.network.motion import EdgeFlow
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


def motion(seed: int, *, angle: float = 0.1, length: float = 0.25, dtype: torch.dtype = torch.float32) -> SE3:
    """A random rotation of about `angle` and a random translation of about `length`."""
    twist = torch.randn(6, generator=generator(seed), dtype=torch.float64)
    size = torch.tensor([length] * 3 + [angle] * 3, dtype=torch.float64) / 3**0.5
    return SE3.exp(twist * size).to(dtype)
