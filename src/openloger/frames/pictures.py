"""Still pictures into upright 8-bit RGB."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from openloger.frames.slots import UndecodableError
from openloger.shapes import UInt8

SUFFIXES = frozenset(
    {".avif", ".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
# What Pillow raises over a bad file.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error)
_SIXTEEN_BIT_AS_INTEGERS = frozenset({"PNG", "PPM"})  # formats whose 32-bit mode can only come from 16-bit samples


def read_picture(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The picture as it is meant to be seen.

    EXIF orientation is applied. 16-bit samples keep their high byte; grey is repeated in all three channels; what is
    transparent shows black. Raises UndecodableError for a file that is missing, damaged or of no known range.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            turned = ImageOps.exif_transpose(opened)
            return _rgb(turned, opened.format or "")
    except FileNotFoundError:
        raise UndecodableError(f"there is no file {path}") from None
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise UndecodableError(str(error) or type(error).__name__) from error


def _rgb(image: Any, file_format: str) -> UInt8[np.ndarray, "height width 3"]:
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in _SIXTEEN_BIT_AS_INTEGERS):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise UndecodableError(f"its 32-bit samples have no known range; convert {image.mode!r} to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.array(image.convert("RGB"))
