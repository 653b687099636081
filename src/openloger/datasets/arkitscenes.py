"""ARKitScenes (Baruch et al., NeurIPS 2021), as its `download_data.py` unpacks `raw` or `3dod`.

    Training/47333462/lowres_wide/47333462_5234.102.png           256 × 192, with the time in seconds
    Training/47333462/lowres_depth/47333462_5234.102.png          millimetres, of the LiDAR, the same view
    Training/47333462/lowres_wide_intrinsics/47333462_….pincam    width height fx fy cx cy
    Training/47333462/lowres_wide.traj                            seconds, axis-angle, translation of cam_from_world

`3dod` has these in 47333462_frames. Cameras are interpolated between the rows of the trajectory, intrinsics are those
nearest in time.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from openloger.datasets.cameras import camera_matrix, check_intrinsics, inverses, known_camera
from openloger.datasets.files import listed, picture_source, read_depth_png
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import number_of, read_rows, require
from openloger.datasets.times import cameras_at
from openloger.errors import InputError
from openloger.geometry import rotation_from_axis_angle
from openloger.shapes import Float64

WITHIN_S = 0.3  # between two rows of the trajectory that a camera may be interpolated from
LENS_WITHIN_S = 0.5
TRAJECTORY = "lowres_wide.traj"


def find(folder: Path) -> list[str]:
    return found_below(folder, *(f"{above}{TRAJECTORY}" for above in ("", "*/", "*/*/", "*/*/*/")))


def read(folder: Path, name: str) -> FileSequence:
    video = require(folder / name, "a video of ARKitScenes")
    pictures = listed(video / "lowres_wide", "*.png")
    times_s = np.array([_time_s(path) for path in pictures])
    given_s, given = read_trajectory(video / TRAJECTORY)
    cameras, known = cameras_at(times_s, given_s, given, within_s=WITHIN_S)
    lenses = listed(video / "lowres_wide_intrinsics", "*.pincam")
    lenses_s = np.array([_time_s(path) for path in lenses])
    labels = []
    for path, time_s, camera, sure in zip(pictures, times_s, cameras, known, strict=True):
        nearest = int(np.abs(lenses_s - time_s).argmin())
        near = abs(lenses_s[nearest] - time_s) <= LENS_WITHIN_S
        depth_path = video / "lowres_depth" / path.name
        depth = partial(read_depth_png, depth_path, per_unit=1000.0) if depth_path.exists() else None
        intrinsics = read_pincam(lenses[nearest]) if near else None
        labels.append(Label(float(time_s), known_camera(camera) if sure else None, intrinsics, depth))
    return FileSequence(called(folder, name), tuple(labels), picture_source(pictures))


def read_trajectory(path: Path) -> tuple[Float64[np.ndarray, " row"], Float64[np.ndarray, "row 4 4"]]:
    """Times and `world_from_cam`, in order of time."""
    rows = read_rows(path, columns=7, what="seconds, axis-angle, translation")
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    cam_from_world = np.tile(np.eye(4), (len(rows), 1, 1))
    cam_from_world[:, :3, :3] = rotation_from_axis_angle(torch.from_numpy(rows[:, 1:4].copy())).numpy()
    cam_from_world[:, :3, 3] = rows[:, 4:]
    cam_from_world[~np.isfinite(rows).all(axis=1)] = np.nan
    return rows[:, 0], inverses(cam_from_world)


def read_pincam(path: Path) -> Float64[np.ndarray, "3 3"]:
    row = read_rows(path, columns=6, what="width height fx fy cx cy")[0].tolist()
    return check_intrinsics(path, camera_matrix(*row[2:]))


def _time_s(path: Path) -> float:
    try:
        return number_of(path.stem.rpartition("_")[2])
    except ValueError:
        raise InputError(f"{path} is not named like a frame of ARKitScenes, VIDEO_SECONDS") from None


ARKITSCENES = Reader(
    title="ARKitScenes",
    layout="47333462/{lowres_wide/, lowres_wide_intrinsics/, lowres_depth/, lowres_wide.traj}",
    find=find,
    read=read,
    depth=DepthKind(metric=True),
)
