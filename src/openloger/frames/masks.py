"""Masks of frames: which pixels are used, from pictures, a video, or one picture for all; white is used.

What the network predicts to be sky, or to move by itself, can be masked too, and needs no file: `PREDICTED`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import InputError, counted
from openloger.frames.archive import ZipPictures
from openloger.frames.identity import identity
from openloger.frames.images import PictureFiles
from openloger.frames.lazy import LazyFrameSource
from openloger.frames.mask_files import Mask, MaskLevels, MaskPictures, picture_names, read_mask
from openloger.frames.open import open_frames
from openloger.frames.selected import SelectedFrames
from openloger.frames.selection import Selection
from openloger.frames.through import FramesThrough, sources_within
from openloger.values import Frame, FrameSource

PREDICTED = ("sky", "moving")


@dataclass(frozen=True)
class Masks:
    """The masks of a run; the pixels of a frame are used that all of them leave."""

    per_frame: str | None = None  # a folder, a glob, a list, a zip file or a video
    static: str | None = None  # a picture, for all frames
    predicted: tuple[str, ...] = ()  # of PREDICTED

    @staticmethod
    def parse(given: Sequence[str], static: str | os.PathLike[str] | None = None) -> Masks:
        """Of "sky", "moving" and at most one source of masks, in any order; raises InputError for what is neither.

        A folder that is named "sky" is given as "./sky".
        """
        files = [one for one in given if one not in PREDICTED]
        if len(files) > 1:
            raise InputError(
                f"mask: {files[0]!r} and {files[1]!r} are two sources; give one, and sky or moving beside it"
            )
        fixed = None if static is None else os.fspath(static)
        for path in filter(None, (*files, fixed)):
            if not os.path.exists(path) and not any(letter in path for letter in "*?["):
                raise InputError(
                    f"mask: there is no file or folder {path!r}; give a folder, a video or a picture, sky, or moving"
                )
        predicted = tuple(name for name in PREDICTED if name in given)
        return Masks(files[0] if files else None, fixed, predicted)

    @property
    def has_files(self) -> bool:
        return self.per_frame is not None or self.static is not None

    def identity(self) -> dict[str, Any]:
        """By which a run that is continued recognises them, wherever they lie."""
        found: dict[str, Any] = {"predicted": list(self.predicted)}
        if self.per_frame is not None:
            own = identity(open_frames(self.per_frame))
            found["per_frame"] = {name: own[name] for name in ("files", "bytes", "begins")}
        if self.static is not None:
            found["static"] = hashlib.sha256(_static(self.static).tobytes()).hexdigest()
        return found


def masked(source: FrameSource, masks: Masks) -> FrameSource:
    """The source's frames with their masks (`Frame.mask`), at the size of the source's pictures.

    Pictures whose names are the frames' own, with another or a further ending, are paired by name, and otherwise, as
    the frames of a video, by their number in the source.
    Iterating raises InputError for masks of another size or number, and for levels of which none is white.
    """
    if not masks.has_files:
        return source
    return FramesThrough(source, lambda frames: _each_masked(frames, source, masks))


def _each_masked(frames: Iterator[Frame], source: FrameSource, masks: Masks) -> Iterator[Frame]:
    static = None if masks.static is None else _static(masks.static)
    find: Callable[[Frame], Mask] | None = None
    for frame in frames:
        given = [frame.mask] if frame.mask is not None else []
        if static is not None:
            given.append(_fitting(static, frame, str(masks.static)))
        if masks.per_frame is not None:
            find = find or _finder(masks.per_frame, source, frame)
            given.append(_fitting(find(frame), frame, masks.per_frame))
        yield replace(frame, mask=given[0] if len(given) == 1 else np.logical_and.reduce(given))


def _static(name: str) -> Mask:
    mask = read_mask(Path(name))
    if not mask.any():
        raise InputError(f"the mask {name} is black throughout and would hide every frame: white is what is used")
    return mask


def _fitting(mask: Mask, frame: Frame, name: str) -> Mask:
    if mask.shape != frame.rgb.shape[:2]:
        (height, width), (of_height, of_width) = mask.shape, frame.rgb.shape[:2]
        raise InputError(
            f"{name}: the mask of frame {frame.index} is {width}×{height} pixels and the frame {of_width}×{of_height}; "
            "bring it to the frame's size"
        )
    return mask


def _finder(name: str, source: FrameSource, first: Frame) -> Callable[[Frame], Mask]:
    """Gives the mask of each frame, in order from `first` on."""
    opened = open_frames(name)
    *_, lazy = sources_within(opened)
    if not isinstance(lazy, PictureFiles | ZipPictures):
        _check_count(name, opened, source)
        return _Numbered(name, opened.frames(first.index))
    pictures = MaskPictures(name, lazy)
    if _are_paired_by_name(pictures, source, first):
        return lambda frame: _named_mask(pictures, frame)
    _check_count(name, opened, source)
    return lambda frame: _numbered_mask(pictures, frame)


def _are_paired_by_name(masks: MaskPictures, source: FrameSource, first: Frame) -> bool:
    """Whether masks are named as the frames: all chosen ones, where their names are known before they are read.

    The names of a video's frames are their numbers, and those of masks may begin at another: as many masks as frames
    are paired by number.
    """
    chain = list(sources_within(source))
    lazy, choices = chain[-1], [one.selection for one in chain if isinstance(one, SelectedFrames)]
    chosen = [choice for choice in choices if choice != Selection()] or [Selection()]
    if not isinstance(lazy, PictureFiles | ZipPictures) or len(chosen) > 1:
        is_of_pictures = isinstance(lazy, PictureFiles | ZipPictures)
        return masks.number_of(first.name) is not None and (is_of_pictures or _count(source) != len(masks))
    names = picture_names(lazy)
    stamps = list(chosen[0].of(lazy.outline(chosen[0])))
    missing = [stamp.index for stamp in stamps if masks.number_of(names[stamp.index]) is None]
    if missing and len(missing) < len(stamps):  # now, not after hours
        others = f"; {len(missing)} of {len(stamps)} frames have none" if len(missing) > 1 else ""
        raise InputError(_missing(masks, missing[0], names[missing[0]]) + others)
    return not missing


def _missing(masks: MaskPictures, number: int, frame_name: str) -> str:
    return f"{masks.name} has no mask of frame {number} ({frame_name}); add one, white where nothing is hidden"


def _named_mask(masks: MaskPictures, frame: Frame) -> Mask:
    number = masks.number_of(frame.name)
    if number is None:
        raise InputError(_missing(masks, frame.index, frame.name))
    return masks.mask(number)


def _numbered_mask(masks: MaskPictures, frame: Frame) -> Mask:
    if frame.index >= len(masks):
        raise InputError(_ends(masks.name, frame))
    return masks.mask(frame.index)


def _ends(name: str, frame: Frame) -> str:
    return f"{name} ends before frame {frame.index}; give one mask for every frame of the source"


class _Numbered:
    """Masks of a video, by the frames' numbers."""

    def __init__(self, name: str, masks: Iterator[Frame]) -> None:
        self._name, self._masks, self._levels = name, masks, MaskLevels(name)

    def __call__(self, frame: Frame) -> Mask:
        for mask in self._masks:
            if mask.index == frame.index:
                return self._levels.of_frame(mask.rgb, f"of frame {frame.index} in {self._name}")
        raise InputError(_ends(self._name, frame))


def _check_count(name: str, masks: FrameSource, source: FrameSource) -> None:
    wanted = _count(source)
    if masks.length is not None and wanted is not None and masks.length != wanted:
        raise InputError(
            f"{name} holds {counted(masks.length, 'mask')} and the source {counted(wanted, 'frame')}, and they are "
            "not paired by names: give one for each frame, in their order"
        )


def _count(source: FrameSource) -> int | None:
    """All frames of a source, whichever are chosen among them."""
    *_, lazy = sources_within(source)
    if not isinstance(lazy, LazyFrameSource):
        return None
    outline = lazy.outline(Selection())
    return None if outline is None else sum(1 for _ in outline)
