"""LAS and LAZ: the cloud for survey and GIS programs, with colour and the time of its frame.

Point format 7 of LAS 1.4. Coordinates are stood upright (z up: x right, y forward, z up of the recording's world) and
kept as whole steps of a ten-thousandth of the scene's middle depth, at most a millimetre in metres; intensity is
confidence, gps_time the frame's time in seconds. Where the recording was aligned to GPS, coordinates are those of its
UTM zone, and the file names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.export.clouds import depth_median
from openloger.export.reconstruction import Located, Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, select_points
from openloger.geometry.earth import GeoOrigin
from openloger.shapes import Float
from openloger.version import install_command

MAX_POINTS = 20_000_000
POINT_FORMAT = 7  # colour and time
Z_UP: Float[np.ndarray, "3 3"] = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # from x right, y down, z forward
_STEPS_A_DEPTH = 10_000
_COARSEST = 1e-3


def write_las(
    recording: Reconstruction,
    path: Path,
    *,
    selection: PointSelection,
    compressed: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Gives the number of points, which are written a frame at a time.

    Raises InputError where laspy is not installed, or the scene is too large for 32-bit steps.
    """
    laspy = _laspy()
    times_s, world_from_cam = np.asarray(recording.timestamps_s), recording.world_from_cam
    origin = recording.origin if isinstance(recording, Located) else None
    writer: Any = None
    count = 0
    try:
        for chunk in select_points(recording, selection, progress=progress):
            if not len(chunk):
                continue
            points = chunk.points_world @ Z_UP.T if origin is None else origin.utm_from_world(chunk.points_world)
            if writer is None:
                step = min(_COARSEST, depth_median(chunk, world_from_cam[chunk.frame]) / _STEPS_A_DEPTH)
                header = _header(laspy, step=step, origin=origin, first=points[0])
                writer = laspy.open(str(path), mode="w", header=header, do_compress=compressed)
            columns, rows = (chunk.pixels_xy - 0.5).astype(np.int64).T
            confidence = recording.confidence(chunk.frame)[rows, columns]
            record = laspy.ScaleAwarePointRecord.zeros(len(chunk), header=writer.header)
            if np.abs(points - writer.header.offsets).max() / writer.header.scales[0] >= 2**31:
                raise InputError(f"the scene reaches {np.abs(points).max():.3g} far, too far for LAS; export ply")
            record.x, record.y, record.z = points.T
            record.red, record.green, record.blue = chunk.rgb.T.astype(np.uint16) * 257
            record.intensity = (confidence * 65535).astype(np.uint16)
            record.gps_time = np.full(len(chunk), times_s[chunk.frame])
            record.return_number = record.number_of_returns = np.ones(len(chunk), np.uint8)
            writer.write_points(record)
            count += len(chunk)
    finally:
        if writer is not None:
            writer.close()
    return count


def _header(laspy: Any, *, step: float, origin: GeoOrigin | None, first: Float[np.ndarray, " 3"]) -> Any:
    header = laspy.LasHeader(point_format=POINT_FORMAT, version="1.4")
    header.scales, header.offsets = np.full(3, step), np.zeros(3)
    if origin is not None:
        header.offsets = np.floor(first)
        header.add_crs(origin.utm)
    header.generating_software = "openloger"
    return header


def _laspy() -> Any:
    try:
        import laspy
    except ImportError as error:
        raise InputError(f"LAS needs the package laspy: {install_command('las')}") from error
    return laspy
