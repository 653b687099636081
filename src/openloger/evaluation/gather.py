"""Matches the estimated frames of a video to their ground truth by their number in the video.

Estimates come from a recording, or from placed windows as a stream gives them; either way one frame's pictures are
held at a time, and what is kept of a frame is its two cameras and a bounded number of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from openloger.datasets import FrameTruth, Truth, picture_size
from openloger.errors import InputError
from openloger.evaluation.cloud import Cloud
from openloger.evaluation.depth import MOST_PIXELS, DepthPairs, match_depth
from openloger.geometry import normals_from_points, scale_intrinsics, unproject
from openloger.recording import Recording
from openloger.shapes import Float32, Float64, Int, UInt8
from openloger.values import Disagreement, PlacedWindow

GLIMPSES = 6


@dataclass(frozen=True)
class GatherSettings:
    """Which values are compared, and how densely."""

    depth: bool = True  # where there is true depth
    depth_every: int = 1  # frames; 10: of every tenth frame that has a true camera
    depth_range: tuple[float, float] = (0.0, float("inf"))  # true depths outside are left out; world units
    depth_pixels: int = MOST_PIXELS  # of one frame, at most
    cloud_points: int = 0  # of one frame, in the clouds of both sides; 0: no clouds


@dataclass(frozen=True, eq=False)
class FrameImages:
    """An estimated frame's pictures."""

    rgb: UInt8[np.ndarray, "height width 3"]
    depth: Float32[np.ndarray, "height width"]
    confidence: Float32[np.ndarray, "height width"]
    points_cam: Float32[np.ndarray, "height width 3"]


@dataclass(frozen=True, eq=False)
class EstimatedFrame:
    """One frame of an estimate; its pictures are read on first use."""

    index: int  # in the video
    world_from_cam: Float64[np.ndarray, "4 4"]
    images: Callable[[], FrameImages]


@dataclass(frozen=True, eq=False)
class ExampleFrame:
    """A frame for the page of plots; the true depth is brought to the estimate's pixels, 0 for none."""

    index: int
    rgb: UInt8[np.ndarray, "height width 3"]
    estimated: Float32[np.ndarray, "height width"]
    truth: Float32[np.ndarray, "height width"]


@dataclass(frozen=True, eq=False)
class MatchedFrames:
    """All that the metrics need of one video."""

    frames: int  # estimated; of these those below have truth
    index: Int[np.ndarray, " matched"]
    estimated: Float64[np.ndarray, "matched 4 4"]
    truth: Float64[np.ndarray, "matched 4 4"]
    depth: tuple[DepthPairs, ...]
    disagreements: tuple[Disagreement, ...]
    estimated_cloud: Cloud | None  # in the estimate's world
    true_cloud: Cloud | None
    glimpses: tuple[ExampleFrame, ...]  # a few, from all over the video


def gather_recording(recording: Recording, truth: Truth, settings: GatherSettings | None = None) -> MatchedFrames:
    """A recording beside the truth of its video, by the frames' numbers in the source; of a rig its first view.

    Raises InputError where the recording has frames of which there can be no truth (another video, or it is cut).
    """
    windows = recording.windows
    disagreements = [window.disagreement for window in windows if window.disagreement is not None]
    return _gather(_recorded(recording), truth, settings or GatherSettings(), disagreements)


def gather_placed(
    placed: Iterable[PlacedWindow], truth: Truth, settings: GatherSettings | None = None
) -> MatchedFrames:
    """Placed windows as a stream gives them, beside the truth of the video; each is released once it was measured."""
    disagreements: list[Disagreement] = []
    return _gather(_placed(placed, disagreements), truth, settings or GatherSettings(), disagreements)


def _recorded(recording: Recording) -> Iterator[EstimatedFrame]:
    cameras, index = recording.world_from_cam, recording.source_index

    def images(number: int) -> FrameImages:
        depth, confidence = recording.depth(number), recording.confidence(number)
        return FrameImages(recording.rgb(number), depth, confidence, recording.points_cam(number))

    for number in recording.first_views:
        yield EstimatedFrame(int(index[number]), cameras[number], partial(images, number))


def _placed(placed: Iterable[PlacedWindow], disagreements: list[Any]) -> Iterator[EstimatedFrame]:
    for window in placed:
        if window.disagreement is not None:
            disagreements.append(window.disagreement)
        window = window.first_view
        cameras, images = window.world_from_cam.detach().double().cpu().numpy(), _WindowImages(window)
        for row in range(window.final_count):
            yield EstimatedFrame(window.frames[row].index, cameras[row], partial(images.of, row))


@dataclass(frozen=True, eq=False)
class _WindowImages:
    """The pictures of a placed window; its confidence is computed once, on first use."""

    window: PlacedWindow

    def of(self, row: int) -> FrameImages:
        points = self.window.points_cam[row].detach().float().cpu().numpy()
        depth = np.ascontiguousarray(points[..., 2])
        return FrameImages(self.window.frames[row].rgb, depth, self._confidence[row], points)

    @cached_property
    def _confidence(self) -> np.ndarray:
        return self.window.confidence.detach().float().cpu().numpy()


