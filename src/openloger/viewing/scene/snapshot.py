"""One moment of a recording: everything that a picture of it is drawn from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openloger.errors import InputError
from openloger.recording import Recording
from openloger.shapes import Float64
from openloger.viewing.scene.cameras import Cameras
from openloger.viewing.scene.display import SceneLayout, Settings, in_heights, passing, place_of
from openloger.viewing.scene.overview import Overview, Snapshot
from openloger.viewing.scene.points import Points
from openloger.viewing.scene.truth import Overlay


@dataclass(frozen=True, eq=False)
class SceneSnapshot:
    """Cloud, cameras, place, and the true path where there is one."""

    snapshot: Snapshot
    cameras: Cameras
    place: SceneLayout
    overlay: Overlay | None = None

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
    cameras = Cameras(world_from_cam, recording.intrinsics[:count], snapshot.frame_confidence, size)
    return SceneSnapshot(snapshot, cameras, place_of(snapshot, world_from_cam), overlay)


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
