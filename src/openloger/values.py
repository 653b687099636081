"""The values that travel between the subpackages: frames, their sources, and windows placed in the world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from openloger.geometry import SE3, IntrinsicsFit, Sim3, fit_intrinsics, known_camera
from openloger.shapes import Bool, Float, Float32, Float64, Tensor, UInt8

HIDDEN_GREY = 127  # of 255, in every channel, stands in the place of what a mask hides
HIDDEN_LOGIT = -100.0  # of confidence there: its sigmoid is 0


@dataclass(frozen=True)
class Frame:
    """One picture of a video, upright and in sRGB."""

    rgb: UInt8[np.ndarray, "height width 3"]
    index: int  # in the source, strictly increasing, but for a rig's views; may skip where frames are strided or bad
    timestamp_s: float
    name: str
    source_size: tuple[int, int] | None = None  # (height, width) before it was resized; None: `rgb` has its own size
    mask: Bool[np.ndarray, "height width"] | None = None  # False: nothing of this pixel is used; None: all are

    @property
    def seen_rgb(self) -> UInt8[np.ndarray, "height width 3"]:
        """`rgb` with what the mask hides in one grey, which is all that the network gets of it."""
        if self.mask is None:
            return self.rgb
        seen = np.empty_like(self.rgb)
        for channel in range(3):  # a third of the time of all at once
            seen[..., channel] = np.where(self.mask, self.rgb[..., channel], np.uint8(HIDDEN_GREY))
        return seen

    @property
    def native_size(self) -> tuple[int, int]:
        """(height, width) of the source's picture, in pixels."""
        return self.source_size or (self.rgb.shape[0], self.rgb.shape[1])

    @property
    def pixel_aspect(self) -> float:
        """fx : fy of a camera with square pixels, as this frame has it; 1 where no resize stretched it."""
        (height, width), (native_height, native_width) = self.rgb.shape[:2], self.native_size
        return (width / native_width) / (height / native_height)


@runtime_checkable
class FrameSource(Protocol):
    """A lazily decoded run of frames; it never holds more than one frame."""

    @property
    def name(self) -> str:
        """The name used in messages and in a recording's `meta.json`."""
        ...

    @property
    def length(self) -> int | None:
        """The number of frames, where it is known before reading; None for a live source."""
        ...

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """The frames whose `index` is at least `first`, in order."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """All frames: `frames(0)`."""
        ...


@dataclass(frozen=True)
class Disagreement:
    """The difference of two placed windows on the frames they share: a drift meter that needs no ground truth."""

    depth: float  # median relative difference
    rotation_deg: float  # median angle
    translation: float  # median distance of camera centres, world units


@dataclass(frozen=True)
class PlacedWindow:
    """A window's prediction in the world of the video.

    Pixels that a mask hides have the point 0, so that their depth is 0, and confidence 0.
    """

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
    known_intrinsics: Float64[Tensor, "3 3"] | None = None  # of every frame, in pixels of `frames`; None: fitted
    predicted_focal_px: float | None = None  # of networks that predict one, even where it is known; in those pixels
    fisheye_error: float | None = None  # of its matches under a fisheye, by that under a pinhole; None: not judged
    place: Float[Tensor, " number"] | None = None  # descriptor of the first frame, whole to ±127; None: not at hand
    views: int = 1  # of a rig, frame by frame: those of one instant follow each other, and have one centre

    @property
    def first_view(self) -> PlacedWindow:
        """The frames of a rig's first view; otherwise all."""
        if self.views == 1:
            return self
        return replace(
            self,
            frames=self.frames[:: self.views],
            world_from_cam=self.world_from_cam[:: self.views],
            points_cam=self.points_cam[:: self.views],
            confidence_logit=self.confidence_logit[:: self.views],
            final_count=self.final_count // self.views,
            views=1,
        )

    @cached_property
    def camera(self) -> IntrinsicsFit:
        """Each frame's camera matrix, known or fitted to its points with the source's pixels held square."""
        points, confidence = self.points_cam.detach(), self.confidence.detach()
        if self.known_intrinsics is not None:
            return known_camera(points, self.known_intrinsics, confidence)
        return fit_intrinsics(points, confidence, pixel_aspect=self.frames[0].pixel_aspect)

    @property
    def intrinsics(self) -> Float[Tensor, "frame 3 3"]:
        """In pixels of `frames`, centres at + 0.5; computed when it, or `residual_px`, is first read."""
        return self.camera.intrinsics

    @property
    def residual_px(self) -> Float[Tensor, " frame"]:
        """The median distance in pixels by which intrinsics and depth miss the points; inf where nothing was fitted."""
        return self.camera.residual_px

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
