"""Any reconstruction by COLMAP (Schönberger and Frahm, CVPR 2016; https://colmap.github.io/format.html).

    SCENE/images/…                                the pictures, as the model names them; or smaller, in images_2, …
    SCENE/sparse/0/{cameras,images,points3D}.bin  or .txt; or in sparse/, or in the scene itself
    SCENE/dense/{images/…, sparse/…}              the undistorted workspace, read where there is no other model

A scene's further models (sparse/1, …) are sequences of their own, named so. Frames are the registered pictures, in the
natural order of their names, whatever their numbers in the model. Cameras with distortion are undistorted as frames
stream: a frame is the view of `geometry.views`, and its intrinsics are the view's. Depth is sparse: the points whose
tracks have the picture, each in the pixel of the view on which it falls. The unit is the reconstruction's own.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import (
    inverses,
    known_camera,
    matrices_from_xyz_quaternion,
    nearest_depth,
    view_camera,
)
from openloger.datasets.files import StoredPictures, image_size, natural
from openloger.datasets.sequence import FileSequence, Label, Reader, called
from openloger.datasets.text import number_of, read_binary, read_text, require, streamed_lines
from openloger.errors import InputError
from openloger.frames.image_file import FORMATS
from openloger.frames.lenses import undistorted
from openloger.frames.lenses.colmap_cameras import binary_colmap_cameras, colmap_cameras
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import view_size
from openloger.outputs import is_clutter
from openloger.shapes import Float32, Float64

FPS = 30.0  # nominal: a model has no times
PLACES = (  # of the model and of the pictures in a scene; the first that is there counts
    ("sparse/0", "images"),
    ("sparse", "images"),
    ("sparse/manhattan/0", "images"),  # MegaDepth
    ("", "images"),
    ("dense/sparse", "dense/images"),
    ("dense/0/sparse", "dense/0/images"),
)
SMALLER = ("images_2", "images_4", "images_8")  # copies whose sides are that part of the model's
SAME_ASPECT = 0.02
_ABOVE = ("", "*", "*/*")
_ENDINGS = (".bin", ".txt")
_IMAGE = struct.Struct("<I7dI")  # id, quaternion w x y z, translation of cam_from_world, camera id
_POINT_2D_BYTES = 24
_POINT = struct.Struct("<Q3d3BdQ")  # id, position, colour, error, number of views
_LONGEST_NAME = 1 << 12


@dataclass(frozen=True)
class ColmapView:
    """One registered picture of a model."""

    image_id: int
    camera_id: int
    name: str
    cam_from_world: tuple[float, ...]  # qw qx qy qz tx ty tz


@dataclass(eq=False)
class ColmapPoints:
    """The points of a model by the pictures that see them; the file is read once, on first use."""

    model: Path
    _read: tuple[np.ndarray, np.ndarray, np.ndarray] | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def seen_by(self, image_id: int) -> Float64[np.ndarray, "point 3"]:
        """World positions of the points whose tracks have this picture; empty where none has."""
        with self._lock:
            if self._read is None:
                self._read = self._load()
        xyz, point, image = self._read
        first, last = np.searchsorted(image, [image_id, image_id + 1])
        return xyz[np.unique(point[first:last])]

    def _load(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, and the rows of sightings (point, picture) in order of pictures."""
        path = _model_file(self.model, "points3D")
        rows = _binary_points(path) if path.suffix == ".bin" else _text_points(path)
        xyz, tracks = [], []
        for position, track in rows:
            xyz.append(position)
            tracks.append(track)
        image = np.concatenate([*tracks, np.empty(0, np.uint32)])
        point = np.repeat(np.arange(len(tracks), dtype=np.uint32), [len(track) for track in tracks])
        order = np.argsort(image, kind="stable")
        return np.array(xyz, dtype=np.float64).reshape(-1, 3), point[order], image[order]


def find(folder: Path) -> list[str]:
    claimed: set[Path] = set()
    scenes: set[str] = set()
    for place, _ in sorted(PLACES, key=lambda one: -len(Path(one[0]).parts)):
        for model in _models(folder, *("/".join(filter(None, (above, place))) for above in _ABOVE)):
            if model not in claimed:
                scenes.add(Path(*model.parts[: len(model.parts) - len(Path(place).parts)]).as_posix())
                claimed.add(model)
    further = (
        model.as_posix()
        for scene in scenes
        for model in _models(folder, f"{scene}/sparse/[0-9]*".removeprefix("./"))
        if model not in claimed
    )
    return sorted({*scenes, *further})


