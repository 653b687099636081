"""One moment of a recording: everything that a picture of it is drawn from, with the true path laid over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch

from openloger.errors import InputError
from openloger.geometry import umeyama
from openloger.recording import Recording
from openloger.shapes import Float64
from openloger.viewing.scene.cameras import Cameras
from openloger.viewing.scene.display import UPRIGHT, SceneLayout, Settings, in_heights, passing, place_of
from openloger.viewing.scene.overview import Overview, Snapshot
from openloger.viewing.scene.points import Points

_LEAST_BEND = 0.002  # of the path's extent, below which a correction is a similarity
TrueCameras: TypeAlias = Callable[[Recording], Float64[np.ndarray, "frame 4 4"]]
"""The true world_from_cam of each frame of a recording; NaN where it is not known."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """The true path in the recording's world."""

    path: Float64[np.ndarray, "frame 3"]  # NaN where it is not known
    error: float  # root mean square distance of the camera centres, in the truth's unit
    scale: float  # units of the recording in a unit of the truth
    matched: int  # frames


def overlay(
    world_from_cam: Float64[np.ndarray, "frame 4 4"], true_world_from_cam: Float64[np.ndarray, "frame 4 4"]
) -> Overlay:
    """Aligned by the similarity that fits the camera centres best.

    Raises InputError where fewer than three frames have a truth, or their centres lie on a line.
    """
    centres, true_centres = world_from_cam[:, :3, 3], true_world_from_cam[:, :3, 3]
    known = np.isfinite(true_centres).all(1)
    ours_from_true = umeyama(torch.from_numpy(true_centres[known]), torch.from_numpy(centres[known]))
    path = np.full(centres.shape, np.nan)
    path[known] = ours_from_true.apply(torch.from_numpy(true_centres[known])).numpy()
    scale = float(ours_from_true.scale)
    error = float(np.sqrt(np.square(path[known] - centres[known]).sum(1).mean())) / scale
    return Overlay(path, error, scale, int(known.sum()))


@dataclass(frozen=True, eq=False)
class SceneSnapshot:
    """Cloud, cameras, place, and the true path where there is one."""

    snapshot: Snapshot
    cameras: Cameras
    place: SceneLayout
    overlay: Overlay | None = None
    recorded_path: Float64[np.ndarray, "frame 3"] | None = None  # without the correction, where one bends the path
    loops: tuple[tuple[int, int], ...] = ()  # frames that a correction brought together

    @property
    def last(self) -> int:
        """The last frame's number; 0 of none."""
        return max(len(self.cameras) - 1, 0)

    @property
    def true_path(self) -> Float64[np.ndarray, "frame 3"] | None:
        return None if self.overlay is None else self.overlay.path


def snapshot_of(recording: Recording, snapshot: Snapshot, overlay: Overlay | None = None) -> SceneSnapshot:
    """With the cameras of the snapshot's frames."""
    count = snapshot.frame_count
    world_from_cam = recording.world_from_cam[:count]
    size = (recording.meta.height, recording.meta.width)
    up = UPRIGHT if recording.is_upright else None
    cameras = Cameras(world_from_cam, recording.intrinsics[:count], snapshot.frame_confidence, size)
    return SceneSnapshot(
        snapshot,
        cameras,
        place_of(snapshot, world_from_cam, up=up),
        overlay,
        recorded_path=_recorded_path(recording, world_from_cam[:, :3, 3]),
        loops=tuple(pair for pair in _loops(recording) if max(pair) < count),
    )


def _recorded_path(
    recording: Recording, centres: Float64[np.ndarray, "frame 3"]
) -> Float64[np.ndarray, "frame 3"] | None:
    """The cameras as they were recorded, moved as the correction moves the first one; None where it moves all alike."""
    if recording.correction is None or len(centres) == 0:
        return None
    corrected_from_recorded = recording.correction.of_frames(len(centres), views=recording.views)
    recorded = corrected_from_recorded.inverse().apply(torch.from_numpy(centres.copy()))
    path = corrected_from_recorded[:1].apply(recorded).numpy()
    extent = float(np.linalg.norm(np.ptp(centres, axis=0)))
    return path if np.linalg.norm(path - centres, axis=1).max() > _LEAST_BEND * extent else None


def _loops(recording: Recording) -> list[tuple[int, int]]:
    steps = () if recording.correction is None else recording.correction.steps
    found = [pair for step in steps for pair in step.details.get("closures", ())]
    return [(int(first), int(second)) for first, second in (pair[:2] for pair in found)]


def closures(scene: SceneSnapshot) -> Float64[np.ndarray, "loop 2 3"] | None:
    """From camera to camera of each loop; None where there is none."""
    if not scene.loops:
        return None
    return scene.cameras.world_from_cam[np.array(scene.loops)][:, :, :3, 3]


def load_snapshot(recording: Recording, *, budget: int, overlay: Overlay | None = None) -> SceneSnapshot:
    """Once everything is read.

    Raises InputError where there is no frame yet, and RecordingError where the disk does not hold them.
    """
    if len(recording) == 0:
        raise InputError(f"{recording.path} has no frames yet: nothing to show")
    overview = Overview(recording, budget=budget)
    while overview.step():
        pass
    return snapshot_of(recording, overview.snapshot(), overlay)


def visible_points(points: Points, settings: Settings, place: SceneLayout) -> Points:
    """The points that settings and time let through."""
    passes = passing(points, settings, place.scale) & in_heights(points, settings, place)
    if settings.extent == "up to now":
        passes &= points.frame <= settings.frame
    if settings.extent == "this frame":
        passes &= points.frame == settings.frame
    return points[passes]


def with_points(scene: SceneSnapshot, points: Points, *, edge: float) -> SceneSnapshot:
    """The same with other points, in any order."""
    ordered = points[np.argsort(points.frame, kind="stable")]
    return replace(scene, snapshot=replace(scene.snapshot, points=ordered, edge=edge))
