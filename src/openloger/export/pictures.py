"""The pictures beside the cameras: from the recording, its source at full size, or files that are there already.

Of a recording that was made with masks each picture has a mask of its size, black where it is hidden, in
masks/NAME.png, where NAME is the picture's with its ending: the name that COLMAP expects. It is the recording's, so it
is as coarse as its depth maps, and hides what they hide only in part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from openloger.errors import InputError
from openloger.export.cameras import Pinhole
from openloger.export.reconstruction import Reconstruction
from openloger.export.source_frames import FullSizePictures, SourceFrames
from openloger.frames.image_file import IMAGE_DAMAGE, open_image
from openloger.frames.lenses import read_camera
from openloger.frames.resize import resize_mask
from openloger.geometry import pixel_grid
from openloger.geometry.camera_models import CameraModel
from openloger.recording import Recording
from openloger.shapes import Bool, Float, Int, UInt8

FOLDER = "images"
MASKS_FOLDER = "masks"
_JPEG_QUALITY = 95
_EXIF_ORIENTATION, _UPRIGHT = 0x0112, 1
_GRAZING = 1e-3  # least z of a unit ray, so that it falls on a plane before the camera

PictureSource: TypeAlias = Path | SourceFrames


class Pictures:
    """A name for each frame's picture, and each frame's camera at the picture's size."""

    cameras: Mapping[int, Pinhole]  # by frame number; of the undistorted view where there is a `lens`
    lens: CameraModel | None  # the original camera of distorted pictures; None: they are pinhole pictures
    masked: bool  # whether each has a mask

    def __init__(
        self, recording: Reconstruction, folder: Path, *, frames: Sequence[int], source: PictureSource | None = None
    ) -> None:
        """Pictures go to `folder`/images as `frame_000000.jpg`, ...: the recording's, or with `SourceFrames` those of
        its source at full size, undistorted if the run was. Where `source` is a folder with the files that the
        recording names, nothing is written, and of an undistorted run they have the original camera.

        Raises InputError where a named file is missing, is not upright, or has another size than the first, and where
        the source is not the one recorded.
        """
        self._recording = recording
        self._folder = folder
        self._files = source if isinstance(source, Path) else None
        self._full: FullSizePictures | None = None
        self._names = {frame: f"frame_{frame:06d}.jpg" for frame in frames}
        self.lens = None
        height, width = self._size = recording.depth(0).shape
        if self._files is not None:
            if isinstance(recording, Recording) and recording.views > 1:
                raise InputError(
                    f"the {recording.views} views of a rig have no files of their own: export without files, or with "
                    "--pictures full"
                )
            self._names = {frame: recording.names[frame] for frame in frames}
            self._size = _common_size([self._files / name for name in self._names.values()])
            self.lens = _original_camera(recording, self._size)
        else:
            (self._folder / FOLDER).mkdir()
        if isinstance(source, SourceFrames):
            self._full = FullSizePictures(_recorded(recording), source)
            self._size = self._full.size
        intrinsics = recording.intrinsics
        cameras = {frame: Pinhole.from_matrix(intrinsics[frame], height=height, width=width) for frame in frames}
        self.cameras = {
            frame: camera.resized(height=self._size[0], width=self._size[1]) for frame, camera in cameras.items()
        }
        self.scale_xy = np.array([self._size[1] / width, self._size[0] / height])  # from the depth map's pixels
        self._any = frames[0]
        self.masked = isinstance(recording, Recording) and recording.meta.masks is not None
        self._view_pixels = self._seen_at() if self.masked and self.lens is not None else None

    def name(self, frame: int) -> str:
        """The file's name inside the folder of pictures."""
        return self._names[frame]

    def path(self, frame: int) -> str:
        """The file's path, relative to the export where it is a part of it."""
        name = self._names[frame]
        return f"{FOLDER}/{name}" if self._files is None else (self._files / name).resolve().as_posix()

    def pixels(self, pixels_xy: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
        """From the depth map's pixels to the picture's."""
        scaled = pixels_xy * self.scale_xy
        if self.lens is None:
            return scaled
        view = self.cameras[self._any]  # a known camera is that of every frame
        plane = (scaled - [view.cx, view.cy]) / [view.fx, view.fy]
        rays = torch.from_numpy(np.concatenate([plane, np.ones((len(plane), 1))], 1))
        return self.lens.project(rays, size=self._size).numpy()

    def save(self, frame: int) -> None:
        """Writes the frame's picture, unless files are there already, and its mask. Frames are saved in order."""
        from PIL import Image

        if self._files is None:
            picture = Image.fromarray(self._rgb(frame))
            picture.save(self._folder / FOLDER / self._names[frame], quality=_JPEG_QUALITY, subsampling=0)
        if self.masked:
            file = self._folder / self.mask_path(frame)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(self.mask(frame), np.uint8(255), np.uint8(0))).save(file)

    def mask_path(self, frame: int) -> str:
        """Of the picture's mask, relative to the export. Raises InputError where its name leads out of it."""
        name = self._names[frame]
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"a mask cannot be named after {name!r}: put the frames below one folder")
        return f"{MASKS_FOLDER}/{name}.png"

    def mask(self, frame: int) -> Bool[np.ndarray, "height width"]:
        """Of the picture's size; False where the recording hides any of what a pixel covers.

        Distorted pictures reach beyond the recorded view: there they have the mask of its border.
        """
        used = self._recording.depth(frame) > 0
        if self._view_pixels is None:
            return resize_mask(used, self._size)
        rows, columns = self._view_pixels
        return used[rows, columns]

    def _seen_at(self) -> tuple[Int[np.ndarray, "height width"], Int[np.ndarray, "height width"]]:
        """The row and the column of the recording that each pixel of a distorted picture is in, or is next to."""
        assert self.lens is not None
        view, (height, width) = self.cameras[self._any], self._recording.depth(self._any).shape
        rays = self.lens.unproject(pixel_grid(*self._size, dtype=torch.float64), size=self._size).numpy()
        plane = rays[..., :2] / np.maximum(rays[..., 2:], _GRAZING)
        xy = (plane * [view.fx, view.fy] + [view.cx, view.cy]) / self.scale_xy
        columns, rows = np.moveaxis(np.clip(xy, 0, [width - 1, height - 1]).astype(np.int64), -1, 0)
        return rows, columns

    def _rgb(self, frame: int) -> UInt8[np.ndarray, "height width 3"]:
        return self._recording.rgb(frame) if self._full is None else self._full.rgb(frame)


