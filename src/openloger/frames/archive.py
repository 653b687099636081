"""Pictures in a zip file, read where they lie: nothing is unpacked onto the disk."""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from openloger.errors import InputError
from openloger.frames.files import MOST_MEMBER_BYTES, open_regular
from openloger.frames.lazy import NOMINAL_FPS, LazyFrame, UndecodableError
from openloger.frames.listing import SUFFIXES, is_sidecar, log_left_out, natural_key
from openloger.frames.pixels import read_picture
from openloger.frames.selection import FrameStamp, Selection
from openloger.shapes import UInt8

_log = logging.getLogger("openloger")
_ENCRYPTED = 0x1
_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class ZipPictures:
    """The pictures of a zip file in natural order of their paths in it, numbered as `NOMINAL_FPS` a second."""

    path: Path
    members: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.path)

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        with open_regular(self.path) as file, zipfile.ZipFile(file) as archive:
            for index in range(first, len(self.members)):
                load = partial(_read, archive, self.members[index])
                yield LazyFrame(index, index / NOMINAL_FPS, self.members[index], load, timed=False)

    def unpacked(self, index: int) -> io.BytesIO:
        """The file of one picture; raises UndecodableError where the archive is damaged there."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return _unpacked(archive, self.members[index])
        except _DAMAGE as error:
            raise UndecodableError(str(error)) from error

    def outline(self, choice: Selection) -> Iterable[FrameStamp]:
        return (FrameStamp(index, index / NOMINAL_FPS) for index in range(len(self.members)))


def zip_pictures(path: Path) -> ZipPictures:
    """Raises InputError for what is no zip file, is locked by a password, or holds no picture."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except _DAMAGE as error:
        raise InputError(f"{path} is no zip file, or was cut off ({error}); download or copy it again") from error
    files = [entry for entry in entries if not _is_hidden(entry.filename)]
    pictures = [entry for entry in files if PurePosixPath(entry.filename).suffix.lower() in SUFFIXES]
    if not pictures:
        raise InputError(f"{path} holds no picture; unpack it, and give what is to be read")
    if any(entry.flag_bits & _ENCRYPTED for entry in pictures):
        raise InputError(f"{path} is locked by a password; unpack it, and give the folder")
    names = list(dict.fromkeys(entry.filename for entry in pictures))
    if again := len(pictures) - len(names):
        _log.warning("%s: %s left out, whose name comes again: the last of a name is taken", path, _more(again))
    log_left_out(str(path), len(names), [entry.filename for entry in files if entry not in pictures])
    return ZipPictures(path, tuple(sorted(names, key=lambda name: (natural_key(name), name))))


def _more(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count} pictures are"


def _is_hidden(name: str) -> bool:
    """Whether a file manager left it; "." and ".." say only where it was: nothing is unpacked."""
    return any(is_sidecar(part) for part in PurePosixPath(name).parts if part not in (".", ".."))


def _read(archive: zipfile.ZipFile, member: str) -> UInt8[np.ndarray, "height width 3"]:
    return read_picture(_unpacked(archive, member), name=member)


def _unpacked(archive: zipfile.ZipFile, member: str) -> io.BytesIO:
    limit = MOST_MEMBER_BYTES.value
    try:
        with archive.open(member) as file:
            data = file.read(limit + 1)  # more may come than its header has
        MOST_MEMBER_BYTES.check(len(data), member)
    except (*_DAMAGE, InputError) as error:
        raise UndecodableError(str(error)) from error
    return io.BytesIO(data)
