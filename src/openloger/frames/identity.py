"""The identity of a source, by which another one of the same name is recognised."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from openloger.errors import counted
from openloger.frames.animation import Animation
from openloger.frames.archive import ZipPictures
from openloger.frames.files import open_regular
from openloger.frames.images import PictureFiles
from openloger.frames.joined import JoinedVideos
from openloger.frames.ros_bag import BagPictures
from openloger.frames.selected import SelectedFrames
from openloger.frames.selection import Selection
from openloger.frames.through import sources_within
from openloger.frames.video import VideoFile
from openloger.values import FrameSource

_SPHERICAL = re.compile(rb"GSpherical:Spherical>true|sv3d....svhd|GPano:ProjectionType", re.DOTALL)
BEGINNING_BYTES = 1 << 20  # of a file; the first frames of a video are in it


def files_of(source: object) -> tuple[Path, ...]:
    """The files that a source reads, in order; none where it reads none, or they are not known."""
    *_, source = sources_within(source)
    match source:
        case VideoFile() | Animation() | ZipPictures():
            return (source.path,)
        case BagPictures():
            return source.files
        case JoinedVideos():
            return tuple(part.path for part in source.parts)
        case PictureFiles():
            return source.paths
        case _:
            return ()


def identity(source: FrameSource) -> dict[str, Any]:
    """The number of a source's files, their bytes, a hash of their beginnings, the choice of frames and their number.

    `spherical`: the first file's metadata call it a 360° panorama. The hash is of the first MiB of the first file and,
    where there are several, of all their names and sizes.

    Raises InputError for what is no file.
    """
    files = files_of(source)
    size = sum(map(_size, files))
    return {
        "files": len(files),
        "bytes": size,
        "begins": _beginning(files, len(files), size),
        "selections": [asdict(one) for one in _selections(source)],
        "frames": source.length,
        "spherical": bool(files) and _is_spherical(files[0]),
    }


def difference(known: Mapping[str, Any], source: FrameSource) -> str | None:
    """The difference between a source and an earlier `identity`; None where there is none, or it has only grown.

    Raises InputError for what is no file.
    """
    return _other_files(known, files_of(source)) or _other_frames(known, source)


def _other_files(known: Mapping[str, Any], files: tuple[Path, ...]) -> str | None:
    if len(files) < known["files"]:
        return f"it had {counted(known['files'], 'file')}, and {len(files)} are there"
    size = sum(_size(path) for path in islice(files, known["files"]))
    if size < known["bytes"]:
        return f"it had {known['bytes']:,} bytes, and {size:,} are there"
    if _beginning(files, known["files"], known["bytes"]) != known["begins"]:
        return "it began with other bytes" if known["files"] == 1 else "it had other files"
    return None


def _other_frames(known: Mapping[str, Any], source: FrameSource) -> str | None:
    before, now = [Selection(**one) for one in known["selections"]], _selections(source)
    if [replace(one, stop=None) for one in before] != [replace(one, stop=None) for one in now]:
        return f"its frames were chosen by {_shown(before)}, not by {_shown(now)}"
    length, frames = source.length, known["frames"]
    if before == now and length is not None and frames is not None and length < frames:
        return f"it had {counted(frames, 'frame')}, and {length} are there"
    return None


def _selections(source: object) -> list[Selection]:
    """The choices among the frames, the last one first; a choice of all frames does not count."""
    chosen = [layer.selection for layer in sources_within(source) if isinstance(layer, SelectedFrames)]
    return [one for one in chosen if replace(one, stop=None) != Selection()]


def _shown(selections: list[Selection]) -> str:
    chosen = [f"start {one.start}, stride {one.stride}, fps {one.fps or 'all'}" for one in selections]
    return "; ".join(chosen) or "nothing (all are taken)"


def _beginning(files: tuple[Path, ...], count: int, size: int) -> str:
    """Of the first `count` files, which had `size` bytes; a single one may be longer by now."""
    if count == 0:
        return ""
    digest = hashlib.sha256(_first_bytes(files[0], min(size, BEGINNING_BYTES)))
    for path in files[:count] if count > 1 else ():
        digest.update(f"{os.fsencode(path.name)!r} {_size(path)}\n".encode())
    return digest.hexdigest()


def _is_spherical(path: Path) -> bool:
    """By Google's metadata of videos (an XML or a box of MP4, at the beginning or the end) and of photos (XMP)."""
    ends = _first_bytes(path, BEGINNING_BYTES) + _first_bytes(path, BEGINNING_BYTES, from_end=True)
    return _SPHERICAL.search(ends) is not None


def _first_bytes(path: Path, count: int, *, from_end: bool = False) -> bytes:
    try:
        with open_regular(path) as file:
            if from_end:
                file.seek(max(0, os.fstat(file.fileno()).st_size - count))
            return file.read(count)
    except OSError:
        return b""  # a picture that is missing, or may not be read, is reported when its turn comes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # as above
