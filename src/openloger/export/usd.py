"""USD: an animated camera and the cloud, for Blender, Houdini, Omniverse and their like.

    /reconstruction          up is y, as in `glb.py`: turned by Y_UP; metersPerUnit is 1 where the scale is known
    /reconstruction/camera   one time sample a frame; looks along -z, y up, as USD's cameras do
    /reconstruction/points   coloured points

Aperture and focal length describe a film 36 mm wide in USD's tenths of a unit: focal = fx · 0.36 / width. Pixels that
are not square give the film another height; a principal point off the centre gives it offsets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.export.cameras import Y_UP, Pinhole
from openloger.export.clouds import ColouredCloud, gather
from openloger.export.colours import linear_from_srgb
from openloger.export.reconstruction import Located, Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, selected_frames
from openloger.shapes import Float
from openloger.version import install_command

MAX_POINTS = 2_000_000
_FILM_WIDTH = 0.36  # tenths of a unit: 36 mm
_POINT_WIDTH = 0.004  # of the median depth: about two pixels of a 500-pixel picture
_CLIPPING = (1e-3, 1e6)
_FALLBACK_FPS = 24.0  # of a single frame, or timestamps that stand still


def write_usd(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> int:
    """Gives the number of points.

    Raises InputError where usd-core is not installed, or `path` does not end in .usd, .usda or .usdc.
    """
    _, Usd, UsdGeom, _ = _pxr()
    if path.suffix not in (".usd", ".usda", ".usdc"):
        raise InputError(f"{path.name} is no name for USD: end it in .usdc, .usda or .usd")
    cloud = gather(recording, selection, progress=progress)
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    if isinstance(recording, Located) and recording.is_metric:
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/reconstruction").GetPrim())
    _add_camera(stage, recording, list(selected_frames(recording, selection)))
    if len(cloud.rgb):
        _add_points(stage, cloud)
    stage.GetRootLayer().Save()
    return len(cloud.rgb)


def _pxr() -> tuple[Any, Any, Any, Any]:
    try:
        from pxr import Gf, Usd, UsdGeom, Vt
    except ImportError as error:
        raise InputError(f"USD needs the package usd-core: {install_command('usd')}") from error
    return Gf, Usd, UsdGeom, Vt


def _add_camera(stage: Any, recording: Reconstruction, frames: list[int]) -> None:
    Gf, _, UsdGeom, _ = _pxr()

    fps, time_codes = _time_codes(np.asarray(recording.timestamps_s)[frames])
    stage.SetTimeCodesPerSecond(fps)
    stage.SetFramesPerSecond(fps)
    stage.SetStartTimeCode(time_codes[0])
    stage.SetEndTimeCode(time_codes[-1])
    camera = UsdGeom.Camera.Define(stage, "/reconstruction/camera")
    place = camera.AddTransformOp()
    height, width = recording.depth(0).shape
    world_from_gl_cam = Y_UP @ recording.world_from_cam[frames] @ Y_UP
    intrinsics = recording.intrinsics[frames]
    for time_code, transform, matrix in zip(time_codes, world_from_gl_cam, intrinsics, strict=True):
        place.Set(Gf.Matrix4d(*transform.T.ravel().tolist()), time_code)  # USD multiplies row vectors
        for name, value in _film(Pinhole.from_matrix(matrix, height=height, width=width)).items():
            camera.GetPrim().GetAttribute(name).Set(value, time_code)
    camera.CreateClippingRangeAttr(Gf.Vec2f(*_CLIPPING))


def _film(camera: Pinhole) -> dict[str, float]:
    """USD's attributes; offsets move the film's centre right and up from the optical axis."""
    per_pixel = _FILM_WIDTH / camera.width
    focal = camera.fx * per_pixel
    per_row = focal / camera.fy
    return {
        "focalLength": focal,
        "horizontalAperture": _FILM_WIDTH,
        "verticalAperture": camera.height * per_row,
        "horizontalApertureOffset": (camera.width / 2 - camera.cx) * per_pixel,
        "verticalApertureOffset": (camera.cy - camera.height / 2) * per_row,
    }


def _add_points(stage: Any, cloud: ColouredCloud) -> None:
    _, _, UsdGeom, Vt = _pxr()

    points = UsdGeom.Points.Define(stage, "/reconstruction/points")
    positions = cloud.points_world * np.diag(Y_UP)[:3].astype(np.float32)
    points.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(positions))
    colours = Vt.Vec3fArray.FromNumpy(linear_from_srgb(cloud.rgb))
    points.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(colours)
    points.CreateWidthsAttr([_POINT_WIDTH * cloud.depth_median])
    points.SetWidthsInterpolation(UsdGeom.Tokens.constant)
    points.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([positions.min(0), positions.max(0)])))


def _time_codes(timestamps_s: Float[np.ndarray, " frame"]) -> tuple[float, list[float]]:
    """Frames a second, and each frame's time in them: 0, 1, 2, ... where frames come evenly."""
    steps = np.diff(timestamps_s)
    if len(steps) == 0 or not (steps > 0).all():
        return _FALLBACK_FPS, [float(number) for number in range(len(timestamps_s))]
    fps = float(1 / np.median(steps))
    return fps, np.round((timestamps_s - timestamps_s[0]) * fps, 6).tolist()
