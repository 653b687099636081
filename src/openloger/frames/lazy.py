"""Places in a source where a frame should be: known by number and time before any picture is made.

Every kind of source is a run of `LazyFrame`s. What to pass over is decided on them in one place (`selection.py`), and
what to do about a bad one in another (`selected.py`), so a frame that was not selected is never read or converted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from openloger.frames.selection import FrameStamp, Selection
from openloger.shapes import Bool, UInt8

NOMINAL_FPS = 30.0  # gives `timestamp_s` to pictures that come without times


class UndecodableError(Exception):
    """A picture that cannot be made from what its source holds; the text is the reason."""


class CutShortError(Exception):
    """The source ended before the end that it promised; `index` is the first frame that is missing."""

    def __init__(self, reason: str, *, index: int) -> None:
        super().__init__(reason)
        self.index = index


@dataclass(frozen=True)
class LazyFrame:
    """One frame that is still to be made."""

    index: int
    timestamp_s: float
    name: str
    load: Callable[[], UInt8[np.ndarray, "height width 3"]]  # raises UndecodableError
    timed: bool = True  # whether its time was measured, not made up from NOMINAL_FPS
    mask: Bool[np.ndarray, "height width"] | None = None  # as `Frame.mask`


@runtime_checkable
class LazyFrameSource(Protocol):
    """The interface of each kind of source; `SelectedFrames` makes a `FrameSource` of it."""

    @property
    def name(self) -> str:
        """The name used in messages."""
        ...

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        """The slots whose index is at least `first`, in order; raises CutShortError at an end that comes too early."""
        ...

    def outline(self, choice: Selection) -> Iterable[FrameStamp] | None:
        """All its places, at least up to `choice.stop`, without making a picture; None where they are not known.

        The times need only be true where `choice` uses them.
        """
        ...
