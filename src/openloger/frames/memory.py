"""Frames that are in memory already, or come from another source."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.frames.lazy import NOMINAL_FPS, LazyFrame
from openloger.frames.selection import FrameStamp, Selection
from openloger.shapes import Bool, UInt8
from openloger.values import FrameSource


@dataclass(eq=False)
class GivenFrames:
    """Any iterable of uint8 (height, width, 3) arrays, or of `Frame`s, which keep their own index, time and name.

    Bare arrays are numbered from 0, as `NOMINAL_FPS` a second. An iterator can be read once.
    """

    given: Iterable[Any]
    name: str = "frames in memory"
    _started: bool = field(default=False, init=False, repr=False)

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        if isinstance(self.given, Iterator):
            if self._started:
                raise InputError(f"{self.name} came as an iterator, which can be read only once; give a list")
            self._started = True
        last = -1
        for position, item in enumerate(self.given):
            slot = _slot(position, item)
            if slot.index <= last:
                raise InputError(f"{self.name}: index {slot.index} follows index {last}; give frames in order")
            last = slot.index
            if slot.index >= first:
                yield slot

    def outline(self, choice: Selection) -> Iterable[FrameStamp] | None:
        if isinstance(self.given, Iterator) or not isinstance(self.given, Sized):
            return None
        return (_stamp(position, item) for position, item in enumerate(self.given))


@dataclass(frozen=True)
class OtherSource:
    """A ready `FrameSource`, such as a data set or a camera."""

    source: FrameSource

    @property
    def name(self) -> str:
        return self.source.name

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        for position, frame in enumerate(self.source.frames(first)):
            yield _slot(position, frame)

    def outline(self, choice: Selection) -> Iterable[FrameStamp] | None:
        length = self.source.length
        if length is None or choice.start or choice.stop is not None or choice.fps is not None:
            return None  # its indices need not be contiguous, and only reading gives its times
        return (FrameStamp(index) for index in range(length))


def is_frame(item: Any) -> bool:
    """True for any object with the attributes of a `Frame`."""
    return all(hasattr(item, attribute) for attribute in ("rgb", "index", "timestamp_s", "name"))


def _slot(position: int, item: Any) -> LazyFrame:
    place = _stamp(position, item)
    complete = is_frame(item)
    rgb = _checked(item.rgb if complete else item, place.index)
    name = str(item.name) if complete else f"frame_{position:06d}"
    mask = checked_mask(item, place.index) if complete else None
    return LazyFrame(place.index, place.timestamp_s, name, lambda: rgb, timed=complete, mask=mask)


def _stamp(position: int, item: Any) -> FrameStamp:
    if is_frame(item):
        return FrameStamp(int(item.index), float(item.timestamp_s))
    return FrameStamp(position, position / NOMINAL_FPS)


def checked_mask(frame: Any, index: int) -> Bool[np.ndarray, "height width"] | None:
    """The mask that a frame has, if any; raises InputError where it is not bool, or has another size than the frame."""
    mask, size = getattr(frame, "mask", None), np.shape(frame.rgb)[:2]
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.shape != size:
        raise InputError(
            f"the mask of frame {index} is {mask.dtype} {mask.shape}; give bool (height, width), here {size}"
        )
    return mask


def _checked(array: Any, index: int) -> UInt8[np.ndarray, "height width 3"]:
    rgb = np.asarray(array)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise InputError(f"frame {index} is {rgb.dtype} {rgb.shape}; give uint8 arrays of (height, width, 3)")
    return rgb
