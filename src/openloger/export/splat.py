"""3D Gaussian splats: an initial cloud in the PLY that 3DGS, gsplat and splat viewers read.

A splat is a flat disc on the surface that its pixel saw: as wide as the pixel's footprint there (wider where the cloud
is thinned), a tenth as thick, turned to the surface's normal; its colour is the spherical harmonic of degree 0, its
opacity the pixel's confidence. Scales are logarithms, opacities logits, rotations quaternions (w, x, y, z), as 3DGS
stores them (Kerbl et al., "3D Gaussian Splatting", 2023; https://github.com/graphdeco-inria/gaussian-splatting). The
world's axes stay the recording's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from openloger.export.ply import PlyRows
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointChunk, PointSelection, select_points, trusted_pixels
from openloger.geometry import normals_from_points, unproject
from openloger.shapes import Float, Float64, UInt8

MAX_POINTS = 1_000_000  # 248 MB
SH_DEGREE_0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 √π)
_REST = 45  # coefficients of degrees 1 to 3, all 0, which some readers insist on
FLATNESS = 0.1  # thickness : width
_LEAST_OPACITY = 0.02
_NAMES = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *(f"f_dc_{channel}" for channel in range(3)),
    *(f"f_rest_{number}" for number in range(_REST)),
    "opacity",
    *(f"scale_{axis}" for axis in range(3)),
    *(f"rot_{number}" for number in range(4)),
)
_SPLAT = np.dtype([(name, "<f4") for name in _NAMES])


def write_splat(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> int:
    """One splat for each selected point; gives their number."""
    world_from_cam, intrinsics = recording.world_from_cam, recording.intrinsics
    with PlyRows(path, _SPLAT) as file:
        for chunk in select_points(recording, selection, progress=progress):
            if len(chunk):
                file.add_rows(
                    _splats(recording, chunk, selection, world_from_cam[chunk.frame], intrinsics[chunk.frame])
                )
    return file.count


def _splats(
    recording: Reconstruction,
    chunk: PointChunk,
    selection: PointSelection,
    world_from_cam: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
) -> np.ndarray:
    columns, rows = (chunk.pixels_xy - 0.5).astype(np.int64).T
    depth, confidence = recording.depth(chunk.frame), recording.confidence(chunk.frame)
    points_cam = unproject(torch.from_numpy(depth).double(), torch.from_numpy(np.asarray(intrinsics)))
    normals = normals_from_points(points_cam).numpy()[rows, columns] @ world_from_cam[:3, :3].T
    trusted = trusted_pixels(depth, confidence, selection).sum()
    spread = max(1.0, np.sqrt(trusted / len(chunk)))  # of the pixels that each splat stands for, across
    width = depth[rows, columns] / np.sqrt(intrinsics[0, 0] * intrinsics[1, 1]) * spread
    if selection.voxel is not None:
        width = np.full(len(chunk), selection.voxel)
    return splat_rows(
        Discs(chunk.points_world, normals, width, chunk.rgb, confidence[rows, columns].astype(np.float64))
    )


@dataclass(frozen=True, eq=False)
class Discs:
    """Flat splats on a surface."""

    centre: Float[np.ndarray, "splat 3"]
    normal: Float64[np.ndarray, "splat 3"]  # unit vectors; zero: not known
    width: Float64[np.ndarray, " splat"]  # two standard deviations, along the surface
    rgb: UInt8[np.ndarray, "splat 3"]
    confidence: Float64[np.ndarray, " splat"]  # 0..1

    @property
    def opacity(self) -> Float64[np.ndarray, " splat"]:
        return self.confidence.clip(_LEAST_OPACITY, 1 - _LEAST_OPACITY)

    @property
    def covariance(self) -> Float64[np.ndarray, "splat 3 3"]:
        """A tenth as thick as wide; round where the normal is not known."""
        across = self.normal[:, :, None] * self.normal[:, None, :]
        return (self.width / 2)[:, None, None] ** 2 * (np.eye(3) - (1 - FLATNESS**2) * across)


def write_discs(discs: Discs, path: Path) -> None:
    """As `write_splat` writes a recording's."""
    with PlyRows(path, _SPLAT) as file:
        file.add_rows(splat_rows(discs))


def splat_rows(discs: Discs) -> np.ndarray:
    """As rows of 3DGS's PLY."""
    deviation, opacity = np.log(discs.width / 2), discs.opacity
    parts = [
        discs.centre,
        discs.normal,
        (discs.rgb / 255 - 0.5) / SH_DEGREE_0,
        np.zeros((len(discs.rgb), _REST)),
        np.log(opacity / (1 - opacity))[:, None],
        np.stack([deviation, deviation, deviation + np.log(FLATNESS)], 1),
        turned_from_z(discs.normal),
    ]
    table = np.ascontiguousarray(np.concatenate(parts, 1), "<f4")
    return table.view(_SPLAT)[:, 0]


def turned_from_z(normals: Float64[np.ndarray, "point 3"]) -> Float64[np.ndarray, "point 4"]:
    """Unit quaternions (w, x, y, z) of the shortest turns of the z axis to unit vectors; none for a zero vector."""
    x, y, z = normals.T
    quaternions = np.stack([1 + z, -y, x, np.zeros_like(x)], 1)
    length = np.linalg.norm(quaternions, axis=1, keepdims=True)
    half_turn = length[:, 0] < 1e-9
    quaternions[half_turn], length[half_turn] = [0.0, 1.0, 0.0, 0.0], 1.0
    return quaternions / length
