"""A decoded video picture as upright 8-bit sRGB with square pixels.

The matrix (BT.601, BT.709, BT.2020) and the range are the stream's. Where it names no matrix, it is the one that
players take: BT.709 above standard definition, else BT.601. PQ, HLG and BT.2020 primaries go through `hdr.py`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from openloger.frames.container import display_matrix, upright
from openloger.frames.hdr import HLG, PQ, SDR_2020, to_srgb
from openloger.shapes import UInt8

# ITU-T H.273's numbers, as FFmpeg has them
_UNSPECIFIED, _BT601, _BT709 = 2, 5, 1
_BT2020_PRIMARIES = 9
_CURVES = {16: PQ, 18: HLG}
STANDARD_DEFINITION = 1280, 576  # width and height that it stays below, or at
SQUARE = 0.005  # a pixel's sides that differ by less are taken as equal


def square_size(height: int, width: int, aspect: Fraction | None) -> tuple[int, int]:
    """(height, width) that gives a picture square pixels and no fewer; they were `aspect` times as wide as high."""
    if not aspect or aspect <= 0 or abs(float(aspect) - 1) < SQUARE or not 1 / 8 <= aspect <= 8:
        return height, width
    return (height, round(width * aspect)) if aspect > 1 else (round(height / aspect), width)


def rgb_of(
    image: Any, reformatter: Any, *, aspect: Fraction | None = None
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """`image` is a PyAV frame, `aspect` its pixels' width over their height. `reformatter` is shared by all frames:
    of its own, each would set up tables and start threads.
    """
    height, width = square_size(image.height, image.width, aspect)
    curve = _CURVES.get(int(image.color_trc or 0))
    if curve is None and int(image.color_primaries or 0) == _BT2020_PRIMARIES and not _is_rgb(image):
        curve = SDR_2020
    shown = reformatter.reformat(
        image, width, height, format="rgb48le" if curve else "rgb24", src_colorspace=_guessed_matrix(image)
    )
    rgb = to_srgb(shown.to_ndarray(), curve) if curve else shown.to_ndarray()
    return upright(rgb, display_matrix(image))


def _is_rgb(image: Any) -> bool:
    return bool(image.format.is_rgb)


def _guessed_matrix(image: Any) -> int | None:
    """None where the stream names one."""
    if int(image.colorspace) != _UNSPECIFIED or _is_rgb(image):
        return None
    most_width, most_height = STANDARD_DEFINITION
    return _BT709 if image.width >= most_width or image.height > most_height else _BT601
