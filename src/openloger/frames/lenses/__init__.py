"""Lenses: a camera as text or from a calibration file, and frames undistorted by it while they stream.

camera = read_camera("opencv_fisheye:600,600,960,540,0.1,0,0,0")
for frame in undistorted(open_frames("ride.mp4"), camera):
    ...
"""

from openloger.frames.lenses.spec import read_camera
from openloger.frames.lenses.undistort import undistorted

__all__ = ["read_camera", "undistorted"]
