"""Camera paths as text: TUM (timestamp tx ty tz qx qy qz qw) and KITTI (twelve numbers: a 3 x 4 matrix by rows).

Both hold world_from_cam in OpenCV's axes, one frame a line, with every digit of the float64. Of a rig they have the
first view of each instant, so that times increase, and KITTI's rows count panoramas.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, selected_cameras
from openloger.geometry.rotations import quaternion_wxyz_from_rotation
from openloger.shapes import Float


def write_tum(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> None:
    """Of `selection`, only `frame_stride` counts."""
    frames = list(selected_cameras(recording, selection))
    world_from_cam = recording.world_from_cam[frames]
    xyzw = np.roll(quaternions_wxyz(world_from_cam), -1, axis=-1)
    timestamps_s = np.asarray(recording.timestamps_s)[frames]
    _write_rows(path, np.concatenate([timestamps_s[:, None], world_from_cam[:, :3, 3], xyzw], -1))
    progress(len(frames), len(frames))


def write_kitti(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> None:
    """Of `selection`, only `frame_stride` counts."""
    frames = list(selected_cameras(recording, selection))
    _write_rows(path, recording.world_from_cam[frames, :3].reshape(len(frames), 12))
    progress(len(frames), len(frames))


def quaternions_wxyz(transforms: Float[np.ndarray, "frame 4 4"]) -> Float[np.ndarray, "frame 4"]:
    """The rotations of rigid transforms, as float64 unit quaternions."""
    rotations = torch.from_numpy(np.ascontiguousarray(transforms[:, :3, :3], np.float64))
    return quaternion_wxyz_from_rotation(rotations).numpy()


def _write_rows(path: Path, rows: Iterable[np.ndarray]) -> None:
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(" ".join(repr(float(number)) for number in row) + "\n" for row in rows)
