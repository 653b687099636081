"""COLMAP's model files, binary and text, written as the frames stream.

Both follow https://colmap.github.io/format.html: PINHOLE cameras, cam_from_world as quaternion (w, x, y, z) and
translation, pixel centres at + 0.5, ids from 1. Each point is seen once, by the frame that it came from, so images and
points grow side by side.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openloger.export.cameras import Pinhole
from openloger.shapes import Float, Int, UInt8

_PINHOLE_ID = 1
_ERROR_PX = 0.0  # a point is made from its pixel, so it falls back onto it
_POINT_2D = np.dtype([("xy", "<f8", 2), ("point_id", "<u8")])
_POINT_3D = np.dtype(
    [
        ("id", "<u8"),
        ("xyz", "<f8", 3),
        ("rgb", "u1", 3),
        ("error", "<f8"),
        ("track_length", "<u8"),
        ("image_id", "<u4"),
        ("index", "<u4"),
    ]
)


@dataclass(frozen=True)
class ColmapImage:
    """One image of a model, with the points that it gives."""

    image_id: int
    camera_id: int
    name: str
    wxyz: Float[np.ndarray, " quaternion"]  # of cam_from_world
    translation: Float[np.ndarray, " axis"]  # of cam_from_world
    point_ids: Int[np.ndarray, " point"]
    pixels_xy: Float[np.ndarray, "point 2"]
    points_world: Float[np.ndarray, "point 3"]
    rgb: UInt8[np.ndarray, "point 3"]


class ModelFiles(ABC):
    """A model being written; images and points are open from start to end, and whole when it is closed."""

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
        """Append an image and its points."""

    def _complete(self) -> None:
        """Write what is known only at the end."""
        return


class BinaryModel(ModelFiles):
    """cameras.bin, images.bin, points3D.bin; the counts in front are patched at the end."""

    def __init__(self, folder: Path, cameras: Mapping[int, Pinhole]) -> None:
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
        points = np.empty(count, _POINT_3D)
        points["id"], points["xyz"], points["rgb"] = view.point_ids, view.points_world, view.rgb
        points["error"], points["track_length"] = _ERROR_PX, 1
        points["image_id"], points["index"] = view.image_id, np.arange(count)
        self._points.write(points.tobytes())
        self._image_count += 1
        self._point_count += count

    def _complete(self) -> None:
        for file, count in ((self._images, self._image_count), (self._points, self._point_count)):
            file.seek(0)
            file.write(struct.pack("<Q", count))


class TextModel(ModelFiles):
    """cameras.txt, images.txt, points3D.txt."""

    def __init__(self, folder: Path, cameras: Mapping[int, Pinhole]) -> None:
        rows = [_text_camera(camera_id, camera) for camera_id, camera in cameras.items()]
        (folder / "cameras.txt").write_text("# CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy\n" + "".join(rows), "utf-8")
        super().__init__(folder, ".txt")
        self._images.write(b"# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME\n# X Y POINT3D_ID, ...\n")
        self._points.write(b"# POINT3D_ID X Y Z R G B ERROR, then IMAGE_ID POINT2D_IDX of its only view\n")

    def add(self, view: ColmapImage) -> None:
        pose = _numbers([*view.wxyz, *view.translation])
        seen = (f"{x!r} {y!r} {i}" for (x, y), i in zip(view.pixels_xy.tolist(), view.point_ids.tolist(), strict=True))
        head = f"{view.image_id} {pose} {view.camera_id} ".encode() + os.fsencode(view.name)
        self._images.write(head + f"\n{' '.join(seen)}\n".encode())
        rows = zip(view.point_ids.tolist(), view.points_world.tolist(), view.rgb.tolist(), strict=True)
        self._points.writelines(
            f"{i} {x!r} {y!r} {z!r} {r} {g} {b} {_ERROR_PX} {view.image_id} {index}\n".encode()
            for index, (i, (x, y, z), (r, g, b)) in enumerate(rows)
        )


def _binary_camera(camera_id: int, camera: Pinhole) -> bytes:
    params = (camera.fx, camera.fy, camera.cx, camera.cy)
    return struct.pack("<IiQQ4d", camera_id, _PINHOLE_ID, camera.width, camera.height, *params)


def _text_camera(camera_id: int, camera: Pinhole) -> str:
    params = _numbers([camera.fx, camera.fy, camera.cx, camera.cy])
    return f"{camera_id} PINHOLE {camera.width} {camera.height} {params}\n"


def _numbers(values: list[float]) -> str:
    return " ".join(repr(float(value)) for value in values)