def read(folder: Path, name: str) -> FileSequence:
    """One model with its pictures; without points3D there is no depth."""
    model, pictures = _place(folder / name)
    return sequence_of(model, pictures, name=called(folder, name))


def sequence_of(model: Path, pictures: Path, *, name: str) -> FileSequence:
    """A model and the folder that its names of pictures start from.

    Raises InputError where a file or picture is missing, or a camera is of a kind that is not supported.
    """
    views = {view.name: view for view in read_views(model)}
    if not views:
        raise InputError(f"{model} has no registered picture")
    ordered = [(path, views[os.path.relpath(path, pictures).replace(os.sep, "/")]) for path in _paths(pictures, views)]
    cameras = read_cameras(model)
    if pictures.name in SMALLER:
        of_camera = {view.camera_id: path for path, view in reversed(ordered)}
        cameras = {one: _at_size(cameras[one], path) for one, path in of_camera.items() if one in cameras}
    lost = next((view for _, view in ordered if view.camera_id not in cameras), None)
    if lost is not None:
        raise InputError(f"{model}: {lost.name} is by camera {lost.camera_id}, which is not among its cameras")
    rows = np.array([[*view.cam_from_world[4:], *np.roll(view.cam_from_world[:4], -1)] for _, view in ordered])
    cam_from_world = matrices_from_xyz_quaternion(rows)
    points = ColmapPoints(model) if _has(model, "points3D") else None
    labels = []
    for number, (matrix, (_, view)) in enumerate(zip(cam_from_world, ordered, strict=True)):
        camera, world_from_cam = cameras[view.camera_id], known_camera(inverses(matrix[None])[0])
        K = view_camera(camera)
        depth = None
        if points is not None and world_from_cam is not None:
            depth = partial(sparse_depth, points, view.image_id, matrix, K, _size(camera))
        labels.append(Label(number / FPS, world_from_cam, K, depth))
    source = StoredPictures(name, tuple(path for path, _ in ordered))
    return FileSequence(name, tuple(labels), undistorted(source, [cameras[view.camera_id] for _, view in ordered]))


def sparse_depth(
    points: ColmapPoints,
    image_id: int,
    cam_from_world: Float64[np.ndarray, "4 4"],
    intrinsics: Float64[np.ndarray, "3 3"],
    size: tuple[int, int],
) -> Float32[np.ndarray, "height width"]:
    """Depths along z of the points that a picture sees, each in the pixel that it falls on; of several the nearest."""
    return nearest_depth(points.seen_by(image_id) @ cam_from_world[:3, :3].T + cam_from_world[:3, 3], intrinsics, size)


def read_cameras(model: Path) -> dict[int, CameraModel]:
    """The cameras of a model by their ids."""
    path = _model_file(model, "cameras")
    if path.suffix == ".txt":
        return colmap_cameras(str(path), read_text(path, "cameras of COLMAP"))
    return binary_colmap_cameras(str(path), read_binary(path, "cameras of COLMAP"))


def read_views(model: Path) -> Iterator[ColmapView]:
    """The registered pictures of a model; the points that they see are passed over."""
    path = _model_file(model, "images")
    return _binary_views(path) if path.suffix == ".bin" else _text_views(path)


def _binary_views(path: Path) -> Iterator[ColmapView]:
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            (count,) = struct.unpack("<Q", file.read(8))
            for _ in range(count):
                image_id, *camera, camera_id = _IMAGE.unpack(file.read(_IMAGE.size))
                name = file.read(_LONGEST_NAME)
                length = name.index(b"\0")
                file.seek(length + 1 - len(name), os.SEEK_CUR)
                (seen,) = struct.unpack("<Q", file.read(8))
                if file.seek(_POINT_2D_BYTES * seen, os.SEEK_CUR) > end:
                    raise ValueError("a picture's points reach beyond its end")
                yield ColmapView(image_id, camera_id, os.fsdecode(name[:length]), tuple(camera))
    except (OSError, struct.error, ValueError, OverflowError) as error:
        raise InputError(f"{path} is cut short, or no images.bin of COLMAP: {error}") from error


def _text_views(path: Path) -> Iterator[ColmapView]:
    """Two lines a picture; the second, its points, may be empty."""
    lines = streamed_lines(path, "pictures of COLMAP")
    for number, line in lines:
        if not line:
            continue
        words = line.split(maxsplit=9)
        try:
            image_id, camera, camera_id, name = int(words[0]), map(number_of, words[1:8]), int(words[8]), words[9]
            yield ColmapView(image_id, camera_id, name, tuple(camera))
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number}: {line[:60]!r} is no picture of COLMAP's images.txt") from None
        next(lines, None)


