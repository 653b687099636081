"""Masks as they lie on the disk: the levels that mean "used", and which mask belongs to which frame.

Masks of 0 and 255, and of 0 and 1, are both usual. Which of them a source has is decided by its levels, and a source
that has both is refused, as is one whose levels are neither: a mask is never taken as black throughout because nothing
in it is white.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np

from openloger.errors import InputError
from openloger.frames.archive import ZipPictures
from openloger.frames.images import PictureFiles
from openloger.frames.lazy import UndecodableError
from openloger.frames.pixels import brightest_levels
from openloger.shapes import Bool, Int, UInt8

BLACK_UP_TO = 16 / 255  # of the top, in a file that keeps levels only about
_LOSSY = frozenset({".avif", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".webp"})
Mask = Bool[np.ndarray, "height width"]
PictureSource = PictureFiles | ZipPictures
logger = logging.getLogger("openloger")


class MaskLevels:
    """The levels of the masks of one source, of which all have the same."""

    def __init__(self, name: str, *, tell_black: bool = True) -> None:
        self._name = name
        self._is_binary: bool | None = None  # 0 and 1; None: all were black so far
        self._is_told = not tell_black

    def used(self, levels: Int[np.ndarray, "height width"], top: int, what: str, *, is_lossy: bool) -> Mask:
        """True where a mask, of levels up to `top`, is white; `what` names it."""
        largest = int(levels.max(initial=0))
        if largest == 0 or (is_lossy and largest <= BLACK_UP_TO * top):
            self._tell_black(what)
            return np.zeros(levels.shape, bool)
        is_binary = largest == 1
        if not is_binary and largest <= top // 2:
            raise InputError(
                f"the mask {what} has levels up to {largest} of {top}, of which none is white, and white is what is "
                f"used: make what is to be used {top}, or 1 and all else 0"
            )
        if self._is_binary is None and is_binary:
            logger.info("%s: masks of 0 and 1; 1 is used", self._name)
        if self._is_binary not in (None, is_binary):
            raise InputError(
                f"the mask {what} has levels up to {largest}, and those of {self._name} before it up to "
                f"{1 if self._is_binary else top}: write all with the same levels, {top} where a pixel is used"
            )
        self._is_binary = is_binary
        return levels >= (1 if is_binary else (top + 1) // 2)

    def _tell_black(self, what: str) -> None:
        if not self._is_told:
            logger.warning("the mask %s is black throughout, so that all of its frame is hidden", what)
        self._is_told = True

    def of_picture(self, name: str, open_file: Callable[[], Path | BytesIO]) -> Mask:
        """Raises InputError where it cannot be read."""
        try:
            levels, top = brightest_levels(open_file(), name=name)
        except UndecodableError as error:
            raise InputError(f"the mask {name} cannot be read: {error}") from error
        return self.used(levels, top, name, is_lossy=PurePosixPath(name).suffix.lower() in _LOSSY)

    def of_frame(self, rgb: UInt8[np.ndarray, "height width 3"], what: str) -> Mask:
        """Of a video of masks."""
        return self.used(rgb.max(2).astype(np.int32), 255, what, is_lossy=True)


class MaskPictures:
    """The masks of a folder, a list or a zip file, by their place in it or by a frame's name."""

    def __init__(self, name: str, source: PictureSource) -> None:
        self.name, self._source = name, source
        self._levels = MaskLevels(name)
        self._names = picture_names(source)
        self._by_path: dict[str, list[int]] = {}
        self._by_file: dict[str, list[int]] = {}
        for number, own in enumerate(self._names):
            path = PurePosixPath(own).with_suffix("")
            self._by_path.setdefault(str(path), []).append(number)
            self._by_file.setdefault(path.name, []).append(number)

    def __len__(self) -> int:
        return len(self._names)

    def number_of(self, frame_name: str) -> int | None:
        """Whose name is the frame's, with another or a further ending: with its folders, or else without them.

        Raises InputError where several are.
        """
        path = PurePosixPath(frame_name)
        if not path.name:
            return None
        bare = path.with_suffix("")
        tries = (self._by_path, str(path)), (self._by_path, str(bare)), (self._by_file, path.name)
        found = next((table[key] for table, key in (*tries, (self._by_file, bare.name)) if key in table), [])
        if len(found) > 1:
            first, second = (self._names[number] for number in found[:2])
            raise InputError(f"{self.name}: {first} and {second} are both named as the frame {frame_name}; keep one")
        return found[0] if found else None

    def mask(self, number: int) -> Mask:
        """Raises InputError where it cannot be read, or has other levels than those before it."""
        source = self._source
        if isinstance(source, PictureFiles):
            return self._levels.of_picture(str(source.paths[number]), lambda: source.paths[number])
        return self._levels.of_picture(source.members[number], lambda: source.unpacked(number))


def read_mask(path: Path) -> Mask:
    """One picture's mask, True where it is white, and nowhere if it is black; raises InputError where it cannot be
    read, or has levels of which none is white."""
    return MaskLevels(str(path), tell_black=False).of_picture(str(path), lambda: path)


def picture_names(source: PictureSource) -> Sequence[str]:
    """Of all its frames, as `Frame.name` has them."""
    return source.frame_names if isinstance(source, PictureFiles) else source.members
