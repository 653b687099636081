"""The size at which a network receives frames: the published rule, the least stretched size, and one for every door."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network.reference import open_pocket

import openloger
from openloger.errors import InputError
from openloger.network import preset
from openloger.streaming import Stream, network_size
from openloger.streaming.sizing import STRETCH, least_stretched_size, published_size, stretch

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
    assert published_size(*image, patch=patch, max_pixels=max_pixels) == expected


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
            published_size(height, width, patch=patch, max_pixels=max_pixels)
        return
    rows, columns = published_size(height, width, patch=patch, max_pixels=max_pixels)
    assert rows % patch == columns % patch == 0
    assert 0 < rows * columns <= max_pixels
    assert (rows, columns) == expected


@given(height=st.integers(200, 4000), width=st.integers(200, 4000))
@settings(derandomize=True, deadline=None)
def test_the_aspect_is_kept_and_the_pixels_are_used(height: int, width: int) -> None:
    rows, columns = published_size(height, width, patch=14, max_pixels=255_000)
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
        published_size(*image, patch=patch, max_pixels=max_pixels)


COMMON = {
    "4:3": (480, 640),
    "16:9": (1080, 1920),
    "3:2": (400, 600),
    "1:1": (500, 500),
    "2:1": (500, 1000),
    "3:4": (640, 480),
    "9:16": (1920, 1080),
    "21:9": (1080, 2520),
    "KITTI": (376, 1241),
}


@pytest.mark.parametrize(("patch", "max_pixels"), [(8, 5120), (16, 30_720), (16, 35_840)])
@pytest.mark.parametrize("image", COMMON.values(), ids=COMMON)
def test_small_networks_hardly_stretch_common_videos(image: tuple[int, int], patch: int, max_pixels: int) -> None:
    size = least_stretched_size(*image, patch=patch, max_pixels=max_pixels)
    assert size[0] % patch == size[1] % patch == 0
    assert size[0] * size[1] <= max_pixels
    assert stretch(image, size) <= STRETCH
    larger = [
        (rows, columns)
        for rows in range(patch, max_pixels // patch + 1, patch)
        for columns in range(patch, max_pixels // rows + 1, patch)
        if rows * columns > size[0] * size[1]
    ]
    assert all(stretch(image, one) > STRETCH for one in larger)


@pytest.mark.parametrize(
    ("image", "expected"),
    [((480, 640), (144, 192)), ((1080, 1920), (128, 224)), ((400, 600), (128, 192)), ((500, 500), (160, 160))],
)
def test_least_stretched_sizes_worked_out_by_hand(image: tuple[int, int], expected: tuple[int, int]) -> None:
    assert least_stretched_size(*image, patch=16, max_pixels=30_720) == expected


@given(height=st.integers(16, 4000), width=st.integers(16, 4000))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_turning_the_image_turns_its_size(height: int, width: int) -> None:
    try:
        size = least_stretched_size(height, width, patch=8, max_pixels=5120)
    except InputError:
        with pytest.raises(InputError):
            least_stretched_size(width, height, patch=8, max_pixels=5120)
        return
    assert least_stretched_size(width, height, patch=8, max_pixels=5120) == size[::-1]


def test_where_no_size_is_near_the_least_stretch_is_taken() -> None:
    assert least_stretched_size(10, 17, patch=8, max_pixels=4 * 64) == (8, 16)
    with pytest.raises(InputError, match="1×100000"):
        least_stretched_size(1, 100_000, patch=8, max_pixels=5120)


@pytest.mark.parametrize(
    ("name", "image", "expected"), [("loger", (280, 504), (378, 672)), ("pi3", (480, 640), (434, 574))]
)
def test_published_networks_keep_the_published_rule(
    name: str, image: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert network_size(*image, preset(name)) == expected


@pytest.mark.parametrize("given_size", [(64, 64), (45, 80)])
def test_every_door_has_the_same_size(given_size: tuple[int, int], tmp_path) -> None:
    network = open_pocket()
    arrays = [np.full((*given_size, 3), 30 * number, np.uint8) for number in range(3)]
    (placed,) = Stream(network).run(arrays)
    recording = openloger.reconstruct(arrays, tmp_path / "out", network=network)
    expected = network_size(*given_size, network.config)
    assert placed.frames[0].rgb.shape[:2] == recording.rgb(0).shape[:2] == expected
    assert np.array_equal(placed.frames[2].rgb, recording.rgb(2))
    assert recording.meta.source_size == given_size
