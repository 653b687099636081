"""The size at which a network receives frames: one policy, for every way into it.

The published networks keep their published rule (`published_size`), which fills the pixel budget and may stretch the
image by up to some percent. All others take `least_stretched_size`. A frame is resized even where its own size would
fit the patches, so that the same video gives the same input through every door.
"""

from __future__ import annotations

import math

from openloger.errors import InputError
from openloger.frames.resize import check_size
from openloger.network import NetworkConfig
from openloger.network.load import PUBLISHED

STRETCH = 0.02  # by which width : height may change, relative, where there is a choice
_OVERSIZE = 16  # times the network's pixel budget: a slip, not a wish

Size = tuple[int, int]  # height, width in pixels


def network_size(height: int, width: int, config: NetworkConfig) -> Size:
    """(height, width) to which a frame of `height` × `width` pixels is resized for this network.

    Raises InputError for a frame without pixels, or too elongated for the network's patches.
    """
    rule = published_size if config.name in PUBLISHED else least_stretched_size
    return rule(height, width, patch=config.encoder.patch, max_pixels=config.max_pixels)


def published_size(height: int, width: int, *, patch: int, max_pixels: int) -> Size:
    """The published rule: near the image's aspect, in whole patches, of at most `max_pixels` pixels.

    With s = √(max_pixels / (width·height)) the grid has k = round(width·s / patch) columns and
    m = round(height·s / patch) rows (half to even); while it is too large, k is lowered if k/m > width/height, else m.
    Raises InputError for an image without pixels, or so elongated that one side would have no patch.
    """
    _check_image(height, width, patch=patch, max_pixels=max_pixels)
    scale = math.sqrt(max_pixels / (width * height))
    columns, rows = round(width * scale / patch), round(height * scale / patch)
    while columns and rows and (patch * columns) * (patch * rows) > max_pixels:
        if columns / rows > width / height:
            columns -= 1
        else:
            rows -= 1
    if not columns or not rows:
        raise _too_elongated(height, width, patch=patch, max_pixels=max_pixels)
    return patch * rows, patch * columns


def least_stretched_size(height: int, width: int, *, patch: int, max_pixels: int) -> Size:
    """The largest size in whole patches, of at most `max_pixels` pixels, that stretches the image by at most 2 %.

    Where no size does, the one that stretches it least; of equals the largest. Raises InputError for an image without
    pixels, or so elongated that even the least stretch is more than a factor of two.
    """
    _check_image(height, width, patch=patch, max_pixels=max_pixels)
    most = max_pixels // patch**2
    sizes = [(patch * rows, patch * columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]
    stretched = {size: stretch((height, width), size) for size in sizes}
    near = [size for size in sizes if stretched[size] <= STRETCH]
    if near:
        return max(near, key=lambda size: (size[0] * size[1], -stretched[size]))
    best = min(sizes, key=lambda size: (stretched[size], -size[0] * size[1]))
    if stretched[best] > 1:
        raise _too_elongated(height, width, patch=patch, max_pixels=max_pixels)
    return best


def stretch(from_size: Size, to_size: Size) -> float:
    """The relative change of width : height by a resize, at least 0."""
    ratio = (to_size[1] / to_size[0]) / (from_size[1] / from_size[0])
    return max(ratio, 1 / ratio) - 1


def check_network_size(size: Size, config: NetworkConfig) -> None:
    """Raises InputError for a size that the network cannot take."""
    height, width = check_size(size)
    patch = config.encoder.patch
    if height * width > _OVERSIZE * config.max_pixels:
        raise InputError(
            f"size {height} {width} is more than {_OVERSIZE} times the {config.max_pixels} pixels that {config.name} "
            "is made for; leave it out, or choose a smaller one"
        )
    if height % patch or width % patch:
        nearest = [max(round(side / patch), 1) * patch for side in size]
        raise InputError(
            f"size {height} {width} is not whole patches of {patch} pixels; the nearest is {nearest[0]} {nearest[1]}"
        )


def _check_image(height: int, width: int, *, patch: int, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise InputError(f"a picture of {height}×{width} (height×width) has no pixels")
    if patch < 1 or max_pixels < patch * patch:
        raise InputError(f"max_pixels={max_pixels} has no room for one patch of {patch}×{patch}; allow more pixels")


def _too_elongated(height: int, width: int, *, patch: int, max_pixels: int) -> InputError:
    return InputError(
        f"a picture of {height}×{width} (height×width) is too elongated for patches of {patch} pixels "
        f"within {max_pixels} pixels; crop it, or set the size yourself"
    )