def _binary_points(path: Path) -> Iterator[tuple[tuple[float, ...], np.ndarray]]:
    try:
        content = read_binary(path, "points of COLMAP")
        (count,), at = struct.unpack_from("<Q", content), 8
        for _ in range(count):
            _, x, y, z, *_, length = _POINT.unpack_from(content, at)
            track = np.frombuffer(content, "<u4", 2 * length, at + _POINT.size)
            at += _POINT.size + 8 * length
            yield (x, y, z), track[::2]
    except (OSError, struct.error, ValueError) as error:
        raise InputError(f"{path} is cut short, or no points3D.bin of COLMAP: {error}") from error


def _text_points(path: Path) -> Iterator[tuple[tuple[float, ...], np.ndarray]]:
    for number, line in streamed_lines(path, "points of COLMAP"):
        if not line:
            continue
        words = line.split()
        try:
            position, track = tuple(map(number_of, words[1:4])), np.array(words[8::2], dtype=np.uint32)
            if len(position) != 3 or len(words) % 2:
                raise ValueError(line)
        except (ValueError, OverflowError):
            raise InputError(f"{path}, line {number}: {line[:60]!r} is no point of COLMAP's points3D.txt") from None
        yield position, track


def _paths(pictures: Path, views: dict[str, ColmapView]) -> tuple[Path, ...]:
    """The pictures of a model, in natural order."""
    require(pictures, "the pictures of a COLMAP model")
    missing = sorted(name for name in views if not (pictures / name).is_file())
    if missing:
        raise InputError(
            f"{pictures} lacks {len(missing)} of the model's {len(views)} pictures, {missing[0]} among them; put all "
            "of them there, under the names that the model has"
        )
    return natural(pictures / name for name in views)


def _at_size(camera: CameraModel, picture: Path) -> CameraModel:
    """The camera of a smaller copy of its pictures."""
    size, full = image_size(picture, formats=FORMATS, what="a picture"), _size(camera)
    scale = (size[1] / full[1], size[0] / full[0])
    if abs(scale[0] / scale[1] - 1) > SAME_ASPECT:
        raise InputError(
            f"{picture} has {size[1]}×{size[0]} pixels, which is no smaller copy of a picture of {full[1]}×{full[0]}"
        )
    params = (*(value * scale[number % 2] for number, value in enumerate(camera.params[:4])), *camera.params[4:])
    return replace(camera, params=params, size=size)


def _size(camera: CameraModel) -> tuple[int, int]:
    """Height and width of its views."""
    assert camera.size is not None  # COLMAP's cameras have one
    return view_size(camera, camera.size)


def _place(scene: Path) -> tuple[Path, Path]:
    """The folders of the model and of the pictures of a scene, or of a further model of it."""
    if scene.parent.name == "sparse" and _has(scene, "images") and not (scene / "images").is_dir():
        return scene, scene.parent.parent / "images"
    for model, pictures in PLACES:
        if _has(scene / model, "images"):
            smaller = (scene / pictures).parent
            found = next((smaller / one for one in ("images", *SMALLER) if (smaller / one).is_dir()), scene / pictures)
            return scene / model, found
    places = ", ".join(model for model, _ in PLACES if model)
    raise InputError(f"{scene} has no model of COLMAP in {places} or itself")


def _has(model: Path, what: str) -> bool:
    return any((model / f"{what}{ending}").exists() for ending in _ENDINGS)


def _model_file(model: Path, what: str) -> Path:
    """The binary file, as COLMAP itself takes it, or the text."""
    found = next((path for ending in _ENDINGS if (path := model / f"{what}{ending}").exists()), None)
    path = require(model / f"{what}.bin", f"of COLMAP; or {what}.txt") if found is None else found
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    return path


def _models(folder: Path, *patterns: str) -> list[Path]:
    """Folders with images.bin or images.txt, relative to `folder`."""
    found = {
        path.parent.relative_to(folder)
        for pattern in patterns
        for ending in _ENDINGS
        for path in folder.glob(f"{pattern}/images{ending}".removeprefix("/"))
    }
    return sorted(path for path in found if not any(map(is_clutter, path.parts)))


COLMAP = Reader(
    title="a COLMAP reconstruction",
    layout="SCENE/{images/, sparse/0/{cameras, images, points3D}.bin}, or .txt",
    find=find,
    read=read,
)
