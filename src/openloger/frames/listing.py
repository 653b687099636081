"""The contents of a folder: pictures in natural order, videos, and files that are left out."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path, PurePath

from openloger.errors import InputError, counted

SUFFIXES = frozenset(
    {".apng", ".avif", ".bmp", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm"}
    | {".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".360", ".3gp", ".avi", ".flv", ".gif", ".insv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"}
)
TEXT_SUFFIXES = frozenset({"", ".csv", ".json", ".log", ".md", ".txt", ".xml", ".xmp", ".yaml", ".yml"})
_SIDECARS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_DEEP = 2  # levels of folders that are searched for a hint
_MOST_FOLDERS = 200  # entries of each
# a decimal number: the whole name, or the end of one that counts seconds since 1970; with a comma in some countries;
# a number below zero is the whole name, or else its "-" parts two words
_NUMBERS = re.compile(r"((?:(?<![^/\\])-?\d+|\d{9,})[.,]\d+(?=\.[A-Za-z]\w*$)|(?<![^/\\])-\d+(?=\.[A-Za-z]\w*$)|\d+)")
logger = logging.getLogger("openloger")


def natural_key(text: str) -> list[tuple[int, int | Decimal | str]]:
    """Sorts "frame9" before "frame10", and names that are numbers ("1305031102.05.png", "-2.png") by their value."""
    parts = [part for part in _NUMBERS.split(text) if part]
    return [
        (0, Decimal(part.replace(",", "."))) if part.removeprefix("-")[:1].isdecimal() else (1, part.casefold())
        for part in parts
    ]


def is_sidecar(name: str) -> bool:
    """Whether a file manager left it, or it is hidden."""
    return name.startswith(".") or name.lower() in _SIDECARS


def natural(paths: Iterable[Path], suffixes: frozenset[str] = SUFFIXES) -> tuple[Path, ...]:
    """Those with one of the suffixes, in natural order."""
    found = (path for path in paths if path.suffix.lower() in suffixes and not is_sidecar(path.name))
    return tuple(sorted(found, key=lambda path: (natural_key(str(path)), str(path))))


def log_left_out(name: str, taken: int, others: Sequence[str], folders: Sequence[Path] = ()) -> None:
    """Logs how many files beside `taken` pictures are not read, by kind, and folders of pictures among `folders`.

    Text is expected beside pictures.
    """
    left_out = _by_kind(others)
    if deeper := [folder.name for folder in folders if not is_sidecar(folder.name) and _holds(folder, SUFFIXES)]:
        left_out.append(f"the pictures in {deeper[0]}" + (f" and {len(deeper) - 1} more" if deeper[1:] else ""))
    if left_out:
        taken_are = f"{counted(taken, 'picture')} {'is' if taken == 1 else 'are'} taken"
        logger.warning("%s: %s; left out: %s", name, taken_are, ", ".join(left_out))


def _by_kind(names: Iterable[str]) -> list[str]:
    """ "2 .dng" and so on, the most frequent first; without text."""
    suffixes = Counter(PurePath(name).suffix.lower() for name in names)
    return [f"{count} {suffix}" for suffix, count in suffixes.most_common() if suffix not in TEXT_SUFFIXES]


def no_picture_in(path: Path, entries: Sequence[Path]) -> InputError:
    """The error text for a folder without pictures: where some are, up to two folders deep."""
    if not entries:
        return InputError(f"{path} is an empty folder; give one that holds pictures")
    if {"meta.json", "arrays.zarr"} <= {entry.name for entry in entries}:
        return InputError(f"{path} is a recording, the result of a run; `openloger view` or `export` takes it")
    lists = [path / entry.name for entry in entries if entry.name == "rgb.txt"]
    better = lists + _folders_with_pictures(path, _DEEP)
    hint = f"give {better[0]}" if better else f"give one that holds {', '.join(sorted(SUFFIXES))}"
    more = f" ({len(better)} such folders)" if len(better) > 1 and not lists else ""
    held = _by_kind(entry.name for entry in entries if not is_sidecar(entry.name) and entry.is_file())
    holds = f" (it holds {', '.join(held)})" if held else ""
    return InputError(f"{path} is a folder without pictures{holds}; {hint}{more}")


def _folders_with_pictures(path: Path, deep: int) -> list[Path]:
    try:
        folders = natural((entry for entry in path.iterdir() if entry.is_dir()), frozenset({""}))[:_MOST_FOLDERS]
    except OSError:
        return []
    here = [folder for folder in folders if _holds(folder, SUFFIXES | VIDEO_SUFFIXES)]
    return here or [found for folder in folders if deep > 1 for found in _folders_with_pictures(folder, deep - 1)]


def _holds(folder: Path, suffixes: frozenset[str]) -> bool:
    try:
        return bool(natural(folder.iterdir(), suffixes))
    except OSError:
        return False
