"""Cameras as other programs want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openloger.errors import InputError
from openloger.shapes import Float

# From OpenCV's axes (x right, y down, z forward) to OpenGL's (x right, y up, z backward), and back. Camera axes change
# by world_from_cam @ Y_UP; a whole world, whose first camera looks along z, is stood upright by Y_UP @ points.
Y_UP: Float[np.ndarray, "4 4"] = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Pinhole:
    """A camera without distortion; pixels, centre of pixel (row i, column j) at (j + 0.5, i + 0.5)."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @staticmethod
    def from_matrix(intrinsics: Float[np.ndarray, "3 3"], *, height: int, width: int) -> Pinhole:
        """Raises InputError where the matrix has skew, which the formats cannot hold."""
        if intrinsics[0, 1] != 0:
            raise InputError(f"intrinsics with skew ({intrinsics[0, 1]}) cannot be exported: use square pixel axes")
        fx, fy, cx, cy = (float(intrinsics[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return Pinhole(width, height, fx, fy, cx, cy)

    def resized(self, *, height: int, width: int) -> Pinhole:
        """The same camera where its pictures are resized."""
        x, y = width / self.width, height / self.height
        return Pinhole(width, height, self.fx * x, self.fy * y, self.cx * x, self.cy * y)


def all_the_same(cameras: Sequence[Pinhole]) -> bool:
    """True where all frames have the same camera."""
    return all(camera == cameras[0] for camera in cameras)
