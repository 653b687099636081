"""A reconstruction in other programs' formats: clouds (PLY, LAS, splats), meshes, GLB, COLMAP,
nerfstudio, TUM and KITTI trajectories, USD, Rerun.

`export_recording` writes any of them; `select_points` returns the points themselves, a frame at a time. Exports keep
the recording's world (OpenCV axes: x right, y down, z forward, of the first window), except where a format fixes its
own axes (glb, usd); the module of the format describes them.
"""

from openloger.export.formats import FORMATS, Format, export_recording
from openloger.export.selection import PointChunk, PointSelection, select_points
from openloger.export.source_frames import SourceFrames

__all__ = ["FORMATS", "Format", "PointChunk", "PointSelection", "SourceFrames", "export_recording", "select_points"]
