"""Geometry: rigid motions, similarities, pinhole cameras, alignment and surfaces, as pure functions of tensors.

The conventions of the whole package, defined here once:

- Camera axes are OpenCV's: x right, y down, z forward. Depth is along z, not along the ray.
- A transform is named `a_from_b`: it takes coordinates in b to coordinates in a, and
  `world_from_cam @ cam_from_x` is `world_from_x`. Matrices act on column vectors.
- Pixel (row i, column j) has its centre at x = j + 0.5, y = i + 0.5, so the image spans 0 to width and 0 to height
  and intrinsics scale by plain factors when it is resized.
- Angles are in radians unless a name ends in `_deg`; lengths are in the unit of their frame; quaternions are wxyz.
- Functions are batched over leading axes, keep the dtype (float32 or float64) and device of their input, and never
  write into it. The batch axes of a transform or camera lead those of the points it is applied to.
"""

from openloger.geometry.alignment import (
    RobustSimilarity,
    ScaleMode,
    align_cameras,
    depth_scale,
    robust_similarity,
    umeyama,
    umeyama_upright,
)
from openloger.geometry.cameras import (
    IntrinsicsFit,
    centred_intrinsics,
    fit_intrinsics,
    intrinsics_matrix,
    known_camera,
    pixel_grid,
    project,
    scale_intrinsics,
    unproject,
    weighted_median,
)
from openloger.geometry.lens import LensFit, fit_lens
from openloger.geometry.pose_graph import PointAnchors, PoseGraphSolution, RelativeEdges, solve_pose_graph
from openloger.geometry.rotations import (
    axis_angle_from_rotation,
    nearest_rotation,
    quaternion_wxyz_from_rotation,
    rotation_angle,
    rotation_from_axis_angle,
    rotation_from_quaternion_wxyz,
)
from openloger.geometry.surfaces import depth_edges, normals_from_points
from openloger.geometry.transforms import SE3, Sim3

__all__ = [
    "SE3",
    "IntrinsicsFit",
    "LensFit",
    "PointAnchors",
    "PoseGraphSolution",
    "RelativeEdges",
    "RobustSimilarity",
    "ScaleMode",
    "Sim3",
    "align_cameras",
    "axis_angle_from_rotation",
    "centred_intrinsics",
    "depth_edges",
    "depth_scale",
    "fit_intrinsics",
    "fit_lens",
    "intrinsics_matrix",
    "known_camera",
    "nearest_rotation",
    "normals_from_points",
    "pixel_grid",
    "project",
    "quaternion_wxyz_from_rotation",
    "robust_similarity",
    "rotation_angle",
    "rotation_from_axis_angle",
    "rotation_from_quaternion_wxyz",
    "scale_intrinsics",
    "solve_pose_graph",
    "umeyama",
    "umeyama_upright",
    "unproject",
    "weighted_median",
]
