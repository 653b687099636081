"""The pictures beside the cameras: written from the recording, or the source's own, at their full size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from openloger.errors import InputError
from openloger.export.cameras import Pinhole
from openloger.export.reconstruction import Reconstruction
from openloger.frames.image_file import IMAGE_DAMAGE, open_image

FOLDER = "images"
_JPEG_QUALITY = 95
_EXIF_ORIENTATION, _UPRIGHT = 0x0112, 1


class Pictures:
    """A name for each frame's picture, and each frame's camera at the picture's size."""

    cameras: Mapping[int, Pinhole]  # by frame number

    def __init__(
        self, recording: Reconstruction, folder: Path, *, frames: Sequence[int], source: Path | None = None
    ) -> None:
        """Pictures go to `folder`/images as `frame_000000.jpg`, ...; with `source`, a folder that holds the files that
        the recording names, nothing is written.

        Raises InputError where a named file is missing, is not upright, or has another size than the first.
        """
        self._recording = recording
        self._folder = folder / FOLDER
        self._source = source
        self._names = {frame: f"frame_{frame:06d}.jpg" for frame in frames}
        height, width = size = recording.depth(0).shape
        if source is None:
            self._folder.mkdir()
        else:
            self._names = {frame: recording.names[frame] for frame in frames}
            size = _common_size([source / name for name in self._names.values()])
        intrinsics = recording.intrinsics
        cameras = {frame: Pinhole.from_matrix(intrinsics[frame], height=height, width=width) for frame in frames}
        self.cameras = {frame: camera.resized(height=size[0], width=size[1]) for frame, camera in cameras.items()}
        self.scale_xy = np.array([size[1] / width, size[0] / height])  # from the depth map's pixels to the picture's

    def name(self, frame: int) -> str:
        """The file's name inside the folder of pictures."""
        return self._names[frame]

    def path(self, frame: int) -> str:
        """The file's path, relative to the export where it is a part of it."""
        name = self._names[frame]
        return f"{FOLDER}/{name}" if self._source is None else (self._source / name).resolve().as_posix()

    def save(self, frame: int) -> None:
        """Writes the recording's picture, unless the source's are used."""
        if self._source is None:
            from PIL import Image

            picture = Image.fromarray(self._recording.rgb(frame))
            picture.save(self._folder / self._names[frame], quality=_JPEG_QUALITY, subsampling=0)


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
