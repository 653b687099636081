"""nerfstudio: `transforms.json` with pictures, depth maps and an initial cloud, ready for splatting.

    transforms.json    cameras; camera axes are OpenGL's (x right, y up, z backward), the world is the recording's
    images/            frame_000000.jpg, ...
    masks/             frame_000000.jpg.png, ... of a run with masks: black takes no part in training (`mask_path`)
    depth/             frame_000000.png: 16 bits, in units of `depth_unit_scale_factor`; 0 is unknown
    sparse_pc.ply      the initial cloud (`ply_file_path`)

nerfstudio reads depth in millimetres by default: where `depth_unit_scale_factor` in transforms.json is not
0.001, pass its value as `--pipeline.datamanager.dataparser.depth-unit-scale-factor` (of a recording that has no metric
scale, "metres" are the recording's own unit).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.export.cameras import Y_UP, Pinhole, all_the_same
from openloger.export.pictures import Pictures, PictureSource
from openloger.export.ply import PlyFile
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, select_points, selected_frames, trusted_pixels
from openloger.geometry.camera_models import PARAMETERS
from openloger.shapes import Bool, Float

MAX_POINTS = 1_000_000
CONTENTS = ("transforms.json", "images", "masks", "depth", "sparse_pc.ply")
_CLOUD = "sparse_pc.ply"
_DEPTH_FOLDER = "depth"
_MILLIMETRES = 1e-3
_DEEPEST = np.iinfo(np.uint16).max
_FRAMES_SAMPLED = 64  # to choose the unit of depth


def write_nerfstudio(
    recording: Reconstruction,
    path: Path,
    *,
    selection: PointSelection,
    images: PictureSource | None = None,
    progress: Progress = no_progress,
) -> int:
    """Into the empty folder `path`; for `images` see `Pictures`. Depth is unknown where `selection` distrusts it, and
    there is none for distorted pictures. Gives the number of points of the initial cloud.
    """
    frames = selected_frames(recording, selection)
    pictures = Pictures(recording, path, frames=frames, source=images)
    unit = _depth_unit(recording, selection)
    (path / _DEPTH_FOLDER).mkdir()
    shared = pictures.lens is not None or all_the_same(list(pictures.cameras.values()))
    world_from_gl_cam = recording.world_from_cam @ Y_UP
    entries: list[dict[str, Any]] = []
    with PlyFile(path / _CLOUD) as cloud:
        for chunk in select_points(recording, selection, progress=progress):
            frame = chunk.frame
            cloud.add(chunk)
            pictures.save(frame)
            depth_file = f"{_DEPTH_FOLDER}/frame_{frame:06d}.png"
            depth = recording.depth(frame)
            known = trusted_pixels(depth, recording.confidence(frame), selection)
            _save_depth(depth, known, path / depth_file, unit=unit)
            files = {"file_path": pictures.path(frame)}
            if pictures.lens is None:
                files["depth_file_path"] = depth_file
            if pictures.masked:
                files["mask_path"] = pictures.mask_path(frame)
            camera = {} if shared else _camera(pictures.cameras[frame])
            entries.append({**files, **camera, "transform_matrix": world_from_gl_cam[frame].tolist()})
    head = _head(pictures, shared=shared)
    transforms = {**head, "depth_unit_scale_factor": unit, "ply_file_path": _CLOUD, "frames": entries}
    (path / "transforms.json").write_text(json.dumps(transforms, indent=1) + "\n", "utf-8")
    return cloud.count


def _head(pictures: Pictures, *, shared: bool) -> dict[str, Any]:
    lens = pictures.lens
    if lens is None:
        return {"camera_model": "OPENCV", **(_camera(pictures.cameras[0]) if shared else {})}
    names = PARAMETERS[lens.name][-1][4 : len(lens.params)]
    distortion = dict(zip(names, lens.params[4:], strict=True))
    rational = lens.name == "opencv" and any(distortion.get(name, 0) for name in ("k4", "k5", "k6"))
    if lens.name == "equirect" or lens.size is None or rational:
        raise InputError(f"nerfstudio has no camera {lens.text}: export undistorted pictures (--pictures full)")
    camera = _camera(Pinhole(lens.size[1], lens.size[0], *lens.params[:4]))
    if lens.name == "opencv":  # its k4 is no term of a denominator
        distortion = {name: distortion.get(name, 0.0) for name in ("k1", "k2", "k3", "p1", "p2")}
    return {"camera_model": lens.name.upper(), **camera, **distortion}


def _camera(camera: Pinhole) -> dict[str, float]:
    size = {"w": camera.width, "h": camera.height}
    distortion = dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0)
    return {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy, **size, **distortion}


def _save_depth(
    depth: Float[np.ndarray, "height width"], known: Bool[np.ndarray, "height width"], file: Path, *, unit: float
) -> None:
    from PIL import Image

    steps = np.rint(depth / unit)
    known = known & (steps <= _DEEPEST)
    Image.fromarray(np.where(known, steps, 0).astype(np.uint16)).save(file)


def _depth_unit(recording: Reconstruction, selection: PointSelection) -> float:
    """Millimetres where 16 bits of them hold 99.9 % of the trusted depths and no step is over a thousandth of the
    far ones; else the finest power of ten that holds them.
    """
    frames = selected_frames(recording, selection)
    sampled = frames[:: max(1, len(frames) // _FRAMES_SAMPLED)]
    far = 0.0
    for frame in sampled:
        depth = recording.depth(frame)
        known = depth[trusted_pixels(depth, recording.confidence(frame), selection)]
        far = max(far, float(np.quantile(known, 0.999)) if known.size else 0.0)
    if far == 0 or 1 <= far <= _DEEPEST * _MILLIMETRES:
        return _MILLIMETRES
    return 10.0 ** math.ceil(math.log10(far / _DEEPEST))