def _recorded(recording: Reconstruction) -> Recording:
    if not isinstance(recording, Recording):
        raise InputError(f"a {type(recording).__name__} has no source to take pictures from; export a recording")
    return recording


def _original_camera(recording: Reconstruction, size: tuple[int, int]) -> CameraModel | None:
    """The camera that an undistorted recording's source has, for its pictures of (height, width)."""
    if not isinstance(recording, Recording) or recording.meta.camera is None:
        return None
    expected = recording.meta.source_size
    if expected is not None and expected != size:
        raise InputError(
            f"the files are {size[1]} x {size[0]} pixels, and the recording's camera is for {expected[1]} x "
            f"{expected[0]}: give files of that size, or --pictures full"
        )
    camera = read_camera(recording.meta.camera)
    assert isinstance(camera, CameraModel), "a rig's pictures have no files"
    return replace(camera, size=size)


def _common_size(files: list[Path]) -> tuple[int, int]:
    """(height, width) of all of them."""
    sizes = {file: _upright_size(file) for file in files}
    first = files[0]
    for file, size in sizes.items():
        if size != sizes[first]:
            raise InputError(
                f"{file} is {size[1]} x {size[0]} pixels, but {first} is {sizes[first][1]} x {sizes[first][0]}"
            )
    return sizes[first]


def _upright_size(file: Path) -> tuple[int, int]:
    try:
        with open_image(file) as picture:
            orientation = picture.getexif().get(_EXIF_ORIENTATION, _UPRIGHT)
            size = picture.height, picture.width
    except FileNotFoundError as error:
        raise InputError(f"{file}, which the recording names, does not exist: name the folder of its frames") from error
    except IMAGE_DAMAGE as error:
        raise InputError(f"{file} cannot be read as a picture: {error}") from error
    if orientation != _UPRIGHT:
        raise InputError(f"{file} is stored turned (EXIF orientation {orientation}): turn the files, or export without")
    return size
