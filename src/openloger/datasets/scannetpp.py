"""ScanNet++ (Yeshwanth et al., ICCV 2023; https://github.com/scannetpp/scannetpp), its DSLR and its iPhone.

    data/SCENE/dslr/colmap/{cameras,images,points3D}.txt      a COLMAP model in metres
    data/SCENE/dslr/resized_images/DSC00001.JPG
    data/SCENE/dslr/render_depth/DSC00001.png                 millimetres, by the toolkit's `common.render`
    data/SCENE/iphone/{colmap/…, rgb/frame_000000.jpg, render_depth/frame_000000.png}

SCENE/dslr and SCENE/iphone are sequences. Pictures and rendered depth are undistorted as for `colmap`; frames without a
rendering have no depth.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.colmap import read_cameras, read_views, sequence_of
from openloger.datasets.files import natural, read_depth_png
from openloger.datasets.sequence import DepthKind, FileSequence, Reader, found_below
from openloger.datasets.text import require
from openloger.errors import InputError
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import view_map
from openloger.shapes import Float32

PICTURES = {"dslr": "resized_images", "iphone": "rgb"}
RENDERED = "render_depth"


def find(folder: Path) -> list[str]:
    patterns = (f"{above}{kind}/colmap/images.txt" for kind in PICTURES for above in ("", "*/", "*/*/"))
    return found_below(folder, *patterns, up=2)


def read(folder: Path, name: str) -> FileSequence:
    captured = require(folder / name, "a capture of ScanNet++")
    kind = captured.resolve().name
    if kind not in PICTURES:
        raise InputError(f"{captured} is neither dslr nor iphone of a scene of ScanNet++")
    model, pictures = captured / "colmap", captured / PICTURES[kind]
    bare = sequence_of(model, pictures, name=name)
    cameras = read_cameras(model)
    of_name = {view.name: cameras[view.camera_id] for view in read_views(model)}
    labels = []
    for path, label in zip(natural(pictures / one for one in of_name), bare.labels, strict=True):
        picture = path.relative_to(pictures)
        depth_path = captured / RENDERED / picture.with_suffix(".png")
        depth = partial(read_depth, depth_path, of_name[picture.as_posix()]) if depth_path.exists() else None
        labels.append(replace(label, read_depth=depth))
    return FileSequence(name, tuple(labels), bare.source)


def read_depth(path: Path, camera: CameraModel) -> Float32[np.ndarray, "height width"]:
    """Of each pixel of a camera's view the depth of the pixel that it is taken from: both look along one axis."""
    depth = read_depth_png(path, per_unit=1000.0)
    if depth.shape != camera.size:
        raise InputError(f"{path} is {depth.shape}, and its picture {camera.size} (height, width)")
    if camera.is_pinhole:
        return depth
    x, y = np.floor(view_map(camera, depth.shape).numpy()).astype(int).transpose(2, 0, 1)
    return depth[y.clip(0, depth.shape[0] - 1), x.clip(0, depth.shape[1] - 1)]


SCANNETPP = Reader(
    title="ScanNet++",
    layout="data/SCENE/{dslr/{colmap/, resized_images/, render_depth/}, iphone/{colmap/, rgb/, render_depth/}}",
    find=find,
    read=read,
    depth=DepthKind(clean=True, metric=True),
)
