"""The geometric camera: motion between frames from flow and depth; layers without weights.

`flow_features` of pictures and frozen feature maps, then `geometric_camera` of those, depth, intrinsics and the
regressed cameras. `flow_between` alone measures how far frames moved, before there is depth.
"""

from openloger.network.motion.camera import (
    CameraSettings,
    EdgeMotion,
    EdgeStatus,
    GeometricCameras,
    centred_intrinsics,
    geometric_camera,
    measure_motion,
)
from openloger.network.motion.flow import EdgeFlow, Edges, FlowFeatures, flow_between, flow_features
from openloger.network.motion.pose import Noise
from openloger.network.motion.window import WindowSettings

__all__ = [
    "CameraSettings",
    "EdgeFlow",
    "EdgeMotion",
    "EdgeStatus",
    "Edges",
    "FlowFeatures",
    "GeometricCameras",
    "Noise",
    "WindowSettings",
    "centred_intrinsics",
    "flow_between",
    "flow_features",
    "geometric_camera",
    "measure_motion",
]
