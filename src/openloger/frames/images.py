"""Still images: how a folder, a glob or a list is ordered and timed."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from openloger.errors import InputError
from openloger.frames.files import read_list_text
from openloger.frames.joined import joined, videos_of_folder
from openloger.frames.lazy import NOMINAL_FPS, LazyFrame, LazyFrameSource
from openloger.frames.listing import VIDEO_SUFFIXES, is_sidecar, log_left_out, natural, no_picture_in
from openloger.frames.pixels import read_picture, usual_sample_bits
from openloger.frames.selection import FrameStamp, Selection
from openloger.frames.times import in_seconds
from openloger.shapes import UInt8

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
    upright: bool = True  # False: the pixels as they are stored, whatever EXIF has about the camera's orientation

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        names = self.frame_names
        for index in range(first, len(self.paths)):
            load = partial(self._read, self.paths[index])
            yield LazyFrame(index, self._time_s(index), names[index], load, timed=self.times_s is not None)

    @cached_property
    def frame_names(self) -> tuple[str, ...]:
        root = _common_folder(self.paths)
        return tuple(_name_within(path, root) for path in self.paths)

    def outline(self, choice: Selection) -> Iterable[FrameStamp]:
        return (FrameStamp(index, self._time_s(index)) for index in range(len(self.paths)))

    def _read(self, path: Path) -> UInt8[np.ndarray, "height width 3"]:
        return read_picture(path, sample_bits=self._sample_bits, upright=self.upright)

    @cached_property
    def _sample_bits(self) -> int:
        """Decided by three pictures for all, so that none is scaled otherwise than its neighbours."""
        last = len(self.paths) - 1
        return usual_sample_bits([self.paths[index] for index in sorted({0, last // 2, last})], self.name)

    def _time_s(self, index: int) -> float:
        return index / NOMINAL_FPS if self.times_s is None else self.times_s[index]


def folder(path: Path) -> LazyFrameSource:
    """The pictures of a folder in natural order, with the times of the `timestamps.txt` among them, if there is one.

    Where it holds videos and no picture: the only one, or the chapters of the only recording.
    """
    if (path / TIMES_FILE).is_file():
        return replace(list_file(path / TIMES_FILE), name=str(path))
    entries = list(path.iterdir())
    if not natural(entries) and (videos := natural(entries, VIDEO_SUFFIXES)):
        return videos_of_folder(path, videos)
    return PictureFiles(str(path), _pictures_in(path))


def matching(pattern: str) -> LazyFrameSource:
    """The pictures that a glob finds, in natural order, or else the videos, joined; `**` reaches into folders."""
    matches = [Path(match) for match in _glob(pattern)]
    found = natural(matches)
    if found:
        return PictureFiles(pattern, found)
    if videos := natural(matches, VIDEO_SUFFIXES):
        return joined(pattern, videos)
    raise InputError(f"no picture matches {pattern}; quote it, so that the shell leaves it alone, and check it")


def _glob(pattern: str) -> list[str]:
    """Paths that match; brackets of a folder that exists, or else all, are literal where they match nothing else."""
    parent, last = os.path.split(pattern)
    tries = [pattern]
    if os.path.isdir(parent):
        tries.append(os.path.join(glob.escape(parent), last))
    tries.append(pattern.replace("[", "[[]"))
    return next(filter(None, (glob.glob(one, recursive=True) for one in tries)), [])


def path_list(name: str, paths: Sequence[str | os.PathLike[str]]) -> LazyFrameSource:
    """Pictures in the order given; or videos, joined. Raises InputError for a list of both."""
    given = [Path(path) for path in paths]
    videos = [path for path in given if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        return PictureFiles(name, tuple(given))
    if len(videos) < len(given):
        raise InputError(f"{name} holds videos and pictures ({videos[0]} and others); give one kind")
    return joined(name, given)


def list_file(path: Path) -> PictureFiles:
    """A list of pictures, one a line, beside blank lines and `#` comments.

    Each line is `seconds path` (as in TUM's `rgb.txt`) or a path, from the list's own folder; or every line is a number
    of seconds, which belong to that folder's pictures in natural order. Raises InputError naming the line that does
    not fit, or whose time does not increase.
    """
    lines = _lines(path)
    if _seconds(lines[0][1].split(maxsplit=1)[0]) is None:
        _check_form(path, *lines[0])
        return PictureFiles(str(path), tuple(path.parent / line for _, line in lines))
    stamped = _stamped(path, lines)
    times_s = tuple(in_seconds(np.array([seconds for seconds, _ in stamped]), path).tolist())
    if stamped[0][1]:
        _check_columns(path, lines[0][0], stamped[0][1])
        return PictureFiles(str(path), tuple(path.parent / picture for _, picture in stamped), times_s)
    paths = _pictures_in(path.parent)
    if len(paths) != len(times_s):
        raise InputError(f"{path} holds {len(times_s)} times for {len(paths)} pictures beside it; give one a picture")
    return PictureFiles(str(path), paths, times_s)


def _pictures_in(path: Path) -> tuple[Path, ...]:
    entries = list(path.iterdir())
    found = natural(entries)
    if not found:
        raise no_picture_in(path, entries)
    taken = set(found)
    others = (entry for entry in entries if entry not in taken and not is_sidecar(entry.name) and entry.is_file())
    folders = [entry for entry in entries if entry.is_dir()]
    log_left_out(str(path), len(found), [entry.name for entry in others], folders)
    return found


def _name_within(path: Path, root: str) -> str:
    """With slashes on every system, as names go into recordings and from there into COLMAP's and others' files."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def _common_folder(paths: Sequence[Path]) -> str:
    """That holds them all; a list may mix relative and absolute paths."""
    parents = {path.parent for path in paths}
    if len({parent.is_absolute() for parent in parents}) > 1:
        parents = {Path(os.path.abspath(parent)) for parent in parents}
    try:
        return os.path.commonpath(parents)
    except ValueError:  # different drives
        return os.curdir


def _lines(path: Path) -> list[tuple[int, str]]:
    """(line number, text) of the lines that are neither blank nor comments."""
    numbered = ((number, line.strip()) for number, line in enumerate(read_list_text(path).splitlines(), start=1))
    lines = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    if not lines:
        raise InputError(f"{path} lists no picture; write one path a line, or `seconds path`")
    return lines


_OTHER_FORMS = re.compile(r"""[+-]?\d+[,;]|["']|file\s+['"/\w]|.*\S\s+[\d.]+$""")  # CSV, quotes, ffconcat, turned round


def _check_form(path: Path, number: int, line: str) -> None:
    """Raises InputError for a first line that names no file and is of a form that other programs write."""
    if _OTHER_FORMS.match(line) and not (path.parent / line).exists():
        raise InputError(
            f"{path}, line {number}: there is no file {line!r}; write a path alone, or `seconds path` with a space in "
            "between and a decimal point"
        )


_MORE_COLUMNS = re.compile(r"\S+\s+[+-]?[\d.]+(\s.*)?")  # as of pictures with their depth, and of poses


def _check_columns(path: Path, number: int, picture: str) -> None:
    """Raises InputError for a first line whose `seconds` are followed by several columns in place of a path."""
    if _MORE_COLUMNS.fullmatch(picture) and not (path.parent / picture).exists():
        raise InputError(
            f"{path}, line {number}: there is no file {picture!r}; keep two columns, the pictures' `seconds path`"
        )


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
