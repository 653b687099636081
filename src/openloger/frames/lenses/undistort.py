"""Frames undistorted as they stream: each picture's view (`geometry.views`), by bilinear interpolation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import torch

from openloger.errors import InputError
from openloger.frames.resize import Size, resize_frame
from openloger.frames.through import FramesThrough
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import CameraRig, view_map, view_size
from openloger.shapes import Bool, Float, Tensor, UInt8
from openloger.values import Frame, FrameSource

_FINER = 2  # times the size that a view is resized to afterwards
_MOST_CAMERAS = 2  # whose maps are kept, of 8 bytes a pixel; of a rig all views
_ASPECT = 2.0  # width : height of a panorama
_ASPECT_TOLERANCE = 0.1


def undistorted(
    source: FrameSource,
    camera: CameraModel | CameraRig | Sequence[CameraModel],
    *,
    then_size: Callable[[int, int], Size] | None = None,
) -> FrameSource:
    """The views of a source's frames; `view_intrinsics` of their native size is their camera matrix.

    `camera` is that of all frames, or a list with one for each index. A pinhole camera's frames are their own views.
    Of a rig each frame gives all views, one after the other, with its index and its time; their names end in their
    number (`pano_000012_view0`).
    Where views are resized to `then_size(height, width)` afterwards, larger pictures are first shrunk to what gives
    views of twice that size, which takes a fraction of the time.
    Raises InputError, as the first frame of a camera comes, where that is not for pictures of its size.
    """
    if isinstance(camera, CameraRig):
        rig = camera.views
        return FramesThrough(source, lambda frames: _views(frames, lambda _: rig, then_size), each=len(rig))
    of_frame = (lambda _: camera) if isinstance(camera, CameraModel) else camera.__getitem__
    return FramesThrough(source, lambda frames: _views(frames, lambda index: (of_frame(index),), then_size))


def _views(
    frames: Iterator[Frame],
    of_frame: Callable[[int], tuple[CameraModel, ...]],
    then_size: Callable[[int, int], Size] | None,
) -> Iterator[Frame]:
    remaps: dict[CameraModel, Remap | None] = {}
    for frame in frames:
        cameras, shrunk = of_frame(frame.index), frame
        for number, camera in enumerate(cameras):
            if camera not in remaps:
                check_picture_size(camera, frame.native_size)
                if len(remaps) == max(_MOST_CAMERAS, len(cameras)):
                    del remaps[next(iter(remaps))]
                remaps[camera] = None if camera.is_pinhole else Remap(camera, frame, _shrunk(frame, camera, then_size))
            if (remap := remaps[camera]) is None:
                yield frame
                continue
            shrunk = resize_frame(shrunk, remap.size)
            view = _view(shrunk, remap, native=view_size(camera, frame.native_size))
            yield view if len(cameras) == 1 else replace(view, name=view_name(frame.name, number))


def _view(frame: Frame, remap: Remap, *, native: Size) -> Frame:
    rgb = remap(frame.seen_rgb)
    mask = None if frame.mask is None else remap.mask(frame.mask)
    return replace(frame, rgb=rgb, source_size=None if rgb.shape[:2] == native else native, mask=mask)


def view_name(name: str, view: int) -> str:
    """Of a rig's view, from its panorama's: before the ending, if it has one."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}_view{view}{path.suffix}"))


def panorama_name(name: str, view: int) -> str:
    """The other way: of a panorama, from its view's; another name stays as it is."""
    path = PurePosixPath(name)
    return str(path.with_name(path.stem.removesuffix(f"_view{view}") + path.suffix))


def _shrunk(frame: Frame, camera: CameraModel, then_size: Callable[[int, int], Size] | None) -> Size:
    """The size at which pictures are undistorted."""
    height, width = frame.rgb.shape[:2]
    if then_size is None or camera.is_pinhole:
        return height, width
    native = view_size(camera, frame.native_size)
    view = view_size(camera, (height, width))
    factor = max(_FINER * then / own for then, own in zip(then_size(*native), view, strict=True))
    return (height, width) if factor >= 1 else (round(height * factor), round(width * factor))


def check_picture_size(camera: CameraModel, size: Size) -> None:
    """Raises InputError where a camera is for pictures of another size than (height, width)."""
    height, width = size
    if camera.size is not None and camera.size != size:
        raise InputError(
            f"the camera is for pictures of {camera.size[1]}×{camera.size[0]} pixels, and these have {width}×{height}: "
            "scale its values, or calibrate for these"
        )
    if camera.name == "equirect":
        if abs(width / height - _ASPECT) > _ASPECT_TOLERANCE:
            raise InputError(f"pictures of {width}×{height} pixels are no panoramas, which are twice as wide as high")
    elif not (0 < camera.params[2] < width and 0 < camera.params[3] < height):
        raise InputError(
            f"camera {camera.text} has its principal point outside pictures of {width}×{height}: "
            "give it in pixels of the source's pictures"
        )


class Remap:
    """From pictures of one size to their views."""

    def __init__(self, camera: CameraModel, frame: Frame, size: Size) -> None:
        """For frames like this one, resized to `size`."""
        self.size = size
        height, width = size
        native = frame.native_size
        pixels = view_map(camera, native, to_size=view_size(camera, (height, width)))
        pixels = pixels * pixels.new_tensor([width / native[1], height / native[0]])
        self._around = camera.name == "equirect"  # a panorama's left border continues its right one
        if self._around:
            pixels, width = pixels + pixels.new_tensor([1.0, 0.0]), width + 2
        self._grid: Float[Tensor, "1 height width 2"] = (2 * pixels / pixels.new_tensor([width, height]) - 1).float()[
            None
        ]

    def mask(self, mask: Bool[np.ndarray, "_ _"]) -> Bool[np.ndarray, "_ _"]:
        """A view's pixel is used where all four that it is interpolated from are."""
        used = np.repeat(np.where(mask, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)
        return self(used)[..., 0] == 255

    def __call__(self, rgb: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        if self._around:
            rgb = np.concatenate([rgb[:, -1:], rgb, rgb[:, :1]], axis=1)
        image = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            view = torch.nn.functional.grid_sample(image, self._grid, padding_mode="border", align_corners=False)
            levels = view[0].add_(0.5).to(torch.uint8)  # the nearest level
        return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())
