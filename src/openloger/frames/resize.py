"""Resizing of pictures, and of a source's frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from openloger.errors import InputError
from openloger.frames.through import FramesThrough
from openloger.shapes import Bool, UInt8
from openloger.values import Frame, FrameSource

MOST_PIXELS = 2**25  # 8K video; more is a slip of the pen
TORCH_WITH_LANCZOS = "2.13"
Size = tuple[int, int]  # height, width in pixels
Rgb = UInt8[np.ndarray, "_ _ 3"]
Mask = Bool[np.ndarray, "_ _"]


def check_size(size: Size) -> Size:
    """`size` itself; raises InputError for one that no picture can have."""
    height, width = size
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise InputError(f"size={height}×{width} (height×width): give at least 1×1 and at most {MOST_PIXELS} pixels")
    return size


def resize_rgb(rgb: UInt8[np.ndarray, "height width 3"], size: Size) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """`rgb` at `size` = (height, width), by Lanczos; the very same array where it has that size already.

    It is Pillow's Lanczos, which torch has since 2.13 at a sixth of the time: there a value in a hundred is off by one
    level, very few by two.
    """
    import torch

    size = check_size(size)
    if rgb.shape[:2] == size:
        return rgb
    resize = resize_by_torch if torch.__version__ >= TORCH_WITH_LANCZOS else resize_by_pillow
    return resize(rgb, size)


def resize_frame(frame: Frame, size: Size, *, mask: Mask | None = None) -> Frame:
    """The frame at `size` = (height, width); it keeps the size that it had first (`Frame.source_size`).

    What its mask hides is grey before it is resized, so that none of it gets into the pixels beside. `mask` is its mask
    at that size, where it is known.
    """
    if frame.rgb.shape[:2] == size:
        return frame
    if frame.mask is not None and mask is None:
        mask = resize_mask(frame.mask, size)
    return replace(frame, rgb=resize_rgb(frame.seen_rgb, size), source_size=frame.native_size, mask=mask)


def resize_mask(mask: Bool[np.ndarray, "height width"], size: Size) -> Bool[np.ndarray, "new_height new_width"]:
    """`mask` at `size` = (height, width); a pixel is used where all that it covers is."""
    import torch

    hidden = torch.from_numpy(~mask)[None, None].float()
    return (torch.nn.functional.adaptive_max_pool2d(hidden, check_size(size))[0, 0] == 0).numpy()


def resize_by_pillow(rgb: Rgb, size: Size) -> Rgb:
    """The definition of `resize_rgb`."""
    from PIL import Image

    return np.array(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def resize_by_torch(rgb: Rgb, size: Size) -> Rgb:
    """The same, fast, in one thread."""
    import torch

    image = torch.from_numpy(np.require(rgb, requirements=["C", "W"])).permute(2, 0, 1)
    smaller = torch.nn.functional.interpolate(image[None], size=size, mode="lanczos", antialias=True)
    return np.ascontiguousarray(smaller[0].permute(1, 2, 0).numpy())


def resized(source: FrameSource, size: Size | Callable[[int, int], Size]) -> FrameSource:
    """`source` with its pictures at `size` = (height, width), or at `size(height, width)` of the first one's
    native size.

    The second form serves a source that can be read only once:
    `resized(source, lambda height, width: network_size(height, width, config))`.
    """
    return FramesThrough(source, partial(_each_resized, size=size if callable(size) else check_size(size)))


def _each_resized(frames: Iterator[Frame], *, size: Size | Callable[[int, int], Size]) -> Iterator[Frame]:
    given = mask = None  # one mask for all frames is resized once
    for frame in frames:
        if callable(size):
            size = size(*frame.native_size)
        if frame.mask is not given:
            given, mask = frame.mask, None if frame.mask is None else resize_mask(frame.mask, size)
        yield resize_frame(frame, size, mask=mask)
