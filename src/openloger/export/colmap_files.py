"""COLMAP's model files, binary and text: images as the frames stream, then points with their tracks.

Both follow https://colmap.github.io/format.html: cameras with their model's parameters, cam_from_world as quaternion
(w, x, y, z) and translation, pixel centres at + 0.5, ids from 1.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openloger.errors import InputError
from openloger.export.cameras import Pinhole
from openloger.frames.lenses.colmap_cameras import COLMAP_MODELS
from openloger.geometry.camera_models import CameraModel
from openloger.shapes import Float, Int, UInt8

_POINT_2D = np.dtype([("xy", "<f8", 2), ("point_id", "<u8")])
_WRITTEN_AS = {"pinhole": "PINHOLE", "opencv_fisheye": "OPENCV_FISHEYE"}  # opencv: by the number of its parameters


@dataclass(frozen=True)
class ColmapImage:
    """One image of a model, and the points that it sees."""

    image_id: int
    camera_id: int
    name: str
    wxyz: Float[np.ndarray, " quaternion"]  # of cam_from_world
    translation: Float[np.ndarray, " axis"]  # of cam_from_world
    point_ids: Int[np.ndarray, " point"]
    pixels_xy: Float[np.ndarray, "point 2"]


@dataclass(frozen=True)
class ColmapPoint:
    """One point of a model, and where it is seen."""

    point_id: int
    xyz: Float[np.ndarray, " axis"]
    rgb: UInt8[np.ndarray, " channel"]
    error_px: float  # mean over the track
    track: Int[np.ndarray, "sighting 2"]  # image id, index of the point in it


ColmapCamera = Pinhole | CameraModel


class ModelFiles(ABC):
    """A model being written; images and points are open from start to end, and complete when it is closed."""

    def __init__(self, folder: Path, ending: str) -> None:
        self._images = (folder / f"images{ending}").open("wb")
        self._points = (folder / f"points3D{ending}").open("wb")

    def __enter__(self) -> ModelFiles:
        return self

    def __exit__(self, *failure: object) -> None:
        with self._images, self._points:
            self._complete()

    @abstractmethod
    def add(self, view: ColmapImage) -> None:
        """Append an image."""

    @abstractmethod
    def add_point(self, point: ColmapPoint) -> None:
        """Append a point."""

    def _complete(self) -> None:
        """Write what is known only at the end."""
        return


class BinaryModel(ModelFiles):
    """cameras.bin, images.bin, points3D.bin; the counts in front are patched at the end."""

    def __init__(self, folder: Path, cameras: Mapping[int, ColmapCamera]) -> None:
        rows = [_binary_camera(camera_id, camera) for camera_id, camera in cameras.items()]
        (folder / "cameras.bin").write_bytes(struct.pack("<Q", len(rows)) + b"".join(rows))
        super().__init__(folder, ".bin")
        self._image_count = self._point_count = 0
        self._complete()

    def add(self, view: ColmapImage) -> None:
        count = len(view.point_ids)
        pose = struct.pack("<I7dI", view.image_id, *view.wxyz, *view.translation, view.camera_id)
        seen = np.empty(count, _POINT_2D)
        seen["xy"], seen["point_id"] = view.pixels_xy, view.point_ids
        self._images.write(pose + os.fsencode(view.name) + b"\0" + struct.pack("<Q", count) + seen.tobytes())
        self._image_count += 1

    def add_point(self, point: ColmapPoint) -> None:
        head = struct.pack("<Q3d3BdQ", point.point_id, *point.xyz, *point.rgb, point.error_px, len(point.track))
        self._points.write(head + point.track.astype("<u4").tobytes())
        self._point_count += 1

    def _complete(self) -> None:
        for file, count in ((self._images, self._image_count), (self._points, self._point_count)):
            file.seek(0)
            file.write(struct.pack("<Q", count))


class TextModel(ModelFiles):
    """cameras.txt, images.txt, points3D.txt."""

    def __init__(self, folder: Path, cameras: Mapping[int, ColmapCamera]) -> None:
        rows = [_text_camera(camera_id, camera) for camera_id, camera in cameras.items()]
        (folder / "cameras.txt").write_text("# CAMERA_ID MODEL WIDTH HEIGHT PARAMS\n" + "".join(rows), "utf-8")
        super().__init__(folder, ".txt")
        self._images.write(b"# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME\n# X Y POINT3D_ID, ...\n")
        self._points.write(b"# POINT3D_ID X Y Z R G B ERROR, then IMAGE_ID POINT2D_IDX of each view\n")

    def add(self, view: ColmapImage) -> None:
        pose = _numbers([*view.wxyz, *view.translation])
        seen = (f"{x!r} {y!r} {i}" for (x, y), i in zip(view.pixels_xy.tolist(), view.point_ids.tolist(), strict=True))
        head = f"{view.image_id} {pose} {view.camera_id} ".encode() + os.fsencode(view.name)
        self._images.write(head + f"\n{' '.join(seen)}\n".encode())

    def add_point(self, point: ColmapPoint) -> None:
        place, colour = _numbers(point.xyz.tolist()), " ".join(map(str, point.rgb.tolist()))
        track = " ".join(map(str, point.track.ravel().tolist()))
        self._points.write(f"{point.point_id} {place} {colour} {point.error_px!r} {track}\n".encode())


def _binary_camera(camera_id: int, camera: ColmapCamera) -> bytes:
    name, (height, width), params = _described(camera)
    return struct.pack(f"<IiQQ{len(params)}d", camera_id, COLMAP_MODELS[name].number, width, height, *params)


def _text_camera(camera_id: int, camera: ColmapCamera) -> str:
    name, (height, width), params = _described(camera)
    return f"{camera_id} {name} {width} {height} {_numbers(params)}\n"


def _described(camera: ColmapCamera) -> tuple[str, tuple[int, int], list[float]]:
    """The name of COLMAP's model, (height, width), and its parameters."""
    if isinstance(camera, Pinhole):
        return "PINHOLE", (camera.height, camera.width), [camera.fx, camera.fy, camera.cx, camera.cy]
    if camera.name == "equirect" or camera.size is None:
        raise InputError(f"COLMAP has no camera {camera.text}: export the views of the panorama (--pictures full)")
    few = len(camera.params) == COLMAP_MODELS["OPENCV"].parameters
    name = _WRITTEN_AS.get(camera.name) or ("OPENCV" if few else "FULL_OPENCV")
    missing = COLMAP_MODELS[name].parameters - len(camera.params)
    return name, camera.size, [*camera.params, *[0.0] * missing]


def _numbers(values: list[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
