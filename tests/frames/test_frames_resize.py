"""Resizing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frame_clips import number_of, numbered

from openloger.errors import InputError
from openloger.frames import open_frames, resize_rgb, resized
from openloger.frames.resize import TORCH_WITH_LANCZOS, resize_by_pillow, resize_by_torch


def test_resizing_is_by_lanczos_and_keeps_what_fits() -> None:
    rgb = numbered(5)
    assert resize_rgb(rgb, rgb.shape[:2]) is rgb
    smaller = resize_rgb(rgb, (48, 70))
    assert smaller.shape == (48, 70, 3)
    assert smaller.flags.writeable
    assert number_of(smaller) == 5
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 200
    row = resize_rgb(edge, (64, 160))[30, :, 0].astype(int)
    assert row.max() > 205, "Lanczos overshoots at an edge; a filter without negative lobes does not"


@pytest.mark.skipif(torch.__version__ < TORCH_WITH_LANCZOS, reason="this torch has no Lanczos")
@pytest.mark.parametrize("size", [(64, 80), (434, 574), (720, 960), (480, 80), (1, 1)])
@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_torchs_lanczos_is_pillows(size: tuple[int, int], kind: str) -> None:
    y, x = np.mgrid[:480, :640]
    smooth = np.stack([127 + 120 * np.sin(x / 37 + y / 11), 127 + 120 * np.cos(y / 23), x * 255 / 640], -1)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3))
    rgb = (noise if kind == "noise" else smooth).astype(np.uint8)
    rgb.setflags(write=False)
    ours, twins = resize_by_torch(rgb, size), resize_by_pillow(rgb, size)
    assert ours.flags.writeable
    assert ours.flags.c_contiguous
    apart = np.abs(ours.astype(int) - twins)
    assert apart.max() <= 2
    assert (apart > 0).mean() < 0.02
    assert (apart > 1).mean() < 1e-4


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-4, 4), (100_000, 100_000)])
def test_a_size_that_no_picture_has(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"{size[0]}×{size[1]}.*1×1"):
        resize_rgb(numbered(0), size)
    with pytest.raises(InputError, match=f"{size[0]}×{size[1]}.*1×1"):
        resized(open_frames([numbered(0)]), size)


def test_a_resized_source_is_the_same_source() -> None:
    source = open_frames([numbered(number) for number in range(6)], stride=2)
    small = resized(source, (32, 40))
    assert (small.name, small.length) == (source.name, source.length)
    assert [(f.index, f.name, number_of(f.rgb), f.rgb.shape) for f in small.frames(1)] == [
        (2, "frame_000002", 2, (32, 40, 3)),
        (4, "frame_000004", 4, (32, 40, 3)),
    ]


def test_a_size_may_depend_on_the_first_picture() -> None:
    half = resized(open_frames(iter([numbered(0), numbered(1)])), lambda height, width: (height // 2, width // 2))
    assert {frame.rgb.shape for frame in half} == {(48, 64, 3)}
