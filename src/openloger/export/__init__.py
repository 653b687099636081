"""A reconstruction in other programs' formats: PLY, GLB, COLMAP, nerfstudio, TUM and KITTI trajectories, USD, Rerun.

`export` writes any of them; `select_points` gives the points themselves, a frame at a time. What is written keeps the
recording's world (OpenCV axes: x right, y down, z forward, of the first window), except where a format fixes
its own axes (glb, usd), and says so in its module.
"""

from openloger.export.formats import FORMATS, Format, export
from openloger.export.selection import PointChunk, PointSelection, select_points

__all__ = ["FORMATS", "Format", "PointChunk", "PointSelection", "export", "select_points"]
