"""Scale and frame of a world from a measured path: GPS fixes, or poses of another system.

One similarity fits most of the path (`robust_similarity`), whatever its outliers. Where the path is straight, or has no
heights, the rotation about it (or out of the plane) stays free: gravity as the cameras and surfaces show it decides
that, and the result says so. With `drift`, a pose graph bends the path: nodes along it keep their relative motion
within a few per cent, and are drawn to the measured places as far as these are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openloger.corrections.gps_files import GpsFixes, read_fixes, seconds_of
from openloger.corrections.gravity import find_gravity, upright_from_world
from openloger.corrections.pose_files import MeasuredPoses, read_poses
from openloger.corrections.result import Alignment, batched, check_frames, check_unit, metres_per_unit
from openloger.errors import InputError
from openloger.frames.lenses.undistort import panorama_name
from openloger.frames.times import in_seconds
from openloger.frames.video import creation_time_s
from openloger.geometry import (
    PointAnchors,
    RelativeEdges,
    Sim3,
    align_cameras,
    robust_similarity,
    solve_pose_graph,
    umeyama,
)
from openloger.geometry.earth import GeoOrigin
from openloger.recording import CorrectionStep, Recording
from openloger.shapes import Bool, Float64

LEAST_FIXES = 4
_FEW_WITHOUT_HEIGHT = 0.2  # of the fixes
_LEAST_AGREEING = 0.5
_MOST_RESIDUAL = 0.25  # of the path's extent
_WIDE = 3.0  # residuals: the least extent that a path must have across, to decide a rotation about itself
_NODES = 200
_ANCHORS = 2000
_EDGE_SIGMA = (0.03, np.deg2rad(0.5), 0.02)  # from node to node: of the step's length, radians, logarithm of scale
_CLOCK_RANGE_S, _CLOCK_STEP_S = 3.0, 0.25
_CLOCK_GAIN = 0.8


@dataclass(frozen=True, eq=False)
class Track:
    """Camera centres of a recording, and where they were measured to be, y down where `is_upright`."""

    frames: Float64[np.ndarray, " place"]  # numbers of the recording, between frames too
    estimated: Float64[np.ndarray, "place 3"]
    measured: Float64[np.ndarray, "place 3"]
    is_upright: bool  # whether the measured world's y is down along gravity
    has_heights: bool


def align_by_gps(recording: Recording, path: Path, *, start: str | None = None, drift: bool = False) -> Alignment:
    """Metres, and a world that is east, down, north of a fix, from a GPX or CSV track or the EXIF of pictures.

    `start` is the track's time at the first frame: a date, or seconds of its clock. By default it is that of the
    video's metadata, whose last seconds are refined by the fit. Pictures go by their names where these are frames', and
    else by GPS's own time in their EXIF.

    Raises InputError where fewer than four fixes fall into the recording, the clocks do not meet, or the two paths do
    not have the same shape.
    """
    check_frames(recording)
    fixes, notes = _with_heights(read_fixes(path))
    has_heights = bool(np.isfinite(fixes.altitude_m).all())
    altitude = fixes.altitude_m if has_heights else np.zeros(len(fixes))
    middle = _middle_fix(fixes)
    origin = GeoOrigin(float(fixes.latitude_deg[middle]), float(fixes.longitude_deg[middle]), float(altitude[middle]))
    measured = origin.world_from_geodetic(fixes.latitude_deg, fixes.longitude_deg, altitude)
    if fixes.names is not None and (fixes.time_s is None or _shares_names(recording, fixes.names)):
        frames, rows = _by_name(recording, fixes)
        track = Track(frames, _centres_at(recording, frames), measured[rows], True, has_heights)
    else:
        track = _by_time(recording, fixes, measured, start, has_heights, notes)
    fitted = _fit(recording, track, method="gps", source=path, drift=drift, notes=notes)
    details = {**fitted.step.details, "gps": str(path)}
    return replace(fitted, step=replace(fitted.step, origin=origin, details=details))


def align_by_poses(
    recording: Recording, path: Path, *, unit: str | None = None, start: str | None = None, drift: bool = False
) -> Alignment:
    """Scale and frame of another system's poses: TUM (timed), KITTI (a row a frame), or JSON of ARKit's kind.

    `unit` is one of `UNITS_M` or a number of metres; by default metres, which is refused where it makes the scene
    absurdly large or small. `start` is the poses' time at the first frame.

    Raises InputError as `align_by_gps` does, and where the poses do not move.
    """
    check_frames(recording)
    poses = read_poses(path)
    factor = 1.0 if unit is None else metres_per_unit(unit)
    frames, cameras = _poses_of_frames(recording, poses, start)
    if len(frames) < LEAST_FIXES:
        raise InputError(f"{path}: {len(frames)} of its poses belong to frames; {LEAST_FIXES} are needed")
    cameras = cameras.copy()
    cameras[:, :3, 3] *= factor
    estimated = recording.world_from_cam[frames]
    track = Track(frames.astype(np.float64), estimated[:, :3, 3], cameras[:, :3, 3], poses.is_upright, True)
    fitted = _fit(recording, track, method="poses", source=path, drift=drift, notes=[], oriented=(estimated, cameras))
    check_unit(recording, fitted.scale, unit=unit, option="--unit", source=path)
    details = {**fitted.step.details, "poses": str(path), "unit": unit}
    return replace(fitted, step=replace(fitted.step, details=details))


def _poses_of_frames(
    recording: Recording, poses: MeasuredPoses, start: str | None
) -> tuple[np.ndarray, Float64[np.ndarray, "frame 4 4"]]:
    """Frames of the recording that have a pose, and it."""
    if not np.isfinite(poses.world_from_cam).all((1, 2)).any():
        raise InputError(f"{poses.path} holds no pose of finite numbers; give the cameras' true poses")
    first_views = np.arange(len(recording)) % recording.views == 0  # poses are a panorama's, as are theirs
    if poses.time_s is None:
        index = recording.source_index
        known = np.flatnonzero((index < len(poses.world_from_cam)) & first_views)
        cameras = poses.world_from_cam[index[known]]
        finite = np.isfinite(cameras).all((1, 2))
        return known[finite], cameras[finite]
    times_s, _ = _track_times(recording, poses.time_s, poses.is_dated, start, poses.path)
    cameras, known = poses.at(times_s)
    known &= first_views
    if not known.any():
        raise InputError(_two_clocks(poses.path, poses.time_s, times_s))
    return np.flatnonzero(known), cameras[known]


def _with_heights(fixes: GpsFixes) -> tuple[GpsFixes, list[str]]:
    """Without the few fixes that have no altitude, where nearly all have one; and a note about what is not used."""
    known = np.isfinite(fixes.altitude_m)
    missing = int((~known).sum())
    if missing in (0, len(fixes)):
        return fixes, []
    if missing > _FEW_WITHOUT_HEIGHT * len(fixes):
        return fixes, [f"{missing} of {len(fixes)} fixes have no altitude, so that heights are not used"]
    return fixes.at(known), [f"{missing} of {len(fixes)} fixes have no altitude and are left out"]


def _middle_fix(fixes: GpsFixes) -> int:
    """The fix that is next to the median place: the first may be an outlier, on the other side of the earth."""
    along = np.cos(np.deg2rad(fixes.latitude_deg))
    turned = np.deg2rad(fixes.longitude_deg)
    places = np.stack([along * np.cos(turned), along * np.sin(turned), np.sin(np.deg2rad(fixes.latitude_deg))], 1)
    return int(np.linalg.norm(places - np.median(places, axis=0), axis=1).argmin())


def _shares_names(recording: Recording, names: tuple[str, ...]) -> bool:
    """Whether any picture of a track has a frame's name."""
    return not _frames_by_name(recording).keys().isdisjoint(names)


