"""Rerun: cameras, pictures, depth and points on a timeline, written frame by frame into one .rrd file.

    world                    the recording's axes: x right, y down, z forward; static
    world/camera             transform and pinhole of the frame
    world/camera/image       the picture, as JPEG
    world/camera/depth       along z, float16; 0 where there is none
    world/camera/confidence  0..255 for 0..1
    world/points             the frame's points
    world/path               from the camera before to this one
    confidence               mean of the frame

Timelines are `frame` (its number in the recording) and `time` (seconds since the first). The layout that goes with
the file lets points and path add up to the moment shown, as the viewer does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.export.cameras import Pinhole
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointChunk, PointSelection, select_points
from openloger.shapes import Float
from openloger.version import install_command

MAX_POINTS = 5_000_000
_JPEG_QUALITY = 88
_POINT_SIZE = 1.5  # pixels of the screen
_PATH_SIZE = 2.0
_PATH_RGB = (246, 140, 60)
_LARGEST_HALF = 65504.0


def write_rerun(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> int:
    """Gives the number of points. One frame is held at a time.

    Raises InputError where rerun-sdk is not installed, or `path` does not end in .rrd.
    """
    rr = _rerun()
    if path.suffix != ".rrd":
        raise InputError(f"{path.name} is no name for Rerun: end it in .rrd")
    cameras, intrinsics = recording.world_from_cam, recording.intrinsics
    times_s = np.asarray(recording.timestamps_s)
    count, before = 0, None
    with _stream(rr, path) as stream:
        stream.log("world", rr.ViewCoordinates.RDF, static=True)
        for chunk in select_points(recording, selection, progress=progress):
            frame = chunk.frame
            stream.set_time("frame", sequence=frame)
            stream.set_time("time", duration=float(times_s[frame] - times_s[0]))
            _log_camera(stream, rr, cameras[frame], intrinsics[frame], size=recording.depth(frame).shape)
            _log_pictures(stream, rr, recording, frame)
            _log_points(stream, rr, chunk)
            centre = cameras[frame][:3, 3]
            if before is not None:
                strip = np.stack([before, centre]).astype(np.float32)
                radius = rr.Radius.ui_points(_PATH_SIZE)
                stream.log("world/path", rr.LineStrips3D([strip], colors=[_PATH_RGB], radii=[radius]))
            before = centre
            count += len(chunk)
    return count


def _rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise InputError(f"Rerun files need the package rerun-sdk: {install_command('rerun')}") from error
    return rerun


@contextmanager
def _stream(rr: Any, path: Path) -> Iterator[Any]:
    """Writes behind the caller's back, and is done when the block is."""
    stream = rr.RecordingStream("openloger")
    stream.save(path, default_blueprint=_layout(rr))
    stream.send_recording_name(path.stem)
    try:
        yield stream
        stream.flush()
    finally:
        stream.disconnect()


def _log_camera(
    stream: Any, rr: Any, world_from_cam: Float[np.ndarray, "4 4"], intrinsics: Float[np.ndarray, "3 3"], *, size: Any
) -> None:
    height, width = size
    camera = Pinhole.from_matrix(intrinsics, height=height, width=width)
    transform = rr.Transform3D(translation=world_from_cam[:3, 3], mat3x3=world_from_cam[:3, :3])
    pinhole = rr.Pinhole(
        focal_length=(camera.fx, camera.fy),
        principal_point=(camera.cx, camera.cy),
        resolution=(width, height),
        camera_xyz=rr.ViewCoordinates.RDF,
    )
    stream.log("world/camera", transform, pinhole)


def _log_pictures(stream: Any, rr: Any, recording: Reconstruction, frame: int) -> None:
    depth, confidence = recording.depth(frame), recording.confidence(frame)
    known = np.isfinite(depth) & (depth > 0)
    stored = np.where(known, np.minimum(depth, _LARGEST_HALF), 0).astype(np.float16)
    grey = np.rint(255 * confidence).astype(np.uint8)
    stream.log("world/camera/image", rr.Image(recording.rgb(frame)).compress(jpeg_quality=_JPEG_QUALITY))
    stream.log("world/camera/depth", rr.DepthImage(stored, meter=1.0))
    stream.log("world/camera/confidence", rr.Image(grey).compress(jpeg_quality=_JPEG_QUALITY))
    stream.log("confidence", rr.Scalars(float(confidence[known].mean() if known.any() else 0.0)))


def _log_points(stream: Any, rr: Any, chunk: PointChunk) -> None:
    if len(chunk) == 0:
        return
    positions = chunk.points_world.astype(np.float32)
    radius = rr.Radius.ui_points(_POINT_SIZE)
    stream.log("world/points", rr.Points3D(positions, colors=chunk.rgb, radii=[radius]))


def _layout(rr: Any) -> Any:
    """Rerun's initial layout: the scene as it grows, beside image, depth and confidence."""
    import rerun.blueprint as rrb

    def so_far(timeline: str, **now: int | float) -> Any:
        start, end = rr.TimeRangeBoundary.infinite(), rr.TimeRangeBoundary.cursor_relative(**now)
        return rr.VisibleTimeRange(timeline, start=start, end=end)

    scene = rrb.Spatial3DView(
        origin="world",
        contents=["world/points", "world/path", "world/camera"],
        name="scene",
        time_ranges=[so_far("frame", seq=0), so_far("time", seconds=0.0)],
    )
    pictures = [
        rrb.Spatial2DView(origin="world/camera", contents=[f"world/camera/{name}"], name=name)
        for name in ("image", "depth", "confidence")
    ]
    mean = rrb.TimeSeriesView(origin="confidence", name="mean confidence")
    beside = rrb.Vertical(rrb.Tabs(*pictures), mean, row_shares=[2, 1])
    return rrb.Blueprint(rrb.Horizontal(scene, beside, column_shares=[2, 1]), collapse_panels=True)
