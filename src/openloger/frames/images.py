"""Still images: how a folder, a glob or a list is ordered and timed, and how a file becomes upright 8-bit RGB."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.frames.files import read_list_text
from openloger.frames.image_file import IMAGE_DAMAGE, open_image
from openloger.frames.lazy import NOMINAL_FPS, LazyFrame, UndecodableError
from openloger.frames.selection import Place, Selection
from openloger.shapes import UInt8

SUFFIXES = frozenset(
    {".avif", ".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
_SIXTEEN_BIT_AS_INTEGERS = frozenset({"PNG", "PPM"})  # formats whose 32-bit mode can only come from 16-bit samples


def read_picture(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The picture as it is meant to be seen.

    EXIF orientation is applied. 16-bit samples keep their high byte; grey is repeated in all three channels; what is
    transparent shows black. Raises UndecodableError for a file that is missing, damaged or of no known range.
    """
    from PIL import ImageOps

    try:
        with open_image(path) as opened:
            turned = ImageOps.exif_transpose(opened)
            return _rgb(turned, opened.format or "")
    except FileNotFoundError:
        raise UndecodableError(f"there is no file {path}") from None
    except IMAGE_DAMAGE as error:
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


TIMES_FILE = "timestamps.txt"


@dataclass(frozen=True)
class PictureFiles:
    """Pictures on disk, in order; passing one over costs nothing.

    A frame's name is its path within the folder that holds them all. Without `times_s` they are numbered as
    `NOMINAL_FPS` a second.
    """

    name: str
    paths: tuple[Path, ...]
    times_s: tuple[float, ...] | None = None

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        root = os.path.commonpath([path.parent for path in self.paths])
        for index in range(first, len(self.paths)):
            path = self.paths[index]
            name, load = os.path.relpath(path, root), partial(read_picture, path)
            yield LazyFrame(index, self._time_s(index), name, load, timed=self.times_s is not None)

    def outline(self, choice: Selection) -> Iterable[Place]:
        return (Place(index, self._time_s(index)) for index in range(len(self.paths)))

    def _time_s(self, index: int) -> float:
        return index / NOMINAL_FPS if self.times_s is None else self.times_s[index]


def folder(path: Path) -> PictureFiles:
    """The pictures of a folder in natural order, with the times of the `timestamps.txt` among them, if there is one."""
    if (path / TIMES_FILE).is_file():
        return replace(list_file(path / TIMES_FILE), name=str(path))
    return PictureFiles(str(path), _pictures_in(path))


def matching(pattern: str) -> PictureFiles:
    """The pictures that a glob finds, in natural order; `**` reaches into folders."""
    found = _natural(Path(match) for match in glob.glob(pattern, recursive=True))
    if not found:
        raise InputError(f"no picture matches {pattern}; quote it, so that the shell leaves it alone, and check it")
    return PictureFiles(pattern, found)


def path_list(name: str, paths: Sequence[str | os.PathLike[str]]) -> PictureFiles:
    """Pictures in the order given."""
    return PictureFiles(name, tuple(Path(path) for path in paths))


def list_file(path: Path) -> PictureFiles:
    """A list of pictures, one a line, beside blank lines and `#` comments.

    Each line is `seconds path` (as in TUM's `rgb.txt`) or a path, from the list's own folder; or every line is a number
    of seconds, which belong to that folder's pictures in natural order. Raises InputError naming the line that does
    not fit, or whose time does not increase.
    """
    lines = _lines(path)
    if _seconds(lines[0][1].split(maxsplit=1)[0]) is None:
        return PictureFiles(str(path), tuple(path.parent / line for _, line in lines))
    stamped = _stamped(path, lines)
    times_s = tuple(seconds for seconds, _ in stamped)
    if stamped[0][1]:
        return PictureFiles(str(path), tuple(path.parent / picture for _, picture in stamped), times_s)
    paths = _pictures_in(path.parent)
    if len(paths) != len(times_s):
        raise InputError(f"{path} holds {len(times_s)} times for {len(paths)} pictures beside it; give one a picture")
    return PictureFiles(str(path), paths, times_s)


def natural_key(text: str) -> list[tuple[int, int | str]]:
    """Sorts "frame9" before "frame10"."""
    return [(0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in re.split(r"(\d+)", text) if part]


def _natural(paths: Iterable[Path]) -> tuple[Path, ...]:
    pictures = (path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return tuple(sorted(pictures, key=lambda path: (natural_key(str(path)), str(path))))


def _pictures_in(path: Path) -> tuple[Path, ...]:
    entries = list(path.iterdir())
    found = _natural(entries)
    if found:
        return found
    if not entries:
        raise InputError(f"{path} is an empty folder; give one that holds pictures")
    lists = [entry.name for entry in entries if entry.name == "rgb.txt"]
    inner = sorted(entry.name for entry in entries if entry.is_dir() and _natural(entry.iterdir()))
    better = [str(path / name) for name in lists + inner]
    hint = f"give {better[0]}" if better else f"give one that holds {', '.join(sorted(SUFFIXES))}"
    raise InputError(f"{path} is a folder without pictures; {hint}")


def _lines(path: Path) -> list[tuple[int, str]]:
    """(line number, text) of the lines that say something."""
    numbered = ((number, line.strip()) for number, line in enumerate(read_list_text(path).splitlines(), start=1))
    lines = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    if not lines:
        raise InputError(f"{path} lists no picture; write one path a line, or `seconds path`")
    return lines


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text) else None


def _stamped(path: Path, lines: list[tuple[int, str]]) -> list[tuple[float, str]]:
    """(seconds, the rest of the line) of every line; all have a rest or none has."""
    stamped: list[tuple[float, str]] = []
    for number, line in lines:
        first, *rest = line.split(maxsplit=1)
        seconds = _seconds(first)
        if seconds is None or (stamped and bool(rest) != bool(stamped[0][1])):
            raise InputError(f"{path}, line {number}: {line!r} is not like the lines before it; write `seconds path`")
        if stamped and seconds <= stamped[-1][0]:
            raise InputError(f"{path}, line {number}: {seconds} s does not come after {stamped[-1][0]} s; sort them")
        stamped.append((seconds, "".join(rest)))
    return stamped
