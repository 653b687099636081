"""Masks of frames: which pixels are used, from pictures, a video, or one picture for all; white is used.

What the network predicts to be sky, or to move by itself, can be masked too, and needs no file: `PREDICTED`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from openloger.errors import InputError, counted
from openloger.frames.identity import identity
from openloger.frames.images import PictureFiles
from openloger.frames.lazy import LazyFrameSource, UndecodableError
from openloger.frames.open import open_frames
from openloger.frames.pixels import read_picture
from openloger.frames.selected import SelectedFrames
from openloger.frames.selection import Selection
from openloger.frames.through import FramesThrough, sources_within
from openloger.shapes import Bool, UInt8
from openloger.values import Frame, FrameSource

PREDICTED = ("sky", "moving")
WHITE_FROM = 128  # of 255, in any channel
Mask = Bool[np.ndarray, "height width"]


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
            found["static"] = hashlib.sha256(read_mask(Path(self.static)).tobytes()).hexdigest()
        return found


def masked(source: FrameSource, masks: Masks) -> FrameSource:
    """The source's frames with their masks (`Frame.mask`), at the size of the source's pictures.

    Pictures whose names are the frames' own, with another or a further ending, are paired by name, and otherwise, as
    the frames of a video, by their number in the source.
    Iterating raises InputError for masks of another size or number.
    """
    if not masks.has_files:
        return source
    return FramesThrough(source, lambda frames: _each_masked(frames, source, masks))


def read_mask(path: Path) -> Mask:
    """One picture's mask; raises InputError where it cannot be read, or has no white although it has levels."""
    try:
        rgb = read_picture(path)
    except UndecodableError as error:
        raise InputError(f"the mask {path} cannot be read: {error}") from error
    if 0 < rgb.max() < WHITE_FROM:
        raise InputError(
            f"the mask {path} has levels up to {rgb.max()} of 255, of which none is white, and white is what is used: "
            "multiply them, so that what is to be used is 255"
        )
    return _used(rgb)


def _used(rgb: UInt8[np.ndarray, "height width 3"]) -> Mask:
    return rgb.max(axis=2) >= WHITE_FROM


def _each_masked(frames: Iterator[Frame], source: FrameSource, masks: Masks) -> Iterator[Frame]:
    static = None if masks.static is None else read_mask(Path(masks.static))
    find: Callable[[Frame], Mask] | None = None
    for frame in frames:
        given = [frame.mask] if frame.mask is not None else []
        if static is not None:
            given.append(_fitting(static, frame, str(masks.static)))
        if masks.per_frame is not None:
            find = find or _finder(masks.per_frame, source, frame)
            given.append(_fitting(find(frame), frame, masks.per_frame))
        yield replace(frame, mask=given[0] if len(given) == 1 else np.logical_and.reduce(given))


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
    named = _by_name(opened)
    if _own(named, first) is not None:
        _check_names(name, named, source)
        return lambda frame: _named_mask(named, frame, name)
    _check_count(name, opened, source)
    return _Numbered(name, opened.frames(first.index))


def _by_name(opened: FrameSource) -> dict[str, Path]:
    """Pictures by their names without the last ending."""
    *_, lazy = sources_within(opened)
    return {path.stem: path for path in lazy.paths} if isinstance(lazy, PictureFiles) else {}


def _own(named: dict[str, Path], frame: Frame) -> Path | None:
    return _own_of(named, frame.name)


def _own_of(named: dict[str, Path], frame_name: str) -> Path | None:
    name = PurePosixPath(frame_name)
    return named.get(name.name) or named.get(name.stem)


def _named_mask(named: dict[str, Path], frame: Frame, name: str) -> Mask:
    path = _own(named, frame)
    if path is None:
        raise InputError(
            f"{name} has no mask of frame {frame.index} ({frame.name}); add one, white where nothing is hidden"
        )
    return read_mask(path)


def _check_names(name: str, masks: dict[str, Path], source: FrameSource) -> None:
    """Now, not after hours: all chosen pictures of a folder, whose names are known before they are read."""
    chain = list(sources_within(source))
    lazy, choices = chain[-1], [one.selection for one in chain if isinstance(one, SelectedFrames)]
    chosen = [choice for choice in choices if choice != Selection()] or [Selection()]
    if not isinstance(lazy, PictureFiles) or len(chosen) > 1:
        return
    stamps = list(chosen[0].of(lazy.outline(chosen[0])))
    missing = [stamp.index for stamp in stamps if _own_of(masks, lazy.paths[stamp.index].name) is None]
    if missing:
        others = f"; {len(missing)} of {len(stamps)} frames have none" if len(missing) > 1 else ""
        first = lazy.paths[missing[0]].name
        raise InputError(
            f"{name} has no mask of frame {missing[0]} ({first}); add one, white where nothing is hidden{others}"
        )


class _Numbered:
    """Masks by the frames' numbers."""

    def __init__(self, name: str, masks: Iterator[Frame]) -> None:
        self._name, self._masks = name, masks

    def __call__(self, frame: Frame) -> Mask:
        for mask in self._masks:
            if mask.index == frame.index:
                return _used(mask.rgb)
        raise InputError(f"{self._name} ends before frame {frame.index}; give one mask for every frame of the source")


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
