"""The network's size of a picture, and resizing."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
import torch
from frame_clips import number_of, numbered
from hypothesis import given, settings
from hypothesis import strategies as st

from openloger.errors import InputError
from openloger.frames import network_size, open_frames, resize_rgb, resized
from openloger.frames.resize import TORCH_WITH_LANCZOS, resize_by_pillow, resize_by_torch

SIDES = st.integers(1, 8000)
PATCHES = st.sampled_from([1, 2, 8, 14, 16])


@pytest.mark.parametrize(
    ("image", "patch", "max_pixels", "expected"),
    [
        ((480, 640), 14, 255_000, (434, 574)),
        ((1080, 1920), 14, 255_000, (378, 672)),
        ((1920, 1080), 14, 255_000, (672, 378)),
        ((376, 1241), 14, 255_000, (266, 924)),  # 66×20 is too much, and 66/20 is less than the aspect: rows go
        ((500, 500), 14, 255_000, (504, 504)),
        ((5, 5), 2, 25, (4, 4)),  # 2.5 patches: half to even is 2
        ((7, 7), 2, 49, (6, 8)),  # 3.5 patches: half to even is 4, and 8×8 is too much: rows go first at k/m = W/H
    ],
)
def test_sizes_worked_out_by_hand(
    image: tuple[int, int], patch: int, max_pixels: int, expected: tuple[int, int]
) -> None:
    assert network_size(*image, patch=patch, max_pixels=max_pixels) == expected


def exactly(height: int, width: int, patch: int, max_pixels: int) -> tuple[int, int]:
    """The formula of network.md §3 in whole numbers: √ by comparing squares, so that a half is a half."""

    def half_to_even(side: int) -> int:  # round(side · √(max_pixels / (width·height)) / patch)
        square = Fraction(side * side * max_pixels, width * height * patch * patch)
        below = isqrt(square.numerator // square.denominator)
        half = Fraction(2 * below + 1, 2) ** 2
        return below + (square > half or (square == half and below % 2 == 1))

    k, m = half_to_even(width), half_to_even(height)
    while k and m and patch * k * patch * m > max_pixels:
        if Fraction(k, m) > Fraction(width, height):
            k -= 1
        else:
            m -= 1
    return patch * m, patch * k


@given(height=SIDES, width=SIDES, patch=PATCHES, max_pixels=st.integers(1, 400_000))
@settings(derandomize=True, deadline=None, max_examples=500)
def test_the_laws_of_the_networks_size(height: int, width: int, patch: int, max_pixels: int) -> None:
    expected = exactly(height, width, patch, max_pixels)
    if max_pixels < patch * patch or 0 in expected:
        with pytest.raises(InputError, match=r"elongated|has no room"):
            network_size(height, width, patch=patch, max_pixels=max_pixels)
        return
    rows, columns = network_size(height, width, patch=patch, max_pixels=max_pixels)
    assert rows % patch == columns % patch == 0
    assert 0 < rows * columns <= max_pixels
    assert (rows, columns) == expected


@given(height=st.integers(200, 4000), width=st.integers(200, 4000))
@settings(derandomize=True, deadline=None)
def test_the_aspect_is_kept_and_the_pixels_are_used(height: int, width: int) -> None:
    rows, columns = network_size(height, width, patch=14, max_pixels=255_000)
    short = np.sqrt(255_000 * min(height, width) / max(height, width))  # the shorter side, were there no patches
    assert rows / columns == pytest.approx(height / width, rel=2 * 14 / short)
    assert rows * columns > 255_000 * (1 - 3 * 14 / short)


@pytest.mark.parametrize(
    ("image", "patch", "max_pixels", "said"),
    [
        ((0, 640), 14, 255_000, "0×640 .* has no pixels"),
        ((480, -3), 14, 255_000, "480×-3 .* has no pixels"),
        ((1, 100_000), 14, 255_000, "1×100000 .* too elongated for patches of 14 pixels"),
        ((480, 640), 14, 195, "max_pixels=195 has no room for one patch of 14×14"),
        ((480, 640), 0, 255_000, "patch"),
    ],
)
def test_absurd_sizes_are_refused(image: tuple[int, int], patch: int, max_pixels: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        network_size(*image, patch=patch, max_pixels=max_pixels)


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
    with pytest.raises(InputError, match="give at least 1×1 and at most"):
        resize_rgb(numbered(0), size)
    with pytest.raises(InputError, match="give at least 1×1 and at most"):
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
