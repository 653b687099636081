"""The values that travel between the subpackages: frames, their sources, and windows placed in the world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from openloger.geometry import SE3, Sim3
from openloger.shapes import Float32, Float64, Tensor, UInt8


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


@dataclass(frozen=True)
class Disagreement:
    """How far two placed windows are apart on the frames they share: a drift meter that needs no ground truth."""

    depth: float  # median relative difference
    rotation_deg: float  # median angle
    translation: float  # median distance of camera centres, world units


@dataclass(frozen=True)
class PlacedWindow:
    """A window's prediction in the world of the video."""

    number: int
    frames: tuple[Frame, ...]  # at the network's size
    world_from_cam: Float64[Tensor, "frame 4 4"]  # rigid, OpenCV axes
    points_cam: Float32[Tensor, "frame height width 3"]  # in world units
    confidence_logit: Float32[Tensor, "frame height width"]
    world_from_window: Sim3
    metric_scale: float | None  # metres per unit of the network, already applied
    disagreement: Disagreement | None  # with the previous window, on the frames they share
    final_count: int  # leading frames that are final; the overlap after them is re-estimated by the next window
    last: bool

    @property
    def depth(self) -> Float32[Tensor, "frame height width"]:
        """Along z, in world units."""
        return self.points_cam[..., 2]

    @property
    def confidence(self) -> Float32[Tensor, "frame height width"]:
        """0..1"""
        return self.confidence_logit.sigmoid()

    @property
    def points_world(self) -> Float32[Tensor, "frame height width 3"]:
        return SE3.from_matrix(self.world_from_cam.float()).apply(self.points_cam)