def _frames_by_name(recording: Recording) -> dict[str, int]:
    """The frame of each of the source's pictures; of a panorama, its first view's."""
    names = recording.names
    if recording.views == 1:
        return {Path(name).name: number for number, name in enumerate(names)}
    return {Path(panorama_name(names[number], 0)).name: number for number in recording.first_views}


def _by_name(recording: Recording, fixes: GpsFixes) -> tuple[Float64[np.ndarray, " place"], np.ndarray]:
    assert fixes.names is not None
    by_name = _frames_by_name(recording)
    rows = [row for row, name in enumerate(fixes.names) if name in by_name]
    if len(rows) < LEAST_FIXES:
        raise InputError(
            f"{fixes.path}: {len(rows)} of its {len(fixes)} fixes have the name of a frame; {LEAST_FIXES} are needed"
        )
    return np.array([float(by_name[fixes.names[row]]) for row in rows]), np.array(rows)


def _by_time(
    recording: Recording,
    fixes: GpsFixes,
    measured: Float64[np.ndarray, "fix 3"],
    start: str | None,
    has_heights: bool,
    notes: list[str],
) -> Track:
    assert fixes.time_s is not None
    times_s, is_rough = _track_times(recording, fixes.time_s, fixes.is_dated, start, fixes.path)
    inside = (fixes.time_s >= times_s[0]) & (fixes.time_s <= times_s[-1])
    if not inside.any():
        raise InputError(_two_clocks(fixes.path, fixes.time_s, times_s))
    if inside.sum() < LEAST_FIXES:
        raise InputError(
            f"{fixes.path}: {int(inside.sum())} of its fixes fall into the recording; {LEAST_FIXES} are needed, and "
            "the more the better"
        )
    if is_rough:
        late_s = _refined_clock(recording, times_s, fixes.time_s[inside], measured[inside])
        if late_s:
            notes.append(f"the track's clock was moved by {late_s:+.2f} s, where the paths agree best")
            times_s = times_s + late_s
            inside = (fixes.time_s >= times_s[0]) & (fixes.time_s <= times_s[-1])
    frames = np.interp(fixes.time_s[inside], times_s, np.arange(len(times_s), dtype=np.float64))
    return Track(frames, _centres_at(recording, frames), measured[inside], True, has_heights)


