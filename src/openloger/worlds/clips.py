"""Clips for training: some frames of each of many worlds, rendered together into batched tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from openloger.errors import InputError
from openloger.shapes import Bool, Float32, Float64, Tensor, UInt8
from openloger.worlds import kernels
from openloger.worlds.random import uniform_number
from openloger.worlds.world import FAMILIES, World, render

Mix = str | Mapping[str, float]


@dataclass(frozen=True)
class Clips:
    """The same number of frames of several worlds."""

    rgb: UInt8[Tensor, "batch frame height width 3"]
    depth: Float32[Tensor, "batch frame height width"]  # metres along z, 0 where not valid
    normal: Float32[Tensor, "batch frame height width 3"]  # camera axes, zero where not valid
    world_from_cam: Float64[Tensor, "batch frame 4 4"]
    intrinsics: Float64[Tensor, "batch frame 3 3"]
    valid: Bool[Tensor, "batch frame height width"]
    moving: Bool[Tensor, "batch frame height width"]
    names: tuple[str, ...]  # of the worlds


def pick_family(mix: Mix, seed: int) -> str:
    """The family of world `seed` in a mix: a name, or weights as {"rooms": 2, "street": 1} or "rooms:2,street:1"."""
    weights = _weights(mix)
    left = uniform_number(seed, 710) * sum(weights.values())
    for name, weight in weights.items():
        left -= weight
        if left < 0:
            return name
    return list(weights)[-1]  # rounding left a sliver


def _weights(mix: Mix) -> Mapping[str, float]:
    if isinstance(mix, str):
        parts = [part.partition(":") for part in mix.split(",")]
        mix = {name.strip(): float(weight) if weight else 1.0 for name, _, weight in parts}
    unknown = [name for name in mix if name not in FAMILIES]
    if unknown:
        raise InputError(f"unknown family of worlds {unknown[0]!r}; there are {', '.join(sorted(FAMILIES))}")
    if any(weight < 0 for weight in mix.values()) or not sum(mix.values()) > 0:
        raise InputError(f"a mix of worlds needs weights of at least 0 that are not all 0, not {dict(mix)}")
    return mix


def render_clip(
    mix: Mix, seed: int, frame_numbers: Sequence[int], size: tuple[int, int], *, fps: float | int = 10
) -> Clips:
    """Frames of the world `seed` of a family (or of the family that a mix picks for that seed); batch of one."""
    return render_clips([(World(pick_family(mix, seed), seed=seed, size=size, fps=fps), frame_numbers)])


def render_clips(
    requests: Sequence[tuple[World, Sequence[int]]],
    *,
    device: torch.device | str = "cpu",
    compiled: bool = False,
) -> Clips:
    """Several clips of equal length at once: what feeds a trainer. The worlds have one size.

    Pictures, depth and masks stay on the `device`; cameras are on the CPU. `compiled` kernels (`kernels.compiled`) are
    two to three times as fast on a CPU and equal up to rounding. Raises InputError for clips that cannot be together.
    """
    lengths = {len(numbers) for _, numbers in requests}
    if len(lengths) != 1:
        raise InputError(f"clips rendered together must have one number of frames, not {sorted(lengths)}")
    asked = [(world, number) for world, numbers in requests for number in numbers]
    picture = render(asked, device=torch.device(device), kernels=kernels.compiled() if compiled else kernels.PLAIN)
    poses = np.array([[world.world_from_cam(number) for number in numbers] for world, numbers in requests])
    lenses = np.array([[world.intrinsics for _ in numbers] for world, numbers in requests])

    def batched(frames: Tensor) -> Tensor:
        return frames.view(len(requests), -1, *frames.shape[1:])

    return Clips(
        rgb=batched(picture.rgb),
        depth=batched(picture.depth),
        normal=batched(picture.normal),
        world_from_cam=torch.from_numpy(poses),
        intrinsics=torch.from_numpy(lenses),
        valid=batched(picture.valid),
        moving=batched(picture.moving),
        names=tuple(world.name for world, _ in requests),
    )
