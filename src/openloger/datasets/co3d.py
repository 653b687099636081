"""CO3Dv2 (Reizenstein et al., ICCV 2021; https://github.com/facebookresearch/co3d).

    CATEGORY/frame_annotations.jgz                            all frames of a category, gzipped JSON
    CATEGORY/SEQUENCE/images/frame000001.jpg
    CATEGORY/SEQUENCE/depths/frame000001.jpg.geometric.png    16 bits, which are those of a float16
    CATEGORY/SEQUENCE/depth_masks/frame000001.png             where depth is valid

Cameras are PyTorch3D's (x left, y up, z forward; X_cam = X_world R + T; intrinsics in NDC) and become OpenCV's here.
Depth is by multi-view stereo, in the unit of each sequence's own reconstruction.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from openloger.datasets.cameras import camera_matrix, check_intrinsics, inverses, known_camera, rigid_matrices
from openloger.datasets.files import image_pixels, picture_source
from openloger.datasets.sequence import FileSequence, Label, Reader, found_below
from openloger.datasets.text import MOST_BYTES, require
from openloger.errors import InputError
from openloger.shapes import Float32, Float64

ANNOTATIONS = "frame_annotations.jgz"
OPENCV_FROM_PYTORCH3D = np.diag([-1.0, -1, 1])


def find(folder: Path) -> list[str]:
    """Of the categories that are there, the sequences whose pictures are."""
    return [
        f"{category}/{path.name}"
        for category in found_below(folder, f"*/{ANNOTATIONS}")
        for path in sorted((folder / category).iterdir())
        if (path / "images").is_dir()
    ]


def read(folder: Path, name: str) -> FileSequence:
    category, _, sequence = name.partition("/")
    path = require(folder / category / ANNOTATIONS, "of CO3Dv2")
    frames = read_annotations(path).get(sequence, [])
    if not frames:
        raise InputError(f"{path} has no frame of sequence {sequence!r}")
    try:
        labels = tuple(_label(folder, frame, path) for frame in frames)
        pictures = [folder / frame["image"]["path"] for frame in frames]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: a frame of {sequence} is not annotated as in CO3Dv2: {error!r}") from None
    for picture in pictures:
        require(picture, "a picture of CO3Dv2")
    return FileSequence(name, labels, picture_source(pictures))


def read_annotations(path: Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The frames of each sequence of a category, in order of their numbers; the last categories read are kept."""
    return _annotations(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _annotations(path: Path, changed_ns: int) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    try:
        with gzip.open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)  # little may be packed that is a lot
        if len(text) > MOST_BYTES:
            raise ValueError(f"unpacked it has more than {MOST_BYTES / 1e9:.1f} GB")
        frames = json.loads(text)
        found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for frame in frames:
            found[frame["sequence_name"]].append(frame)
        return {name: sorted(of, key=lambda frame: frame["frame_number"]) for name, of in found.items()}
    except (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, zlib.error) as error:
        raise InputError(f"{path} is not the annotations of CO3Dv2: {error}") from error


def _label(folder: Path, frame: Mapping[str, Any], path: Path) -> Label:
    viewpoint, depth = frame.get("viewpoint"), frame.get("depth")
    camera = intrinsics = None
    if viewpoint is not None:
        turn, shift = np.array(viewpoint["R"], dtype=np.float64), np.array(viewpoint["T"], dtype=np.float64)
        rows = np.concatenate([OPENCV_FROM_PYTORCH3D @ turn.T, (OPENCV_FROM_PYTORCH3D @ shift)[:, None]], axis=1)
        camera = known_camera(inverses(rigid_matrices(rows.reshape(1, 12), path))[0])
        intrinsics = check_intrinsics(path, pixels_from_ndc(viewpoint, *frame["image"]["size"]))
    read_depth_map = None
    if depth is not None and (folder / depth["path"]).exists():
        mask = None if depth.get("mask_path") is None else folder / depth["mask_path"]
        read_depth_map = partial(read_depth, folder / depth["path"], mask, float(depth["scale_adjustment"]))
    return Label(float(frame["frame_timestamp"]), camera, intrinsics, read_depth_map)


def pixels_from_ndc(viewpoint: Mapping[str, Any], height: int, width: int) -> Float64[np.ndarray, "3 3"]:
    """K of intrinsics in NDC, whose x is to the left and y up: the shorter side is from −1 to 1, or both are.

    Raises InputError for another format.
    """
    kind = viewpoint.get("intrinsics_format", "ndc_norm_image_bounds")
    if kind not in ("ndc_isotropic", "ndc_norm_image_bounds"):
        raise InputError(f"intrinsics_format is {kind!r}, neither ndc_isotropic nor ndc_norm_image_bounds")
    half = np.full(2, min(height, width) / 2) if kind == "ndc_isotropic" else np.array([width, height]) / 2
    focal, centre = np.array(viewpoint["focal_length"]) * half, np.array(viewpoint["principal_point"]) * half
    return camera_matrix(float(focal[0]), float(focal[1]), width / 2 - float(centre[0]), height / 2 - float(centre[1]))


def read_depth(path: Path, mask: Path | None, scale: float) -> Float32[np.ndarray, "height width"]:
    """The 16 bits of a pixel are a float16; 0 where it is not finite, or outside the mask."""
    bits = image_pixels(path, formats=("PNG",), what="depth")
    if bits.ndim != 2 or bits.dtype == np.uint8:
        raise InputError(f"{path} is {bits.dtype} {bits.shape}; depth of CO3Dv2 is one channel of 16 bits")
    depth = bits.astype(np.uint16).view(np.float16).astype(np.float32) * np.float32(scale)
    known = np.isfinite(depth) & (depth > 0)
    if mask is not None:
        shown = image_pixels(require(mask, "of depth"), formats=("PNG",), what="the mask of depth")
        if shown.shape[:2] != depth.shape:
            raise InputError(f"{mask} is {shown.shape}, and its depth {depth.shape}")
        known &= (shown if shown.ndim == 2 else shown[..., 0]) > 0
    return np.where(known, depth, np.float32(0))


CO3D = Reader(
    title="CO3Dv2",
    layout="CATEGORY/{frame_annotations.jgz, SEQUENCE/{images/, depths/, depth_masks/}}",
    find=find,
    read=read,
)
