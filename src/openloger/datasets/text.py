"""Numbers and paths in text files, with or without byte-order marks, in either line end. Every fault names its line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from openloger.errors import InputError
from openloger.frames.files import MOST_ARRAY_BYTES
from openloger.shapes import Float64

MOST_BYTES = 1 << 30  # of one text file; a frame of the longest videos takes some 200
_ASSOCIATED_WORDS = 4
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")
_YAML_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_REMARK = re.compile(r"(?<!1\.)#.*")
_NOT_FINITE = re.compile(r"([+-]?)1\.#(INF|IND|QNAN|SNAN)\d*", re.IGNORECASE)  # as Microsoft's C library prints them


def require(path: Path, what: str) -> Path:
    """`path` itself; raises InputError where it is not there, or a pipe or a device."""
    if not path.exists():
        raise InputError(f"{path} is missing ({what}); see docs/datasets.md for the layout")
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is not a file ({what})")
    return path


def read_text(path: Path, what: str) -> str:
    """A whole text file. Raises InputError where it is missing, no file, too large, or not UTF-8 text."""
    if not require(path, what).is_file():
        raise InputError(f"{path} is not a file ({what})")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path} has {size / 1e9:.1f} GB, where a text file is wanted ({what})")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({what}): {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text, from byte {error.start} on ({what}); save it as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path} holds NUL bytes, so it is damaged or no text ({what})")
    return text


def read_binary(path: Path, what: str) -> bytes:
    """A whole binary file; raises InputError where it is missing, no file, or larger than `MOST_ARRAY_BYTES`."""
    if not require(path, what).is_file():
        raise InputError(f"{path} is not a file ({what})")
    MOST_ARRAY_BYTES.check(path.stat().st_size, str(path))
    return path.read_bytes()


def numbered_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of the lines that are neither blank nor begin with a #."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", read_text(path, what)), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, text


def streamed_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of the lines that do not begin with a #, blank ones too, of a file that may be large.

    Raises InputError where it is missing, no file, not UTF-8 text or damaged.
    """
    if not require(path, what).is_file():
        raise InputError(f"{path} is not a file ({what})")
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise InputError(f"{path} holds NUL bytes, so it is damaged or no text ({what})")
                if not line.startswith("#"):
                    yield number, line.strip()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({what}): {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({what}); save it as UTF-8") from error


def number_of(word: str) -> float:
    """A number as text; NaN and infinities as they are. Raises ValueError where it is none."""
    if "_" in word:
        raise ValueError(f"{word!r} is not a number")
    special = _NOT_FINITE.fullmatch(word)
    if special is None:
        return float(word)
    return float(f"{special[1]}inf") if special[2].upper() == "INF" else float("nan")


def read_rows(path: Path, *, columns: int | tuple[int, ...], what: str) -> Float64[np.ndarray, "row column"]:
    """Numbers, a row a line; blank lines and what follows a # are passed over, commas are spaces.

    Raises InputError where the file is missing, empty, or a line has another number of columns, a word in it, or
    decimal commas.
    """
    allowed = (columns,) if isinstance(columns, int) else columns
    rows: list[list[float]] = []
    for number, line in numbered_lines(path, what):
        text = _REMARK.sub("", line).strip()
        words = text.replace(",", " ").split()
        if _has_decimal_commas(text, allowed):
            raise InputError(f"{path}, line {number}: {text[:60]!r} has decimal commas; write 0.5 for 0,5 ({what})")
        if len(words) not in allowed or (rows and len(words) != len(rows[0])):
            wanted = " or ".join(str(count) for count in allowed)
            raise InputError(f"{path}, line {number}: {len(words)} numbers, where {wanted} are wanted ({what})")
        try:
            rows.append([number_of(word) for word in words])
        except ValueError:
            raise InputError(f"{path}, line {number}: {text[:60]!r} is not a row of numbers ({what})") from None
    if not rows:
        raise InputError(f"{path} holds no numbers ({what})")
    return np.array(rows, dtype=np.float64)


def read_named_rows(path: Path, *, what: str) -> dict[str, list[float]]:
    """`name: numbers` lines, as in KITTI's calibration files; lines of another form are passed over."""
    found = {}
    for _, line in numbered_lines(path, what):
        name, _, rest = line.partition(":")
        try:
            found[name.strip()] = [number_of(word) for word in rest.split()]
        except ValueError:
            continue
    return found


def read_stamped_paths(path: Path, *, what: str) -> tuple[Float64[np.ndarray, " row"], tuple[Path, ...]]:
    """`time path` lines in order of time, as in TUM's `rgb.txt`; paths are from the list's own folder."""
    times, words = [], []
    for number, text in numbered_lines(path, what):
        first, *rest = text.split(maxsplit=1)
        time = _time(first)
        if time is None or not rest:
            raise InputError(f"{path}, line {number}: {text[:60]!r} is not `seconds path` ({what})")
        times.append(time)
        words.append(rest[0])
    if not times:
        raise InputError(f"{path} lists no file ({what})")
    order = np.argsort(times, kind="stable")
    return np.array(times, dtype=np.float64)[order], from_folder(path.parent, [words[row] for row in order])


def read_associations(path: Path) -> tuple[Float64[np.ndarray, " row"], tuple[Path, ...], tuple[Path, ...]]:
    """Times, pictures and depth maps of `time path time path` lines, in order of the pictures' time.

    Either may come first: depth is the path that has "depth" in it. Raises InputError where that is neither or both.
    """
    rows: list[tuple[float, str, str]] = []
    for number, text in numbered_lines(path, "pictures and their depth maps"):
        words = text.split()
        times = [_time(word) for word in words[::2]]
        if len(words) != _ASSOCIATED_WORDS or None in times:
            raise InputError(f"{path}, line {number}: {text[:60]!r} is not `seconds picture seconds depth`")
        is_depth = ["depth" in word.lower() for word in words[1::2]]
        if sum(is_depth) != 1:
            raise InputError(f"{path}, line {number}: {text[:60]!r} does not show which path is the depth map's")
        first = is_depth.index(False)
        rows.append((number_of(words[2 * first]), words[2 * first + 1], words[2 * (1 - first) + 1]))
    if not rows:
        raise InputError(f"{path} lists no picture")
    rows.sort(key=lambda row: row[0])
    times_s = np.array([row[0] for row in rows], dtype=np.float64)
    pictures = from_folder(path.parent, [picture for _, picture, _ in rows])
    return times_s, pictures, from_folder(path.parent, [depth for _, _, depth in rows])


def yaml_numbers(block: str, key: str, count: int, path: Path) -> list[float]:
    """The numbers after a key of a YAML file, up to the next key: lists may be written in lines or in brackets.

    Raises InputError where they are not `count`.
    """
    found = re.search(rf"^\s*{key}:(.*?)(?=^\s*[A-Za-z_]\w*:|\Z)", block, flags=re.MULTILINE | re.DOTALL)
    bare = "" if found is None else re.sub(r"^\s*(?:-\s+)+", " ", found[1], flags=re.MULTILINE)
    values = [float(word) for word in _YAML_NUMBER.findall(bare)]
    if len(values) != count:
        raise InputError(f"{path}: {key} has {len(values)} numbers, not {count}; take the file from the dataset")
    return values


def from_folder(folder: Path, names: list[str]) -> tuple[Path, ...]:
    """Paths from a folder, all relative or all absolute."""
    paths = [folder / name for name in names]
    is_mixed = len({path.is_absolute() for path in paths}) > 1
    return tuple(Path(os.path.abspath(path)) for path in paths) if is_mixed else tuple(paths)


def _time(word: str) -> float | None:
    try:
        return number_of(word)
    except ValueError:
        return None


def _has_decimal_commas(text: str, allowed: tuple[int, ...]) -> bool:
    words = text.split()
    return "," in text and len(words) in allowed and all(_DECIMAL_COMMA.fullmatch(word) for word in words)
