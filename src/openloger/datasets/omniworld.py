"""OmniWorld-Game (Zhou et al., 2025, arXiv 2509.12201; https://github.com/yangzhou24/OmniWorld).

    b04f88d1f85a/color/000000.png
    b04f88d1f85a/depth/000000.png        16 bits of a depth buffer between 1 and 1000
    b04f88d1f85a/split_info.json         split: of each split the numbers of its frames
    b04f88d1f85a/camera/split_0.json     focals, cx, cy, quats (w x y z) and trans of cam_from_world, a frame each
    b04f88d1f85a/fps.txt                 not needed

A split is a sequence, b04f88d1f85a/split_0. The unit is each scene's own. Depth that is too near or too far for the
buffer is none.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from openloger.datasets.cameras import (
    camera_matrix,
    check_intrinsics,
    inverses,
    known_camera,
    matrices_from_xyz_quaternion,
)
from openloger.datasets.files import picture_source, read_depth_png
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, found_below
from openloger.datasets.text import number_of, read_text, require
from openloger.errors import InputError
from openloger.shapes import Float32

FPS = 24.0
NEAR, FAR = 1.0, 1000.0  # of the depth buffer
UNIT = 0.004
TOO_NEAR, TOO_FAR = 0.0015, 65500 / 65535  # of the buffer's values, which are from 0 to 1


def find(folder: Path) -> list[str]:
    names = found_below(folder, *(f"{above}camera/split_*.json" for above in ("", "*/", "*/*/")), up=2)
    splits = [f"{scene}/{path.stem}" for scene in names for path in (folder / scene / "camera").glob("split_*.json")]
    return sorted(name.removeprefix("./") for name in splits)


def read(folder: Path, name: str) -> FileSequence:
    path, _, split = (folder / name).as_posix().rpartition("/")
    scene = require(Path(path), "a scene of OmniWorld-Game")
    file = scene / "camera" / f"{split}.json"
    try:
        numbers = [
            int(number) for number in _json(scene / "split_info.json")["split"][int(split.removeprefix("split_"))]
        ]
        of = _json(file)
        centre = [np.broadcast_to(np.array(of[key], dtype=np.float64), len(numbers)) for key in ("cx", "cy")]
        focal = np.broadcast_to(np.array(of["focals"], dtype=np.float64), len(numbers))
        quaternions, places = (
            np.array(of[key], dtype=np.float64).reshape(len(numbers), -1) for key in ("quats", "trans")
        )
        rows = np.concatenate([places, quaternions[:, [1, 2, 3, 0]]], axis=1)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{file} and split_info.json are not those of OmniWorld-Game: {error!r}") from None
    cameras = inverses(matrices_from_xyz_quaternion(rows))
    fps = _fps(scene / "fps.txt")
    labels, pictures = [], []
    for number, camera, f, cx, cy in zip(
        numbers, cameras, focal.tolist(), *(one.tolist() for one in centre), strict=True
    ):
        K = check_intrinsics(file, camera_matrix(f, f, cx, cy))
        depth_path = scene / "depth" / f"{number:06d}.png"
        depth = partial(read_depth, depth_path) if depth_path.exists() else None
        labels.append(Label(number / fps, known_camera(camera), K, depth))
        pictures.append(require(scene / "color" / f"{number:06d}.png", "a picture of OmniWorld-Game"))
    return FileSequence(name, tuple(labels), picture_source(pictures))


def read_depth(path: Path) -> Float32[np.ndarray, "height width"]:
    """Along z, of the buffer's value b: b / (far − b (far − near)) / 0.004."""
    b = read_depth_png(path, per_unit=65535.0).astype(np.float64)
    known = (b >= TOO_NEAR) & (b <= TOO_FAR)
    return np.where(known, b / (FAR - b * (FAR - NEAR)) / UNIT, 0).astype(np.float32)


def _json(path: Path) -> Any:
    try:
        return json.loads(read_text(path, "of OmniWorld-Game"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from error


def _fps(path: Path) -> float:
    if not path.exists():
        return FPS
    try:
        fps = number_of(read_text(path, "frames a second").strip())
        if fps > 0:
            return fps
    except ValueError:
        pass
    raise InputError(f"{path} is no number of frames a second")


OMNIWORLD = Reader(
    title="OmniWorld-Game",
    layout="SCENE/{color/000000.png, depth/000000.png, camera/split_0.json, split_info.json}",
    find=find,
    read=read,
    depth=DepthKind(clean=True),
)