@dataclass
class _Kept:
    """Accumulates the matched values while frames are read."""

    index: list[int] = field(default_factory=list)
    estimated: list[np.ndarray] = field(default_factory=list)
    truth: list[np.ndarray] = field(default_factory=list)
    depth: list[DepthPairs] = field(default_factory=list)
    estimated_clouds: list[Cloud] = field(default_factory=list)
    true_clouds: list[Cloud] = field(default_factory=list)
    glimpses: list[ExampleFrame] = field(default_factory=list)
    glimpse_every: int = 1


def _gather(
    frames: Iterable[EstimatedFrame], truth: Truth, settings: GatherSettings, disagreements: list[Any]
) -> MatchedFrames:
    kept, count = _Kept(), 0
    for frame in frames:
        count += 1
        if truth.length is not None and frame.index >= truth.length:
            raise InputError(
                f"the estimate has frame {frame.index} of the video, and {truth.name} has frames 0 to "
                f"{truth.length - 1}: lengths do not match; is it the truth of this video?"
            )
        camera = truth.world_from_cam(frame.index)
        if camera is not None:
            kept.index.append(frame.index)
            kept.estimated.append(frame.world_from_cam)
            kept.truth.append(camera)
            if settings.depth and (len(kept.index) - 1) % settings.depth_every == 0:
                _keep_depth(kept, frame, truth[frame.index], settings)
    return MatchedFrames(
        frames=count,
        index=np.array(kept.index, dtype=np.int64),
        estimated=np.array(kept.estimated, dtype=np.float64).reshape(-1, 4, 4),
        truth=np.array(kept.truth, dtype=np.float64).reshape(-1, 4, 4),
        depth=tuple(kept.depth),
        disagreements=tuple(disagreements),
        estimated_cloud=_joined(kept.estimated_clouds),
        true_cloud=_joined(kept.true_clouds),
        glimpses=tuple(kept.glimpses),
    )


def _keep_depth(kept: _Kept, frame: EstimatedFrame, true: FrameTruth, settings: GatherSettings) -> None:
    depth = true.depth
    if depth is None:
        return
    seen = frame.images()
    kept.depth.append(
        match_depth(
            seen.depth,
            depth,
            valid=true.valid,
            confidence=seen.confidence,
            nearest_and_farthest=settings.depth_range,
            most=settings.depth_pixels,
        )
    )
    _keep_glimpse(kept, frame.index, seen, np.where(true.valid, depth, 0) if true.valid is not None else depth)
    if settings.cloud_points:
        _keep_clouds(kept, frame, seen, true, settings)


def _keep_glimpse(kept: _Kept, index: int, seen: FrameImages, depth: np.ndarray) -> None:
    """Every n-th frame, where n doubles, and every second is let go, as often as there are too many."""
    if (len(kept.depth) - 1) % kept.glimpse_every:
        return
    kept.glimpses.append(ExampleFrame(index, seen.rgb, seen.depth, _at_size(depth, seen.depth.shape)))
    if len(kept.glimpses) > GLIMPSES:
        kept.glimpses = kept.glimpses[::2]
        kept.glimpse_every *= 2


def _at_size(depth: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The farthest known depth that falls into each pixel: so a sparse map stays visible; 0 where there is none."""
    row, column = np.nonzero(np.isfinite(depth) & (depth > 0))
    at = (row * size[0] // depth.shape[0], column * size[1] // depth.shape[1])
    found = np.zeros(size, dtype=np.float32)
    np.maximum.at(found, at, depth[row, column])
    return found


def _keep_clouds(
    kept: _Kept, frame: EstimatedFrame, seen: FrameImages, true: FrameTruth, settings: GatherSettings
) -> None:
    depth = true.depth
    if true.intrinsics is None or depth is None:
        raise InputError(f"clouds need the camera of frame {frame.index}; give intrinsics.txt, or no cloud points")
    near, far = settings.depth_range
    usable = (depth > near) & (depth <= far) if true.valid is None else true.valid & (depth > near) & (depth <= far)
    points = _true_points(depth, true.intrinsics, picture_size(true))
    kept.true_clouds.append(_world_cloud(points, usable, kept.truth[-1], settings.cloud_points))
    finite = np.isfinite(seen.depth) & (seen.depth > 0)
    kept.estimated_clouds.append(_world_cloud(seen.points_cam, finite, frame.world_from_cam, settings.cloud_points))


def _true_points(depth: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = depth.shape
    scaled = scale_intrinsics(torch.from_numpy(intrinsics), from_size=size, to_size=(rows, columns))
    return unproject(torch.from_numpy(depth).double(), scaled).numpy()


def _world_cloud(points_cam: np.ndarray, usable: np.ndarray, world_from_cam: np.ndarray, most: int) -> Cloud:
    """At most so many of the usable points, evenly thinned, in the world; normals where all neighbours are usable."""
    masked = np.where(usable[..., None], points_cam, np.nan).astype(np.float64)
    normals = normals_from_points(torch.from_numpy(masked)).numpy()
    chosen = np.flatnonzero(usable)
    chosen = chosen[:: max(1, -(-len(chosen) // most))]
    rotation, translation = world_from_cam[:3, :3], world_from_cam[:3, 3]
    return Cloud(masked.reshape(-1, 3)[chosen] @ rotation.T + translation, normals.reshape(-1, 3)[chosen] @ rotation.T)


def _joined(clouds: list[Cloud]) -> Cloud | None:
    if not clouds:
        return None
    normals = [cloud.normals for cloud in clouds if cloud.normals is not None]
    return Cloud(np.concatenate([cloud.points for cloud in clouds]), np.concatenate(normals))
