"""The interface that exporters read: an openloger recording, ground truth, or another tool's result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from openloger.geometry.earth import GeoOrigin
from openloger.shapes import Float, UInt8

Progress: TypeAlias = Callable[[int, int], None]  # (frames done, frames in all)


@runtime_checkable
class Reconstruction(Protocol):
    """Cameras of every frame at hand, pictures read one frame at a time. OpenCV axes, as in `openloger.geometry`."""

    @property
    def frame_count(self) -> int:
        """The number of frames that can be read."""
        ...

    @property
    def world_from_cam(self) -> Float[np.ndarray, "frame 4 4"]:
        """Rigid transforms; any unit of length."""
        ...

    @property
    def intrinsics(self) -> Float[np.ndarray, "frame 3 3"]:
        """Pixels at the size of `depth`, centre of pixel (row i, column j) at (j + 0.5, i + 0.5)."""
        ...

    @property
    def timestamps_s(self) -> Float[np.ndarray, " frame"]:
        """Seconds."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Each frame's name in the source."""
        ...

    def depth(self, frame: int, /) -> Float[np.ndarray, "height width"]:
        """Along z, in the unit of `world_from_cam`."""
        ...

    def confidence(self, frame: int, /) -> Float[np.ndarray, "height width"]:
        """0..1."""
        ...

    def rgb(self, frame: int, /) -> UInt8[np.ndarray, "height width 3"]:
        """SRGB, at the size of `depth`."""
        ...


@runtime_checkable
class Located(Protocol):
    """A reconstruction whose place, unit or gravity may be known."""

    @property
    def is_metric(self) -> bool:
        """Whether lengths are metres."""
        ...

    @property
    def origin(self) -> GeoOrigin | None:
        """Where on the earth the world has its origin (x east, y down, z north), where that is known."""
        ...


def no_progress(done: int, total: int) -> None:
    """The listener that does not listen."""
