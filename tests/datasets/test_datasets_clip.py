"""Clips for training: pixels, intrinsics and depth still belong together after cutting and resizing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from openloger.datasets import read_clip
from openloger.errors import InputError

HEIGHT, WIDTH = 60, 100
K = np.array([[80.0, 0, 47], [0, 75, 31], [0, 0, 1]])


@dataclass(frozen=True)
class Sample:
    rgb: np.ndarray
    index: int
    timestamp_s: float
    name: str
    world_from_cam: np.ndarray | None
    intrinsics: np.ndarray | None
    depth: np.ndarray | None
    valid: np.ndarray | None


def points_of(depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(depth)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    return (np.linalg.inv(intrinsics) @ pixels * depth[rows, columns]).T


class Wall:
    """The plane 0.3 X − 0.2 Y + Z = 4, whose colour tells the place on it; no depth in a stripe."""

    name, length = "wall", 3

    def __init__(self, depth_size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
        self.depth_size = depth_size

    def _map(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = ((np.arange(width) + 0.5) / width * WIDTH - K[0, 2]) / K[0, 0]
        y = ((np.arange(height) + 0.5) / height * HEIGHT - K[1, 2]) / K[1, 1]
        x, y = np.meshgrid(x, y)
        return x, y, 4 / (0.3 * x - 0.2 * y + 1)

    def world_from_cam(self, index: int) -> np.ndarray:
        return np.eye(4)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < 3:
            raise IndexError(index)
        x, y, z = self._map(HEIGHT, WIDTH)
        rgb = np.stack([128 + 40 * x * z, 128 + 40 * y * z, np.full_like(x, index)], axis=-1).round().astype(np.uint8)
        depth = self._map(*self.depth_size)[2].astype(np.float32)
        valid = np.ones(self.depth_size, dtype=bool)
        valid[:, :3] = False
        return Sample(rgb, index, index / 10, f"{index}", np.eye(4), K, depth, valid)

    def frames(self, first: int = 0) -> Iterator[Sample]:
        return (self[index] for index in range(first, 3))

    def __iter__(self) -> Iterator[Sample]:
        return self.frames()


@pytest.mark.parametrize("size", [(30, 50), (24, 24), (20, 60), (60, 100)])
@pytest.mark.parametrize("depth_size", [(HEIGHT, WIDTH), (120, 200)])
def test_points_stay_on_the_wall_with_their_colours(size: tuple[int, int], depth_size: tuple[int, int]) -> None:
    clip = read_clip(Wall(depth_size), [2, 0], size=size)
    assert clip.name == "wall[2,0]"
    assert clip.rgb.shape == (2, *size, 3)
    assert clip.rgb[0, 5, 5, 2] == 2
    focal = clip.intrinsics[0, 0, 0] / clip.intrinsics[0, 1, 1]
    assert focal == pytest.approx(K[0, 0] / K[1, 1], rel=0.03)  # pixels stay square but for whole pixels of the cut
    points = points_of(clip.depth[0], clip.intrinsics[0])
    slack = 0.02 + 0.02 * (HEIGHT / size[0])  # depth is that of a place up to half a pixel beside
    np.testing.assert_allclose(points @ [0.3, -0.2, 1.0], 4, atol=slack)
    colours = clip.rgb[0][clip.valid[0]].astype(float)
    np.testing.assert_allclose((colours[:, :2] - 128) / 40, points[:, :2], atol=0.15)


def test_what_is_not_valid_is_left_out_and_sparse_depth_kept() -> None:
    clip = read_clip(Wall(), [0], size=(30, 50))
    assert not clip.valid[0, :, 0].any()
    assert clip.valid[0, :, 3:].all()
    np.testing.assert_array_equal(clip.valid, clip.depth > 0)


def test_a_frame_without_truth_is_refused() -> None:
    class Blind(Wall):
        def __getitem__(self, index: int) -> Sample:
            from dataclasses import replace

            return replace(super().__getitem__(index), intrinsics=None)

    with pytest.raises(InputError, match=r"frame 1 of wall.*intrinsics"):
        read_clip(Blind(), [1], size=(10, 10))
    with pytest.raises(IndexError):
        read_clip(Wall(), [3], size=(10, 10))
