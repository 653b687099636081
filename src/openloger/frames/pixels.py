"""Still pictures as upright 8-bit RGB."""

from __future__ import annotations

import logging
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from openloger.frames.image_file import IMAGE_DAMAGE, frame_count, open_image, page_count
from openloger.frames.lazy import UndecodableError
from openloger.shapes import Int, UInt8

SAMPLE_BITS = (10, 12, 14, 16)  # that cameras store in 16-bit files
_SIXTEEN_BIT_AS_INTEGERS = frozenset({"PNG", "PPM"})  # formats whose 32-bit mode can only come from 16-bit samples
_ORIENTATION = 0x0112  # EXIF
logger = logging.getLogger("openloger")


def read_picture(
    file: Path | BufferedReader | BytesIO, *, sample_bits: int = 16, name: str = "", upright: bool = True
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture as it is meant to be seen.

    EXIF orientation is applied, but for `upright=False`; grey is repeated in all three channels; what is transparent
    shows black. Of 16-bit samples the upper 8 of `sample_bits` are kept. Raises UndecodableError for a file that is
    missing, damaged or of no known range.
    """
    try:
        with open_image(file, name=name) as opened:
            if frame_count(opened) > 1:
                logger.warning("%s moves (%d frames); only its first is taken", name or file, frame_count(opened))
            elif (pages := page_count(opened)) > 1:
                logger.warning("%s holds %d pictures; only its first is taken", name or file, pages)
            if sample_bits < 16 and isinstance(file, Path) and (samples := _samples(opened, file)) is not None:
                rgb = (np.minimum(samples >> (sample_bits - 8), 255)).astype(np.uint8)
                return _turned(rgb, opened) if upright else rgb
            return rgb_of_image(opened, upright=upright)
    except FileNotFoundError:
        raise UndecodableError(f"there is no file {file}") from None
    except IMAGE_DAMAGE as error:
        raise UndecodableError(str(error) or type(error).__name__) from error


def rgb_of_image(image: Any, *, upright: bool = True) -> UInt8[np.ndarray, "height width 3"]:
    """The `read_picture` of the current frame of a Pillow image; raises UndecodableError for no range."""
    from PIL import Image, ImageOps

    file_format = image.format or ""
    if upright:
        image.load()  # PNG may have its EXIF after the samples
        if image.getexif().get(_ORIENTATION, 1) != 1:  # else Pillow copies the picture
            image = ImageOps.exif_transpose(image)
    if _is_wide_grey(image, file_format):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise UndecodableError(f"its 32-bit samples have no known range; convert {image.mode!r} to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def brightest_levels(file: Path | BytesIO, *, name: str = "") -> tuple[Int[np.ndarray, "height width"], int]:
    """The largest channel of each pixel of a picture, upright, at the depth of its file, and the largest it could be.

    Grey of 16 bits keeps them all: a mask of 0 and 1 has them in the lowest. Raises as `read_picture` does.
    """
    from PIL import ImageOps

    try:
        with open_image(file, name=name) as opened:
            if _is_wide_grey(opened, opened.format or ""):
                return np.array(ImageOps.exif_transpose(opened)).astype(np.int32), 65535
            return rgb_of_image(opened).max(2).astype(np.int32), 255
    except FileNotFoundError:
        raise UndecodableError(f"there is no file {file}") from None
    except IMAGE_DAMAGE as error:
        raise UndecodableError(str(error) or type(error).__name__) from error


def usual_sample_bits(paths: list[Path], name: str) -> int:
    """The true bit depth of the samples of these pictures, from the largest of them; 16 where it is not determined.

    Cameras of 10, 12 and 14 bits are often stored in 16-bit files as they are, which would appear black.
    """
    largest = 0
    for path in paths:
        try:
            with open_image(path) as opened:
                samples = _samples(opened, path)
        except IMAGE_DAMAGE:
            return 16
        if samples is None:
            return 16
        largest = max(largest, int(samples.max(initial=0)))
    bits = next((bits for bits in SAMPLE_BITS if largest < 1 << bits), 16)
    if bits < 16 and largest:
        logger.info("%s: its 16-bit files hold %d-bit samples (up to %d); they are scaled", name, bits, largest)
        return bits
    return 16


def _samples(image: Any, path: Path) -> np.ndarray | None:
    """(height, width, 3) uint16 of a picture with 16-bit samples; None for any other."""
    if _is_wide_grey(image, image.format or ""):
        return np.repeat(np.asarray(image).astype(np.uint16)[..., None], 3, axis=2)
    if image.mode == "RGB" and any(";16" in str(tile[3]) for tile in image.tile):
        return _wide_rgb(path)
    return None


def _wide_rgb(path: Path) -> np.ndarray | None:
    """Pillow keeps the high bytes alone; FFmpeg reads all."""
    from av.error import FFmpegError

    from openloger.frames.demuxers import open_video_file

    try:
        with open_video_file(path) as container:
            return next(container.decode(video=0)).to_ndarray(format="rgb48le")
    except (FFmpegError, StopIteration):
        return None


def _is_wide_grey(image: Any, file_format: str) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and file_format in _SIXTEEN_BIT_AS_INTEGERS)


def _turned(rgb: np.ndarray, opened: Any) -> UInt8[np.ndarray, "height width 3"]:
    from PIL import Image, ImageOps

    image = Image.fromarray(rgb)
    image.getexif()[_ORIENTATION] = opened.getexif().get(_ORIENTATION, 1)
    return np.array(ImageOps.exif_transpose(image))
