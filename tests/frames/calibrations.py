"""Calibrations as Kalibr and OpenCV write them."""

from __future__ import annotations

KALIBR = """cam0:
  camera_model: pinhole
  intrinsics: [460.0, 459.0, 367.0, 248.0]
  distortion_model: {model}
  distortion_coeffs: [-0.28, 0.07, 0.0002, 0.00002]
  resolution: [752, 480]
"""
OPENCV = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 319.5, 0., 501., 239.5, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.1, 0.02, 0.001, 0.002, 0.003 ]
"""