def _track_times(
    recording: Recording, given_s: Float64[np.ndarray, " given"], is_dated: bool, start: str | None, path: Path
) -> tuple[Float64[np.ndarray, " frame"], bool]:
    """Each frame's time on the clock of a track, and whether it is no better than the video's metadata."""
    times_s = recording.timestamps_s
    if start is not None:
        try:
            begin_s, _ = seconds_of(start)
        except ValueError:
            raise InputError(f"start {start!r} is neither a date (2026-05-01T10:00:00Z) nor seconds") from None
        begin_s = float(in_seconds(np.array([begin_s]), f"start {start}")[0])
        return times_s - times_s[0] + begin_s, False
    if given_s[-1] >= times_s[0] and given_s[0] <= times_s[-1]:
        return times_s, False
    if is_dated:
        created_s = creation_time_s(Path(recording.meta.source))
        if created_s is not None:
            return times_s + created_s, True
    raise InputError(
        f"{_two_clocks(path, given_s, times_s)}, and {recording.meta.source} does not say when it was recorded: give "
        "--start, the track's time at the first frame"
    )


def _two_clocks(path: Path, given_s: np.ndarray, times_s: np.ndarray) -> str:
    return (
        f"{path}: its times are {given_s[0]:.3f} to {given_s[-1]:.3f} s, the frames' {times_s[0]:.3f} to "
        f"{times_s[-1]:.3f} s; they do not overlap"
    )


def _refined_clock(recording: Recording, times_s: np.ndarray, fix_s: np.ndarray, measured: np.ndarray) -> float:
    """Seconds by which the frames are later, where that fits clearly better; else 0."""
    centres, target = recording.world_from_cam[:, :3, 3], torch.from_numpy(measured.copy())

    def middle_distance(late_s: float) -> float:
        at = np.stack([np.interp(fix_s, times_s + late_s, axis) for axis in centres.T], 1)
        source = torch.from_numpy(at)
        try:
            moved = umeyama(source, target)
        except InputError:
            return float("inf")
        return float((moved.apply(source) - target).norm(dim=-1).median())

    tried = np.arange(-_CLOCK_RANGE_S, _CLOCK_RANGE_S + _CLOCK_STEP_S / 2, _CLOCK_STEP_S)
    found = [middle_distance(float(late_s)) for late_s in tried]
    best = int(np.argmin(found))
    return float(tried[best]) if found[best] < _CLOCK_GAIN * middle_distance(0.0) else 0.0


def _centres_at(recording: Recording, frames: Float64[np.ndarray, " place"]) -> Float64[np.ndarray, "place 3"]:
    centres = recording.world_from_cam[:, :3, 3]
    return np.stack([np.interp(frames, np.arange(len(centres)), axis) for axis in centres.T], 1)


