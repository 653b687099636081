"""Scale, gravity and place of a recording, measured from outside, and closed loops; applied by `openloger.recording`.

recording = open_recording("walk")
apply(recording, close_loops(recording))
apply(recording, align_by_gps(recording, Path("walk.gpx")))
"""

from openloger.corrections.apply import apply, undo
from openloger.corrections.gravity import align_up, find_gravity
from openloger.corrections.lengths import (
    KnownDistance,
    PicturePoint,
    align_by_camera_height,
    align_by_depth,
    align_by_distances,
)
from openloger.corrections.loops import close_loops
from openloger.corrections.result import Alignment
from openloger.corrections.tracks import align_by_gps, align_by_poses

__all__ = [
    "Alignment",
    "KnownDistance",
    "PicturePoint",
    "align_by_camera_height",
    "align_by_depth",
    "align_by_distances",
    "align_by_gps",
    "align_by_poses",
    "align_up",
    "apply",
    "close_loops",
    "find_gravity",
    "undo",
]
