"""Placed windows with a known answer, made anew from their number alone: a pinhole over a wavy wall, on a spiral."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from placed_windows import placed_window

from openloger.geometry import Sim3, rotation_from_axis_angle, unproject
from openloger.recording import RecordingMeta
from openloger.values import Disagreement, Frame, PlacedWindow

HEIGHT, WIDTH = 12, 16
WINDOW, OVERLAP = 8, 3
FOCAL_PX = 14.0


def meta(**changes: object) -> RecordingMeta:
    made = RecordingMeta(
        height=HEIGHT,
        width=WIDTH,
        source="clip.mp4",
        network="pocket",
        weights_hash=None,
        settings={"window": WINDOW, "overlap": OVERLAP, "size": [HEIGHT, WIDTH]},
    )
    return replace(made, **changes)


def picture(index: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Frame:
    generator = np.random.default_rng(index)
    rgb = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    return Frame(rgb, index, index / 30, f"frame {index:06d}\n\u00e9\udcff.png")


def depth(index: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return (3 + torch.sin(0.3 * rows + 0.1 * index) + 0.5 * torch.cos(0.2 * columns)).float()


def intrinsics(index: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> torch.Tensor:
    focal = FOCAL_PX * size[1] / WIDTH + 0.01 * (index % 7)
    return torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]], dtype=torch.float64)


def world_from_cam(index: int) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = rotation_from_axis_angle(torch.tensor([0.0, 0.02 * index, 0.01], dtype=torch.float64))
    matrix[:3, 3] = torch.tensor([math.cos(0.1 * index), 0.05 * index, math.sin(0.1 * index)])
    return matrix


def confidence(index: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(index)).clamp_min(0.01)


def placed_windows(
    frame_count: int,
    *,
    first_window: int = 0,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    window: int = WINDOW,
    **others: object,
) -> list[PlacedWindow]:
    """Windows over `frame_count` frames; those before `first_window` are left out."""
    return list(each_placed_window(frame_count, first_window=first_window, size=size, window=window, **others))


def each_placed_window(
    frame_count: int,
    *,
    first_window: int = 0,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    window: int = WINDOW,
    **others: object,
) -> Iterator[PlacedWindow]:
    """`placed_windows`, one at a time."""
    for number, start in enumerate(range(0, max(1, frame_count - OVERLAP), window - OVERLAP)):
        if number >= first_window:
            yield _placed(number, start, frame_count, size, window, **others)


def _placed(
    number: int, start: int, frame_count: int, size: tuple[int, int], window: int, **others: object
) -> PlacedWindow:
    indices = range(start, min(start + window, frame_count))
    last = indices.stop == frame_count
    cameras = torch.stack([intrinsics(i, size) for i in indices])
    points = unproject(torch.stack([depth(i, size) for i in indices]), cameras.float())
    return placed_window(
        number=number,
        frames=tuple(picture(i, size) for i in indices),
        world_from_cam=torch.stack([world_from_cam(i) for i in indices]),
        points_cam=points,
        confidence=torch.stack([confidence(i, size) for i in indices]),
        world_from_window=Sim3(
            torch.tensor(1.0 + 0.1 * number, dtype=torch.float64), *_rigid(world_from_cam(start).clone())
        ),
        metric_scale=None if number % 2 else 2.5,
        disagreement=Disagreement(0.01 * number, 0.2, 0.03) if number else None,
        final_count=len(indices) if last else len(indices) - OVERLAP,
        last=last,
        **others,
    )


def _rigid(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return matrix[:3, :3], matrix[:3, 3]
