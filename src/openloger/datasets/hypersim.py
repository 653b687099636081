"""Hypersim (Roberts et al., ICCV 2021).

    ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg
    ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5   distances from the camera's centre
    ai_001_001/_detail/cam_00/camera_keyframe_{orientations,positions}.hdf5     world_from_cam; x right, y up, z back
    ai_001_001/_detail/metadata_scene.csv                                       meters_per_asset_unit
    metadata_camera_parameters.csv   of ml-hypersim/contrib/mikeroberts3000, beside the scenes or above them

Distances along the ray become depth along z, and positions metres. Cameras differ from scene to scene; where one is
tilted against its picture (tilt-shift) no pinhole describes it, and its frames have no intrinsics. What is not finite
has no depth. `sequences` are ai_001_001/cam_00, ….
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import known_camera, rigid_matrices
from openloger.datasets.files import listed, picture_source, read_hdf5
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, found_below
from openloger.datasets.text import number_of, read_text, require
from openloger.errors import InputError
from openloger.shapes import Float32, Float64

FPS = 30.0  # nominal
_SIZE = ("settings_output_img_width", "settings_output_img_height")
PARAMETERS = "metadata_camera_parameters.csv"
OPENCV_FROM_OPENGL = np.diag([1.0, -1, -1])
_STRAIGHT = 1e-6  # a pixel
_BEYOND = "beyond"  # the key of what a row has beyond its names
_NO_COMMAS = "if it has decimal commas, write 0.5 for 0,5"


def find(folder: Path) -> list[str]:
    scenes = found_below(folder, "*/_detail/metadata_scene.csv", "_detail/metadata_scene.csv", up=2)
    names = [f"{scene}/{path.parent.name}" for scene in scenes for path in _trajectories(folder / scene)]
    return sorted(name.removeprefix("./") for name in names)


def read(folder: Path, name: str) -> FileSequence:
    scene, _, camera = (folder / name).as_posix().rpartition("/")
    root = require(Path(scene), "a scene of Hypersim")
    pictures = listed(root / "images" / f"scene_{camera}_final_preview", "frame.*.tonemap.jpg")
    numbers = [_number(path) for path in pictures]
    cameras = read_cameras(root, camera)
    if max(numbers) >= len(cameras):
        raise InputError(f"{name}: there is a frame {max(numbers)}, and cameras of frames 0 to {len(cameras) - 1}")
    tables = [above / PARAMETERS for above in root.resolve().parents]
    table = next((path for path in tables if path.exists()), None)
    if table is None:
        raise InputError(f"{tables[0]} is missing; take it from contrib/mikeroberts3000 of ml-hypersim")
    rays = ray_matrix(camera_parameters(table, root.resolve().name))
    labels = []
    for number in numbers:
        stem = f"frame.{number:04d}.depth_meters.hdf5"
        distance = root / "images" / f"scene_{camera}_geometry_hdf5" / stem
        depth = partial(read_depth, distance, rays) if distance.exists() else None
        labels.append(Label(number / FPS, known_camera(cameras[number]), pinhole(rays), depth))
    return FileSequence(name, tuple(labels), picture_source(pictures))


def read_cameras(scene: Path, camera: str) -> Float64[np.ndarray, "frame 4 4"]:
    """`world_from_cam` in metres and OpenCV axes."""
    folder = scene / "_detail" / camera
    turns = read_hdf5(folder / "camera_keyframe_orientations.hdf5", "dataset", axes=3).astype(np.float64)
    places = read_hdf5(folder / "camera_keyframe_positions.hdf5", "dataset", axes=2).astype(np.float64)
    if turns.shape[1:] != (3, 3) or places.shape != (len(turns), 3):
        raise InputError(f"{folder}: {turns.shape} orientations and {places.shape} positions do not belong together")
    rows = np.concatenate([turns @ OPENCV_FROM_OPENGL, places[..., None] * _metres(scene)], axis=2).reshape(-1, 12)
    return rigid_matrices(rows, folder / "camera_keyframe_orientations.hdf5")


def ray_matrix(row: dict[str, float]) -> Float64[np.ndarray, "3 3"]:
    """Of a scene's parameters what takes a pixel (x, y, 1), counted from the picture's corner, to its ray.

    M_cam_from_uv takes (u, v, 1) there, with u and v from −1 to 1, to the right and up.
    """
    M = np.array([[row[f"M_cam_from_uv_{i}{j}"] for j in range(3)] for i in range(3)])
    width, height = row["settings_output_img_width"], row["settings_output_img_height"]
    uv_from_pixel = np.array([[2 / width, 0, -1], [0, -2 / height, 1], [0, 0, 1]])
    return OPENCV_FROM_OPENGL @ M @ uv_from_pixel


def pinhole(rays: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"] | None:
    """K of the matrix that takes pixels to rays; None where it is none: pixels are tilted against the axis."""
    rays = rays / rays[2, 2]
    return np.linalg.inv(rays) if np.abs(rays[[2, 2, 0, 1], [0, 1, 1, 0]]).max() < _STRAIGHT else None


def read_depth(path: Path, rays: Float64[np.ndarray, "3 3"]) -> Float32[np.ndarray, "height width"]:
    """Depth along z: the distance times the cosine of the ray's angle to the axis; 0 where it is not finite."""
    distance = read_hdf5(path, "dataset", axes=2).astype(np.float64)
    height, width = distance.shape
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ray = np.stack([x, y, np.ones_like(x)], axis=-1) @ rays.T
    depth = distance * ray[..., 2] / np.linalg.norm(ray, axis=-1)
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def camera_parameters(path: Path, scene: str) -> dict[str, float]:
    """The numbers of a scene's row. Raises InputError where there is none, or it has more of them than names."""
    rows = csv.DictReader(read_text(path, "camera parameters of Hypersim").splitlines(), restkey=_BEYOND)
    row = next((row for row in rows if row.get("scene_name") == scene), None)
    if row is not None and _BEYOND in row:
        raise InputError(f"{path}: the row of {scene} has more numbers than there are names; {_NO_COMMAS}")
    wanted = [*(f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)), *_SIZE]
    try:
        return {name: number_of((row or {})[name]) for name in wanted}
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} has no camera of scene {scene}: {error}") from None


def _metres(scene: Path) -> float:
    path = scene / "_detail" / "metadata_scene.csv"
    rows = csv.reader(read_text(path, "of a scene").splitlines())
    found = next((row[1:] for row in rows if row[:1] == ["meters_per_asset_unit"]), [])
    if len(found) > 1:
        raise InputError(f"{path}: meters_per_asset_unit has {len(found)} values; {_NO_COMMAS}")
    try:
        return number_of(found[0])
    except (IndexError, ValueError):
        raise InputError(f"{path} has no meters_per_asset_unit") from None


def _trajectories(scene: Path) -> list[Path]:
    return sorted((scene / "_detail").glob("cam_*/camera_keyframe_positions.hdf5"))


def _number(picture: Path) -> int:
    digits = picture.name.split(".")[1]
    if not digits.isdecimal():
        raise InputError(f"{picture} is not named like a frame of Hypersim, frame.0000.tonemap.jpg")
    return int(digits)


HYPERSIM = Reader(
    title="Hypersim",
    layout="ai_001_001/{images/scene_cam_00_final_preview/, images/scene_cam_00_geometry_hdf5/, _detail/cam_00/}",
    find=find,
    read=read,
    depth=DepthKind(clean=True, metric=True),
)
