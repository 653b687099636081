"""A truncated signed distance field in hashed blocks (Curless and Levoy 1996; Nießner et al. 2013), on disk.

Space is cut into cubes of 8³ voxels, which exist near surfaces only. Each voxel keeps the weighted mean of its signed
distance to what the frames saw, along z and cut off at `TRUNCATION` voxels, of its colour, and the sum of the weights.
The blocks lie in memory-mapped files, 5 kB each, of which the system keeps in memory what the path is near; what
grows in memory itself is the index, some 200 bytes a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import TracebackType

import numpy as np

from openloger.shapes import Bool, Float, Float32, Int, UInt8

SIDE = 8  # voxels along a block
TRUNCATION = 4.0  # voxels
_MOST_WEIGHT = 64.0  # of old evidence; float16 keeps a mean of it
_FIRST_BLOCKS = 1024
_BLOCKS_AT_ONCE = 256  # whose bricks are in memory together: 4 MB
_EMPTY = {"distance": 1.0, "weight": 0.0, "rgb": 0.0}  # where there is no block
_LOCAL = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1).reshape(-1, 3)
_CORNERS = np.array(list(product((0, 1), repeat=3)))


@dataclass(frozen=True)
class DepthView:
    """A frame as the field takes it in."""

    depth: Float32[np.ndarray, "height width"]
    trusted: Bool[np.ndarray, "height width"]
    confidence: Float32[np.ndarray, "height width"]  # the weight of what it saw
    rgb: UInt8[np.ndarray, "height width 3"]
    intrinsics: Float[np.ndarray, "3 3"]
    world_from_cam: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Brick:
    """A block and the first layer of its neighbours: what its part of the surface is found in."""

    origin: Int[np.ndarray, " axis"]  # the block's first voxel, in voxels
    distance: Float32[np.ndarray, "x y z"]  # in truncations, positive in front of the surface
    known: Bool[np.ndarray, "x y z"]
    rgb: Float32[np.ndarray, "x y z channel"]


class DistanceField:
    """Takes in frames, then gives out bricks. A context manager; its files lie in a folder that is not its own."""

    def __init__(self, folder: Path, *, voxel: float) -> None:
        """`voxel` is a voxel's edge in the unit of the views."""
        self.voxel = voxel
        self._folder = folder
        self._number: dict[tuple[int, int, int], int] = {}
        self._rooms = 0
        self._arrays: dict[str, np.ndarray] = {}  # in files

    def __enter__(self) -> DistanceField:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._arrays.clear()
        for name in _EMPTY:
            (self._folder / f"{name}.tmp").unlink(missing_ok=True)

    def __len__(self) -> int:
        """The number of blocks."""
        return len(self._number)

    def add(self, view: DepthView) -> None:
        """Take in what a frame saw."""
        blocks = self._touched(view)
        if len(blocks) == 0:
            return
        numbers = self._numbers(blocks)
        voxels = blocks[:, None] * SIDE + _LOCAL
        cam = (voxels * self.voxel - view.world_from_cam[:3, 3]) @ view.world_from_cam[:3, :3]
        ahead, row, column = _seen_by(view, cam)
        distance = (view.depth[row, column] - cam[..., 2]) / (TRUNCATION * self.voxel)
        seen = ahead & view.trusted[row, column] & (distance >= -1)
        added = np.where(seen, view.confidence[row, column], 0).astype(np.float32)
        weight = self._arrays["weight"][numbers].astype(np.float32)
        total = np.maximum(weight + added, 1e-6)
        share = added / total
        mean = self._arrays["distance"][numbers].astype(np.float32)
        self._arrays["distance"][numbers] = mean + share * (np.minimum(distance, 1) - mean)
        near = (share * (distance < 1))[..., None]
        rgb = self._arrays["rgb"][numbers].astype(np.float32)
        self._arrays["rgb"][numbers] = rgb + near * (view.rgb[row, column] - rgb)
        self._arrays["weight"][numbers] = np.minimum(weight + added, _MOST_WEIGHT)

    def bricks(self) -> Iterator[Brick]:
        """Of every block, in the order in which they were first seen."""
        blocks = np.array(list(self._number), np.int64).reshape(-1, 3)
        for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
            some = blocks[start : start + _BLOCKS_AT_ONCE]
            numbers = self._around(some)
            distance, weight, rgb = (self._bricks_of(name, numbers, empty) for name, empty in _EMPTY.items())
            for i, block in enumerate(some):
                yield Brick(block * SIDE, distance[i], weight[i] > 0, rgb[i])

    def _around(self, blocks: Int[np.ndarray, "block 3"]) -> Int[np.ndarray, "corner block"]:
        """The places of blocks and of their neighbours on the far sides in the arrays; -1 where there is none."""
        keys = map(tuple, (blocks + _CORNERS[:, None]).reshape(-1, 3).tolist())
        return np.array([self._number.get(key, -1) for key in keys]).reshape(len(_CORNERS), len(blocks))

    def _bricks_of(
        self, name: str, numbers: Int[np.ndarray, "corner block"], empty: float
    ) -> Float32[np.ndarray, "block x y z *channel"]:
        """Each block's values and the first layer of its neighbours'."""
        values = self._arrays[name]
        bricks = np.full((numbers.shape[1], *(SIDE + 1,) * 3, *values.shape[2:]), empty, np.float32)
        for corner, number in zip(_CORNERS, numbers, strict=True):
            there = number >= 0
            place = tuple(slice(SIDE * at, SIDE + at) for at in corner)
            layers = tuple(slice(1 if at else SIDE) for at in corner)
            given = values[number[there]].reshape(-1, *(SIDE,) * 3, *values.shape[2:])
            bricks[there, *place] = given[:, *layers]
        return bricks

    def _touched(self, view: DepthView) -> Int[np.ndarray, "block 3"]:
        """The blocks within the truncation of what a frame saw, along its rays."""
        rows, columns = np.nonzero(view.trusted)
        depth = view.depth[rows, columns].astype(np.float64)
        focal, principal = view.intrinsics[[0, 1], [0, 1]], view.intrinsics[:2, 2]
        plane = (np.stack([columns, rows], -1) + 0.5 - principal) / focal
        rays = np.concatenate([plane, np.ones((len(plane), 1))], 1)
        reach = TRUNCATION * self.voxel
        found = [np.zeros((0, 3), np.int64)]
        for offset in np.linspace(-reach, reach, 3):
            points = (rays * (depth + offset)[:, None]) @ view.world_from_cam[:3, :3].T + view.world_from_cam[:3, 3]
            found.append(np.unique(np.floor(points / (self.voxel * SIDE)).astype(np.int64), axis=0))
        return np.unique(np.concatenate(found), axis=0)

    def _numbers(self, blocks: Int[np.ndarray, "block 3"]) -> Int[np.ndarray, " block"]:
        """Their places in the arrays; new ones are made, empty."""
        keys = [(int(x), int(y), int(z)) for x, y, z in blocks]
        numbers = np.array([self._number.setdefault(key, len(self._number)) for key in keys])
        if len(self._number) > self._rooms:
            self._grow()
        return numbers

    def _grow(self) -> None:
        while self._rooms < len(self._number):
            self._rooms = max(_FIRST_BLOCKS, 2 * self._rooms)
        for name, kind, channels in (("distance", "<f2", 1), ("weight", "<f2", 1), ("rgb", "<f2", 3)):
            shape = (self._rooms, SIDE**3, channels) if channels > 1 else (self._rooms, SIDE**3)
            path = self._folder / f"{name}.tmp"
            self._arrays.pop(name, None)
            with path.open("ab") as file:
                file.truncate(int(np.prod(shape)) * np.dtype(kind).itemsize)  # what is new is zero
            self._arrays[name] = np.memmap(path, kind, "r+", shape=shape).view(np.ndarray)


def _seen_by(view: DepthView, cam: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which camera-frame points fall inside the picture, and the row and column of each; 0 where they do not."""
    height, width = view.depth.shape
    front = cam[..., 2] > 0
    z = np.where(front, cam[..., 2], 1)
    x = cam[..., 0] / z * view.intrinsics[0, 0] + view.intrinsics[0, 2]
    y = cam[..., 1] / z * view.intrinsics[1, 1] + view.intrinsics[1, 2]
    inside = front & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return inside, np.where(inside, y, 0).astype(np.int64), np.where(inside, x, 0).astype(np.int64)