def _fit(
    recording: Recording,
    track: Track,
    *,
    method: str,
    source: Path,
    drift: bool,
    notes: list[str],
    oriented: tuple[np.ndarray, np.ndarray] | None = None,
) -> Alignment:
    """`oriented` are estimated and measured cameras of the same places, where the measured ones have a rotation."""
    moved, inlier, sigma, keeps_up = _similarity(recording, track, source, notes, oriented)
    distance = (moved.apply(torch.from_numpy(track.estimated.copy())).numpy() - track.measured) * _axes(track)
    distance = np.linalg.norm(distance, axis=1)
    extent = _extents(track.measured[inlier] * _axes(track))[0]
    if inlier.mean() < _LEAST_AGREEING or sigma > _MOST_RESIDUAL * extent:
        raise InputError(
            f"{source}: does not have the shape of the camera's path ({100 * inlier.mean():.0f} % of {len(inlier)} "
            f"places agree, {sigma:.3g} m off along each axis, on a path {extent:.3g} m wide); is it the track of this "
            "video, and --start right?"
        )
    step = CorrectionStep(method, (0,), batched(moved), is_metric=True, is_upright=keeps_up, details={"drift": drift})
    if drift:
        step, distance, inlier = _bent(recording, track, moved, inlier, distance, step)
    residual = float(np.sqrt(np.mean(distance[inlier] ** 2)))
    scale = float(step.after_from_before.scale.median())
    details: dict[str, Any] = dict(step.details) | {"residual_m": residual, "used": int(inlier.sum())}
    step = replace(step, details=details)
    return Alignment(step, scale, int(inlier.sum()), len(inlier), residual, "m", tuple(notes))


def _axes(track: Track) -> np.ndarray:
    """1 for the axes that were measured."""
    return np.array([1.0, 1.0 if track.has_heights else 0.0, 1.0])


def _extents(points: np.ndarray) -> Float64[np.ndarray, " 3"]:
    """Standard deviations along the axes of a set of points, largest first."""
    return np.linalg.svd(points - points.mean(0), compute_uv=False) / np.sqrt(len(points))


