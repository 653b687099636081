"""The geometric camera: motion between frames from flow and depth; layers without weights.

`flow_features` of pictures and frozen feature maps, then `geometric_camera` of those, depth, intrinsics and the
regressed cameras. `MotionMeter` measures how far the picture moves, frame by frame, and `track_between` gives the
frames between two keyframes their cameras and depth.
"""

from openloger.network.motion.between import KeyframePair, TrackedFrames, track_between
from openloger.network.motion.camera import (
    CameraSettings,
    EdgeMotion,
    EdgeStatus,
    GeometricCameras,
    geometric_camera,
    measure_motion,
    readjusted,
)
from openloger.network.motion.flow import EdgeFlow, Edges, FlowFeatures, flow_between, flow_features
from openloger.network.motion.lens_shape import fisheye_error
from openloger.network.motion.plane_sweep import SweepSettings, plane_sweep
from openloger.network.motion.pose import Noise
from openloger.network.motion.tracking import MotionMeter
from openloger.network.motion.triangulation import (
    NeighbouringDepth,
    Triangulated,
    TriangulationSettings,
    measurement_weight,
    neighbouring_depth,
    triangulate,
)
from openloger.network.motion.window import FocalPrior, WindowSettings

__all__ = [
    "CameraSettings",
    "EdgeFlow",
    "EdgeMotion",
    "EdgeStatus",
    "Edges",
    "FlowFeatures",
    "FocalPrior",
    "GeometricCameras",
    "KeyframePair",
    "MotionMeter",
    "NeighbouringDepth",
    "Noise",
    "SweepSettings",
    "TrackedFrames",
    "Triangulated",
    "TriangulationSettings",
    "WindowSettings",
    "fisheye_error",
    "flow_between",
    "flow_features",
    "geometric_camera",
    "measure_motion",
    "measurement_weight",
    "neighbouring_depth",
    "plane_sweep",
    "readjusted",
    "track_between",
    "triangulate",
]
