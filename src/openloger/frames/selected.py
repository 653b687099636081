"""The selected frames: a source, the choice among its frames, and what to do about a bad one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from openloger.errors import BadFrameError, InputError
from openloger.frames.lazy import CutShortError, LazyFrame, LazyFrameSource, UndecodableError
from openloger.frames.selection import Selection
from openloger.shapes import UInt8
from openloger.values import Frame

OnBadFrame = Literal["stop", "repeat", "skip"]
logger = logging.getLogger("openloger")


@dataclass(eq=False)
class SelectedFrames:
    """A `FrameSource` over any `LazyFrameSource`.

    `on_bad_frame` sets what follows a frame that cannot be decoded, or a source that ends too early. Each is logged
    and listed in `bad_frames`; then
    - "stop": BadFrameError, after every good frame before it was given;
    - "repeat": the previous picture once more, under the bad frame's own index and time (nothing, where no picture
      came before; the frames missing at a premature end are not made up);
    - "skip": nothing in its place.
    """

    source: LazyFrameSource
    selection: Selection
    on_bad_frame: OnBadFrame
    _bad: dict[int, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.on_bad_frame not in get_args(OnBadFrame):
            raise InputError(f"on_bad_frame={self.on_bad_frame!r}: give 'stop', 'repeat' or 'skip'")

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def bad_frames(self) -> list[tuple[int, str]]:
        """(index, reason) of the frames found bad so far."""
        return sorted(self._bad.items())

    @property
    def length(self) -> int | None:
        """The number of frames if none is bad; None where the source does not report one."""
        return self._length

    @cached_property
    def _length(self) -> int | None:
        outline = self.source.outline(self.selection)
        return None if outline is None else sum(1 for _ in self.selection.of(outline))

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """The chosen frames from index `first` on.

        Raises BadFrameError for a frame that cannot be decoded (where `on_bad_frame` is "stop") or that differs in
        size from those before it, and InputError where nothing is left of the source.
        """
        repeat = self.on_bad_frame == "repeat"
        entry = max(self.selection.start, first) if self.selection.contiguous and not repeat else 0
        chosen = 0
        previous: Frame | None = None
        with closing(self.source.slots(entry)) as slots:
            for slot in self._until_cut_short(
                self.selection.of(with_times(slots, fps=self.selection.fps, name=self.name))
            ):
                chosen += 1
                if slot.index < first and not repeat:  # "repeat" needs the picture before `first` too
                    continue
                frame = self._frame(slot, previous)
                if frame is None:
                    continue
                _check_same_size(self.name, previous, frame)
                previous = frame
                if frame.index >= first:
                    yield frame
        if previous is None and first <= self.selection.start:
            raise InputError(_nothing_left(self, chosen))

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(0)

    def _frame(self, slot: LazyFrame, previous: Frame | None) -> Frame | None:
        try:
            rgb = slot.load()
        except UndecodableError as error:
            rgb = self._instead(slot, str(error), previous)
        return None if rgb is None else Frame(rgb, slot.index, slot.timestamp_s, slot.name, mask=slot.mask)

    def _instead(
        self, slot: LazyFrame, reason: str, previous: Frame | None
    ) -> UInt8[np.ndarray, "height width 3"] | None:
        """The picture used in place of a bad frame; None to leave it out."""
        what = f"{self.name}: frame {slot.index} ({slot.name}) cannot be decoded: {reason}"
        self._bad[slot.index] = reason
        if self.on_bad_frame == "stop":
            advice = "on_bad_frame (--on-bad-frame) skip or repeat continues past it"
            raise BadFrameError(f"{what}; {advice}", index=slot.index)
        if self.on_bad_frame == "repeat" and previous is not None:
            logger.warning("%s; the picture before it is repeated", what)
            return previous.rgb
        logger.warning("%s; it is left out", what)
        return None

    def _until_cut_short(self, slots: Iterator[LazyFrame]) -> Iterator[LazyFrame]:
        try:
            yield from slots
        except CutShortError as cut:
            what = f"{self.name}: frame {cut.index} is missing: {cut}; the frames before it are kept"
            self._bad[cut.index] = str(cut)
            if self.on_bad_frame == "stop":
                advice = "on_bad_frame 'skip' or 'repeat' takes this end for the video's end"
                raise BadFrameError(f"{what}; {advice}", index=cut.index) from cut
            logger.warning("%s", what)


def with_times(slots: Iterable[LazyFrame], *, fps: float | None, name: str) -> Iterator[LazyFrame]:
    """The slots themselves; raises InputError where `fps` would thin them by times that are made up."""
    for slot in slots:
        if fps is not None and not slot.timed:
            raise without_times(fps, name)
        yield slot


def without_times(fps: float | int, name: str) -> InputError:
    """The error where `fps` would thin frames by times that are made up."""
    return InputError(
        f"fps={fps:g} needs the frames' times, and {name} has none; "
        "give stride, or list the times (timestamps.txt beside the pictures)"
    )


def _check_same_size(name: str, previous: Frame | None, frame: Frame) -> None:
    if previous is None or previous.rgb.shape == frame.rgb.shape:
        return
    (height, width), (last_height, last_width) = frame.rgb.shape[:2], previous.rgb.shape[:2]
    raise BadFrameError(
        f"{name}: frame {frame.index} ({frame.name}) is {height}×{width} (height×width) where those before it are "
        f"{last_height}×{last_width}; bring the frames to one size first",
        index=frame.index,
    )


def _nothing_left(frames: SelectedFrames, chosen: int) -> str:
    if chosen:
        return f"{frames.name}: none of its {chosen} frames could be decoded ({frames.bad_frames[0][1]})"
    choice = frames.selection
    if choice.start:
        return f"{frames.name} has no frame from start={choice.start} on; give a smaller start"
    return f"{frames.name} holds no frame"