def _similarity(
    recording: Recording,
    track: Track,
    source: Path,
    notes: list[str],
    oriented: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[Sim3, Bool[np.ndarray, " place"], float, bool]:
    """`measured_from_recorded`, the places that agree, their deviation, and whether the result is upright."""
    estimated, measured = torch.from_numpy(track.estimated.copy()), torch.from_numpy(track.measured.copy())
    if float(_extents(track.measured)[0]) <= 1e-9 or float(_extents(track.estimated)[0]) <= 1e-9:
        raise InputError(f"{source}: the path stands still; there is no scale to be found")
    if track.has_heights:
        try:
            free = robust_similarity(estimated, measured)
        except InputError:
            free = None  # exactly straight
        if free is not None:
            inlier = free.is_inlier.numpy()
            if _extents(track.measured[inlier])[1] > _WIDE * free.sigma:
                return free.target_from_source, inlier, free.sigma, track.is_upright
    if oriented is not None:
        return _by_orientation(oriented, source, notes, track.is_upright)
    try:
        gravity = find_gravity(recording)
    except InputError as error:
        raise InputError(
            f"{source}: the path is straight or has no heights, so that the rotation about it is free, and gravity "
            f"does not decide it either: {error}"
        ) from None
    shape = "is straight" if track.has_heights else "has no heights"
    notes.append(f"the path {shape}: the rotation about it is free, and gravity as the pictures show it was taken")
    upright = upright_from_world(gravity.up)
    level = torch.from_numpy(np.array([1.0, 0.0, 1.0]))
    stood = upright.apply(estimated)
    fit = robust_similarity(stood * level, measured * level, upright=True)
    inlier = fit.is_inlier.numpy()
    moved = fit.target_from_source
    above = (measured - moved.apply(stood))[:, 1]
    lift = above[fit.is_inlier].median() if track.has_heights else -moved.apply(stood)[0, 1]
    if not track.has_heights:
        notes.append("the fixes have no altitude: the first camera is at 0")
    translation = moved.translation + torch.stack([torch.zeros_like(lift), lift, torch.zeros_like(lift)])
    return Sim3(moved.scale, moved.rotation, translation) @ upright, inlier, fit.sigma, True


def _by_orientation(
    oriented: tuple[np.ndarray, np.ndarray], source: Path, notes: list[str], is_upright: bool
) -> tuple[Sim3, Bool[np.ndarray, " place"], float, bool]:
    """Of a straight path: centres give the scale, the cameras' rotations the rotation about it."""
    estimated, measured = (torch.from_numpy(cameras.copy()) for cameras in oriented)
    moved, inlier = align_cameras(estimated, measured), np.ones(len(estimated), dtype=bool)
    for _ in range(5):
        distance = (moved.apply(estimated[:, :3, 3]) - measured[:, :3, 3]).norm(dim=-1).numpy()
        again = distance <= max(4 * float(np.median(distance)), 1e-9)
        if (again == inlier).all() or again.sum() < LEAST_FIXES:
            break
        inlier = again
        kept = torch.from_numpy(np.flatnonzero(inlier))
        moved = align_cameras(estimated[kept], measured[kept])
    distance = (moved.apply(estimated[:, :3, 3]) - measured[:, :3, 3]).norm(dim=-1).numpy()
    notes.append("the path is straight: the rotation about it is that of the cameras")
    return moved, inlier, float(np.sqrt(np.mean(distance[inlier] ** 2) / 3)), is_upright


def _bent(
    recording: Recording,
    track: Track,
    moved: Sim3,
    inlier: Bool[np.ndarray, " place"],
    distance: Float64[np.ndarray, " place"],
    step: CorrectionStep,
) -> tuple[CorrectionStep, Float64[np.ndarray, " place"], Bool[np.ndarray, " place"]]:
    """A smooth correction along the path, its distances, and the places that agree with it."""
    if not track.has_heights:
        track = replace(track, measured=_with_own_heights(track, moved))
    count = max(2, min(_NODES, len(recording), len(track.frames)))
    spaced = np.linspace(0, len(recording) - 1, count).round().astype(int)
    frames = np.unique(spaced - spaced % recording.views)
    recorded = recording.world_from_cam[frames]
    scale = moved.scale.expand(len(frames))
    before = Sim3(scale, moved.rotation.expand(len(frames), 3, 3), moved.translation.expand(len(frames), 3))
    centres = moved.apply(torch.from_numpy(recorded[:, :3, 3].copy()))
    rotation = moved.rotation @ torch.from_numpy(recorded[:, :3, :3].copy())
    nodes = Sim3(torch.ones(len(frames), dtype=torch.float64), rotation, centres)
    edges = chain_edges(nodes)
    chosen = np.unique(np.linspace(0, len(track.frames) - 1, min(len(track.frames), _ANCHORS)).round().astype(int))
    nearest = torch.from_numpy(np.abs(frames[None] - track.frames[chosen, None]).argmin(1))
    estimated = moved.apply(torch.from_numpy(track.estimated[chosen].copy()))
    noise = _noise(track, moved, inlier)
    anchors = PointAnchors(
        node=nearest,
        point_node=nodes[nearest].inverse().apply(estimated),
        point_world=torch.from_numpy(track.measured[chosen].copy()),
        sigma=torch.full((len(chosen),), noise, dtype=torch.float64),
    )
    solved = solve_pose_graph(nodes, edges, anchors).world_from_node
    bent = solved @ nodes.inverse() @ before
    numbers = tuple(frames.tolist())
    step = replace(step, frames=numbers, after_from_before=bent)
    lower = np.floor(track.frames).astype(int).clip(0, len(recording) - 1)
    again = step.at(lower - lower % recording.views).apply(torch.from_numpy(track.estimated.copy())).numpy()
    distance = np.linalg.norm((again - track.measured) * _axes(track), axis=1)
    return step, distance, distance <= max(4 * float(np.median(distance)), 1e-9)


def _with_own_heights(track: Track, moved: Sim3) -> Float64[np.ndarray, "place 3"]:
    """Measured places, at the heights that the recording has itself."""
    own = moved.apply(torch.from_numpy(track.estimated.copy())).numpy()
    return np.stack([track.measured[:, 0], own[:, 1], track.measured[:, 2]], 1)


def chain_edges(nodes: Sim3) -> RelativeEdges:
    """From each node to the next, as they are."""
    count = len(nodes.scale) - 1
    first_from_second = nodes[:-1].inverse() @ nodes[1:]
    along, turn, growth = _EDGE_SIGMA
    length = first_from_second.translation.norm(dim=-1)
    sigma = torch.empty(count, 7, dtype=torch.float64)
    sigma[:, :3] = along * torch.maximum(length, 0.1 * length.mean())[:, None].clamp_min(1e-6)
    sigma[:, 3:6], sigma[:, 6] = turn, growth
    number = torch.arange(count)
    return RelativeEdges(number, number + 1, first_from_second, sigma, torch.zeros(count, dtype=torch.bool))


def _noise(track: Track, moved: Sim3, inlier: Bool[np.ndarray, " place"]) -> float:
    """The deviation of one measured place along an axis, from how differently neighbours are off."""
    off = (moved.apply(torch.from_numpy(track.estimated.copy())).numpy() - track.measured)[inlier]
    steps = np.diff(off, axis=0)[:, _axes(track) > 0]
    noise = 1.4826 * float(np.median(np.abs(steps))) / np.sqrt(2) if len(steps) else 0.0
    return max(noise, 1e-3 * float(_extents(track.measured[inlier])[0]))
