"""Opens picture files: the only place that calls `PIL.Image.open`.

A file is one of `FORMATS` by its content, whatever its name; Pillow's other readers, one of which starts Ghostscript,
are never tried.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from typing import Any

from openloger.errors import InputError
from openloger.frames.files import MOST_PIXELS, open_regular
from openloger.version import install_command

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "HEIF", "TGA")  # TGA: no mark
IMAGE_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error)  # of Pillow
ANIMATED = frozenset({"PNG", "GIF", "WEBP", "AVIF"})  # TIFF, HEIF and MPO hold pages, not moments
PAGED = frozenset({"TIFF", "HEIF"})
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_pillow_limit = threading.Lock()


@contextmanager
def open_image(
    file: str | os.PathLike[str] | BufferedReader | BytesIO, *, formats: Sequence[str] = FORMATS, name: str = ""
) -> Generator[Any, None, None]:
    """The picture in `file` as a Pillow image whose pixels are not read yet.

    Raises InputError for what is no file, no picture of these formats, or declares more than `MOST_PIXELS`; reading
    it raises one of IMAGE_DAMAGE where it is damaged.
    """
    if isinstance(file, str | os.PathLike):
        with open_regular(file) as opened, open_image(opened, formats=formats, name=os.fspath(file)) as image:
            yield image
        return
    with _opened(file, formats, name) as image:
        MOST_PIXELS.check(image.width * image.height, name or "it")
        yield image


def _opened(file: BufferedReader | BytesIO, formats: Sequence[str], name: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    Image.init()
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp" and head[8:] in _HEIF_BRANDS:
        _register_heif(name)
    known = [one for one in formats if one in Image.OPEN]  # AVIF needs Pillow 11.3, HEIF pillow-heif
    with _pillow_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours holds instead, and names the way out
        try:
            return Image.open(file, formats=known)
        except UnidentifiedImageError:
            raise InputError(f"{name or 'it'} holds no picture of a known format ({', '.join(known)})") from None
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _register_heif(name: str) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{name or 'it'} is HEIC, which needs the package pillow-heif: {install_command('heic')}"
        ) from error
    pillow_heif.register_heif_opener()


def frame_count(image: Any) -> int:
    """The number of frames of a Pillow image; 1 for formats whose further pictures are not moments."""
    return int(getattr(image, "n_frames", 1)) if image.format in ANIMATED else 1


def page_count(image: Any) -> int:
    """The number of pictures of a TIFF or HEIC as large as its first, which are no thumbnails; 1 for other formats.

    MPO is not counted: what phones add to a JPEG is a map of brightness, or the other eye's view.
    """
    if image.format not in PAGED or getattr(image, "n_frames", 1) < 2:
        return 1
    size, pages = image.size, 1
    for number in range(1, image.n_frames):
        image.seek(number)
        pages += image.size == size
    image.seek(0)
    return pages
