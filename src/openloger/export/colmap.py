"""COLMAP: a folder of pictures and a sparse model, as `colmap model_converter`, pycolmap and splat trainers read it.

    images/            frame_000000.jpg, ... at the network's size, or the source's
    masks/             frame_000000.jpg.png, ... of a run with masks: black is ignored (`ImageReader.mask_path`)
    sparse/0/          cameras, images, points3D as .bin and as .txt

The world's axes and the pixel convention (centres at + 0.5) are COLMAP's own already; transforms are inverted to
cam_from_world. One camera serves all frames where all have the same intrinsics. Each point has a track: all frames that
see it (`sightings.py`). Points that a single frame sees are left out: COLMAP's bundle adjustment
refuses them.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import torch

from openloger.errors import InputError
from openloger.export.cameras import all_the_same
from openloger.export.colmap_files import BinaryModel, ColmapCamera, ColmapImage, ColmapPoint, ModelFiles, TextModel
from openloger.export.pictures import Pictures, PictureSource
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, selected_frames
from openloger.export.sightings import Searcher, SparsePoints
from openloger.export.track_file import TrackFile
from openloger.export.trajectories import quaternions_wxyz
from openloger.geometry import SE3

MAX_POINTS = 100_000  # as many as COLMAP finds in some hundred pictures
CONTENTS = ("images", "masks", "sparse")


def write_colmap(
    recording: Reconstruction,
    path: Path,
    *,
    selection: PointSelection,
    images: PictureSource | None = None,
    progress: Progress = no_progress,
) -> int:
    """Into the empty folder `path`; for `images` see `Pictures`. Gives the number of points."""
    frames = selected_frames(recording, selection)
    pictures = Pictures(recording, path, frames=frames, source=images)
    for name in map(pictures.name, frames):
        if any(character.isspace() for character in name):
            raise InputError(f"{name!r} has a blank in it, which COLMAP's text files cannot hold: rename the file")
    model = path / "sparse" / "0"
    model.mkdir(parents=True)
    points = _confirmed(recording, selection, frames, progress)
    with ExitStack() as stack:
        tracks = stack.enter_context(TrackFile(path, points=len(points)))
        _, cameras = _numbered(pictures, frames)
        writers = [stack.enter_context(kind(model, cameras)) for kind in (BinaryModel, TextModel)]
        _write_images(recording, pictures, Searcher(recording, points, selection), tracks, writers, frames)
        errors_px = tracks.mean_errors_px
        for point, track in tracks.tracks():
            for writer in writers:
                row = points.points_world[point], points.rgb[point], float(errors_px[point]), track
                writer.add_point(ColmapPoint(point + 1, *row))
    return len(points)


def _confirmed(recording: Reconstruction, selection: PointSelection, frames: range, progress: Progress) -> SparsePoints:
    """The selected points that two frames see; of a single frame, all."""
    points = SparsePoints.of(recording, selection, progress=progress)
    if len(frames) == 1:
        return points
    return points.at(Searcher(recording, points, selection).views(frames) > 1)


def _write_images(
    recording: Reconstruction,
    pictures: Pictures,
    searcher: Searcher,
    tracks: TrackFile,
    writers: list[ModelFiles],
    frames: range,
) -> None:
    """Pictures and images, each with the points that it sees, which also go into the tracks."""
    camera_ids, _ = _numbered(pictures, frames)
    world_from_cam = SE3.from_matrix(torch.from_numpy(recording.world_from_cam[list(frames)]))
    cam_from_world = world_from_cam.inverse().matrix().numpy()
    wxyz = quaternions_wxyz(cam_from_world)
    for number, frame in enumerate(frames):
        pictures.save(frame)
        seen = searcher.sightings(frame)
        tracks.add(number + 1, seen, pixels=float(pictures.scale_xy.mean()))
        view = ColmapImage(
            image_id=number + 1,
            camera_id=camera_ids[number],
            name=pictures.name(frame),
            wxyz=wxyz[number],
            translation=cam_from_world[number, :3, 3],
            point_ids=seen.points + 1,
            pixels_xy=pictures.pixels(seen.pixels_xy),
        )
        for writer in writers:
            writer.add(view)


def _numbered(pictures: Pictures, frames: range) -> tuple[list[int], dict[int, ColmapCamera]]:
    """The camera id of each frame, and the cameras by id: one for all where they are equal."""
    if pictures.lens is not None:
        return [1] * len(frames), {1: pictures.lens}
    cameras = [pictures.cameras[frame] for frame in frames]
    if all_the_same(cameras):
        return [1] * len(cameras), {1: cameras[0]}
    ids = list(range(1, len(cameras) + 1))
    return ids, dict(zip(ids, cameras, strict=True))
