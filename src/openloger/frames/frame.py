"""A frame and where frames come from: the values that the rest of the house meets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from openloger.shapes import UInt8


@dataclass(frozen=True)
class Frame:
    """One picture of a video, upright and in sRGB."""

    rgb: UInt8[np.ndarray, "height width 3"]
    index: int  # its number in the source, strictly increasing; not contiguous where frames are strided or skipped
    timestamp_s: float
    name: str


@runtime_checkable
class FrameSource(Protocol):
    """A lazily decoded run of frames; it never holds more than it was asked for."""

    @property
    def name(self) -> str:
        """What messages and a recording's `meta.json` call it."""
        ...

    @property
    def length(self) -> int | None:
        """How many frames it will give, where that is known before reading; None for a live source."""
        ...

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """The frames whose `index` is at least `first`, in order."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """All frames: `frames(0)`."""
        ...
