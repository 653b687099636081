"""COLMAP: a folder of pictures and a sparse model, as `colmap model_converter`, pycolmap and splat trainers read it.

    images/            frame_000000.jpg, ... at the network's size
    sparse/0/          cameras, images, points3D as .bin and as .txt

The world's axes and the pixel convention (centres at + 0.5) are COLMAP's own already; transforms are inverted to
cam_from_world. One camera serves all frames where all have the same intrinsics.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from openloger.errors import InputError
from openloger.export.cameras import Pinhole, all_the_same
from openloger.export.colmap_files import BinaryModel, ColmapImage, TextModel
from openloger.export.pictures import Pictures
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, select_points, selected_frames
from openloger.export.trajectories import quaternions_wxyz
from openloger.geometry import SE3

MAX_POINTS = 1_000_000  # more than splat trainers start from
CONTENTS = ("images", "sparse")


def write_colmap(
    recording: Reconstruction,
    path: Path,
    *,
    selection: PointSelection,
    images: Path | None = None,
    progress: Progress = no_progress,
) -> int:
    """Into the empty folder `path`. With `images`, the folder of the source's frames, the cameras have those files'
    size and names and no pictures are written. Gives the number of points.
    """
    frames = selected_frames(recording, selection)
    pictures = Pictures(recording, path, frames=frames, source=images)
    for name in map(pictures.name, frames):
        if any(character.isspace() for character in name):
            raise InputError(f"{name!r} has a blank in it, and COLMAP's text files cannot say that: rename the file")
    camera_ids, cameras = _numbered(pictures, frames)
    world_from_cam = SE3.from_matrix(torch.from_numpy(recording.world_from_cam[list(frames)]))
    cam_from_world = world_from_cam.inverse().matrix().numpy()
    wxyz = quaternions_wxyz(cam_from_world)
    model = path / "sparse" / "0"
    model.mkdir(parents=True)
    with ExitStack() as stack:
        writers = [stack.enter_context(kind(model, cameras)) for kind in (BinaryModel, TextModel)]
        next_id = 1
        for number, chunk in enumerate(select_points(recording, selection, progress=progress)):
            pictures.save(chunk.frame)
            view = ColmapImage(
                image_id=number + 1,
                camera_id=camera_ids[number],
                name=pictures.name(chunk.frame),
                wxyz=wxyz[number],
                translation=cam_from_world[number, :3, 3],
                point_ids=np.arange(next_id, next_id + len(chunk)),
                pixels_xy=chunk.pixels_xy * pictures.scale_xy,
                points_world=chunk.points_world,
                rgb=chunk.rgb,
            )
            next_id += len(chunk)
            for writer in writers:
                writer.add(view)
    return next_id - 1


def _numbered(pictures: Pictures, frames: range) -> tuple[list[int], dict[int, Pinhole]]:
    """The camera id of each frame, and the cameras by id: one for all where they are equal."""
    cameras = [pictures.cameras[frame] for frame in frames]
    if all_the_same(cameras):
        return [1] * len(cameras), {1: cameras[0]}
    ids = list(range(1, len(cameras) + 1))
    return ids, dict(zip(ids, cameras, strict=True))
