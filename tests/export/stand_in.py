"""A reconstruction made up on the spot: smooth depth, cameras on a curve, and colours that say which pixel they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

HEIGHT, WIDTH = 24, 32


@dataclass(frozen=True)
class StandIn:
    """Colours are (frame, row, column), so a point read back tells the pixel that it came from."""

    frame_count: int = 5
    height: int = HEIGHT
    width: int = WIDTH
    fixed_lens: bool = False
    depth_scale: float = 1.0
    reads: list[int] = field(default_factory=list)

    @cached_property
    def world_from_cam(self) -> np.ndarray:
        t = np.arange(self.frame_count) / 10
        rotations = np.array([_rotation([0.3 * np.sin(k), k, 0.2 * k]) for k in t]).reshape(-1, 3, 3)
        transforms = np.tile(np.eye(4), (self.frame_count, 1, 1))
        transforms[:, :3, :3] = rotations
        transforms[:, :3, 3] = self.depth_scale * np.stack([np.sin(t), 0.1 * t, t], -1)
        return transforms

    @cached_property
    def intrinsics(self) -> np.ndarray:
        zoom = np.zeros(self.frame_count) if self.fixed_lens else np.linspace(0, 1, self.frame_count)
        matrices = np.tile(np.eye(3), (self.frame_count, 1, 1))
        matrices[:, 0, 0] = 30 + zoom
        matrices[:, 1, 1] = 31 + zoom
        matrices[:, 0, 2] = self.width / 2 + 1.25
        matrices[:, 1, 2] = self.height / 2 - 0.75
        return matrices

    @property
    def timestamps_s(self) -> np.ndarray:
        return 1_305_031_102.175304 + np.arange(self.frame_count) / 30

    @cached_property
    def names(self) -> list[str]:
        return [f"shot_{number:03d}.png" for number in range(self.frame_count)]

    def _pixels(self) -> tuple[np.ndarray, np.ndarray]:
        return np.mgrid[: self.height, : self.width].astype(np.float32)

    def depth(self, frame: int, /) -> np.ndarray:
        self.reads.append(frame)
        rows, columns = self._pixels()
        depth = 3 + np.sin(rows / 40 + frame / 7) + columns / 100
        return (self.depth_scale * depth).astype(np.float32)

    def confidence(self, frame: int, /) -> np.ndarray:
        """0.95 but for the first row, which has 0.05."""
        confidence = np.full((self.height, self.width), 0.95, np.float32)
        confidence[0] = 0.05
        return confidence

    def rgb(self, frame: int, /) -> np.ndarray:
        rows, columns = self._pixels()
        return np.stack([np.full_like(rows, frame % 256), rows, columns], -1).astype(np.uint8)


@dataclass(frozen=True)
class WithDepth(StandIn):
    """The same depth and confidence for all frames, as given."""

    depth_map: np.ndarray = field(default_factory=lambda: np.ones((HEIGHT, WIDTH), np.float32))
    confidence_map: np.ndarray = field(default_factory=lambda: np.ones((HEIGHT, WIDTH), np.float32))

    def depth(self, frame: int, /) -> np.ndarray:
        return self.depth_map

    def confidence(self, frame: int, /) -> np.ndarray:
        return self.confidence_map


def pixels_of(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frame and the pixel centre (x, y) that colours name."""
    return rgb[:, 0].astype(int), rgb[:, [2, 1]] + 0.5


def project(points: np.ndarray, intrinsics: np.ndarray, world_from_cam: np.ndarray) -> np.ndarray:
    """Pixels (x, y) of world points, each with its own camera: OpenCV axes, straight from the definition."""
    offsets = points - world_from_cam[:, :3, 3]
    points_cam = np.einsum("nji,nj->ni", world_from_cam[:, :3, :3], offsets)
    homogeneous = np.einsum("nij,nj->ni", intrinsics, points_cam)
    assert (homogeneous[:, 2] > 0).all(), "a point lies behind its camera"
    return homogeneous[:, :2] / homogeneous[:, 2:]


def _rotation(axis_angle: list[float]) -> np.ndarray:
    """Rodrigues' formula."""
    angle = np.linalg.norm(axis_angle)
    if angle == 0:
        return np.eye(3)
    x, y, z = np.array(axis_angle) / angle
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
