"""Gravity from cameras and surfaces, and the ground under the cameras.

People and cars hold cameras roughly level, and what is built has level and upright faces. The mean of the cameras' up
is the start; then the direction u is sought that most normals are parallel or perpendicular to: the largest eigenvector
of Σ_parallel w n nᵀ − ½ Σ_perpendicular w n nᵀ, with Tukey's weights on the angle by which each normal misses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from openloger.corrections.result import Alignment, check_frames, single_step
from openloger.errors import InputError
from openloger.geometry import Sim3, depth_edges, normals_from_points, rotation_from_axis_angle
from openloger.recording import RecordedFrame, Recording
from openloger.shapes import Bool, Float64

FRAMES = 48
LEAST_CONFIDENCE = 0.2
_PIXELS = 4000  # of a frame, at most
_CELLS = 48  # down a picture
_WIDEST, _NARROWEST = np.deg2rad(30), np.deg2rad(10)
_STEPS = 12
_LEAST_SHARE = 0.3  # of normals that are parallel or perpendicular to up
_CHANCE = 0.19  # the share within 10° of either, of normals that point anywhere: 1 − cos 10° + sin 10°
_LEAST_AGREEMENT = 0.5  # length of the cameras' mean up: 60° of spread
_MOST_TILT_DEG = 50.0  # of the cameras' mean up
_LEAST_GROUND = 30  # pixels of a frame
_LEVEL = np.cos(np.deg2rad(20))
_PLANE = 0.1  # of the camera's height: what lies further from the ground's plane is none of it


@dataclass(frozen=True, eq=False)
class Gravity:
    """Which way is up, in the recording's world."""

    up: Float64[np.ndarray, " 3"]
    spread_deg: float  # standard deviation of the normals that it was found by
    share: float  # of all normals, those within 10° of parallel or perpendicular
    tilt_deg: float  # of the cameras' mean up against it


@dataclass(frozen=True, eq=False)
class FrameSurface:
    """Confident pixels of one frame, away from edges, in the world."""

    frame: int
    centre: Float64[np.ndarray, " 3"]  # of the camera
    points: Float64[np.ndarray, "pixel 3"]
    normals: Float64[np.ndarray, "pixel 3"]  # towards the camera


def surfaces(recording: Recording, *, frames: int = FRAMES) -> Iterator[FrameSurface]:
    """An even choice of frames, one at a time."""
    chosen = np.unique(np.linspace(0, len(recording) - 1, frames).round().astype(int))
    for number in chosen.tolist():
        yield _surface(recording.frame(number))


def _surface(frame: RecordedFrame) -> FrameSurface:
    depth = torch.from_numpy(frame.depth)
    usable = (~depth_edges(depth, relative=0.05)).numpy() & (frame.confidence >= LEAST_CONFIDENCE)
    cell = max(1, usable.shape[0] // _CELLS)
    usable = _pooled(usable[..., None].astype(np.float64), cell)[..., 0] == 1
    points_cam = _pooled(frame.points_cam.astype(np.float64), cell)
    normals = normals_from_points(torch.from_numpy(points_cam)).numpy()
    usable &= np.linalg.norm(normals, axis=-1) > 0.5
    rows, columns = np.nonzero(usable)
    step = max(1, -(-len(rows) // _PIXELS))
    rows, columns = rows[::step], columns[::step]
    rotation, centre = frame.world_from_cam[:3, :3], frame.world_from_cam[:3, 3]
    points = points_cam[rows, columns] @ rotation.T + centre
    return FrameSurface(frame.number, centre.copy(), points, normals[rows, columns] @ rotation.T)


def _pooled(values: np.ndarray, cell: int) -> np.ndarray:
    """Means over square cells of pixels: the normals of single pixels are noisy."""
    rows, columns = values.shape[0] // cell * cell, values.shape[1] // cell * cell
    cells = values[:rows, :columns].reshape(rows // cell, cell, columns // cell, cell, -1)
    return cells.mean((1, 3))


def find_gravity(recording: Recording) -> Gravity:
    """Gravity of a recording.

    Raises InputError where cameras and surfaces do not decide it.
    """
    check_frames(recording)
    if recording.is_upright:
        return Gravity(np.array([0.0, -1.0, 0.0]), 0.0, 1.0, 0.0)
    ups = -recording.world_from_cam[:, :3, 1]
    mean = ups.mean(0)
    agreement = float(np.linalg.norm(mean))
    if agreement < _LEAST_AGREEMENT:
        raise InputError(
            f"{recording.path}: the cameras are held every way up (their mean up is {agreement:.2f} long, of 1), so "
            "that they do not show gravity"
        )
    start = mean / agreement
    normals = np.concatenate([np.zeros((0, 3)), *(one.normals for one in surfaces(recording))])
    if len(normals) < _LEAST_GROUND:
        raise InputError(f"{recording.path}: no surface is certain enough to find gravity by")
    up = start
    for width in np.geomspace(_WIDEST, _NARROWEST, _STEPS):
        along = normals @ up
        parallel = _tukey(np.arccos(np.abs(along).clip(0, 1)), width)
        across = _tukey(np.arcsin(np.abs(along).clip(0, 1)), width)
        moment = (normals * parallel[:, None]).T @ normals - 0.5 * (normals * across[:, None]).T @ normals
        found = np.linalg.eigh(moment)[1][:, -1]
        up = found if found @ start > 0 else -found
    missed = np.minimum(np.arccos(np.abs(normals @ up).clip(0, 1)), np.arcsin(np.abs(normals @ up).clip(0, 1)))
    near = missed <= _NARROWEST
    share, tilt = float(near.mean()), float(np.rad2deg(np.arccos((up @ start).clip(-1, 1))))
    if share < _LEAST_SHARE:
        raise InputError(
            f"{recording.path}: only {100 * share:.0f} % of the surfaces are level or upright to one direction (by "
            f"chance {100 * _CHANCE:.0f} %), so that gravity is not decided"
        )
    if tilt > _MOST_TILT_DEG:
        raise InputError(
            f"{recording.path}: by the surfaces the cameras would be tilted by {tilt:.0f}° in the mean: a wall is "
            "taken for the ground, or nothing level is in view"
        )
    return Gravity(up, float(np.rad2deg(np.sqrt(np.mean(missed[near] ** 2)))), share, tilt)


def _tukey(angle: np.ndarray, width: float) -> np.ndarray:
    return np.clip(1 - (angle / width) ** 2, 0, None) ** 2


def upright_from_world(up: Float64[np.ndarray, " 3"]) -> Sim3:
    """The smallest rotation that takes up to −y."""
    wanted = np.array([0.0, -1.0, 0.0])
    axis, cosine = np.cross(up, wanted), float(up @ wanted)
    length = float(np.linalg.norm(axis))
    if length < 1e-12:
        turn = np.zeros(3) if cosine > 0 else np.array([np.pi, 0.0, 0.0])
    else:
        turn = axis / length * np.arctan2(length, cosine)
    identity = Sim3.identity(dtype=torch.float64)
    return Sim3(identity.scale, rotation_from_axis_angle(torch.from_numpy(turn)), identity.translation)


@dataclass(frozen=True, eq=False)
class GroundPlane:
    """The plane under the camera of one frame, in the recording's world."""

    frame: int
    height: float  # of the camera above it
    normal: Float64[np.ndarray, " 3"]  # upward


def grounds(recording: Recording, gravity: Gravity) -> list[GroundPlane]:
    """The ground of each frame that sees it, of an even choice.

    Of a frame's level pixels below its camera, the ground is the lowest level that two fifths as many lie on as on the
    most frequent one: a table is nearer, and a cellar seen through a grate is smaller. The height is the distance from
    the plane that fits it, so that a street may slope.
    """
    found: list[GroundPlane] = []
    for one in surfaces(recording, frames=2 * FRAMES):
        below = (one.centre - one.points) @ gravity.up
        is_level = (one.normals @ gravity.up > _LEVEL) & (below > 0)
        level = below[is_level]
        if len(level) < _LEAST_GROUND:
            continue
        edges = np.geomspace(max(level.min(), level.max() / 100), level.max() * 1.0001, 60)
        counts = np.histogram(level, edges)[0]
        smooth = np.convolve(counts, np.ones(3), mode="same")
        lowest = int(np.flatnonzero(smooth >= 0.4 * smooth.max())[-1])
        near = is_level & (below > edges[max(lowest - 3, 0)]) & (below < edges[min(lowest + 4, 59)])
        found.append(_plane_under(one, near, gravity.up))
    return found


def _plane_under(one: FrameSurface, start: Bool[np.ndarray, " pixel"], up: Float64[np.ndarray, " 3"]) -> GroundPlane:
    """The plane through most of the level pixels near a first choice of them."""
    chosen = start
    normal, middle = up, np.median(one.points[start], axis=0)
    for _ in range(8):
        middle = one.points[chosen].mean(0)
        normal = np.linalg.eigh(np.cov((one.points[chosen] - middle).T))[1][:, 0]
        normal = normal if normal @ up > 0 else -normal
        off = np.abs((one.points - middle) @ normal) / max(float((one.centre - middle) @ normal), 1e-9)
        again = (off < _PLANE) & (one.normals @ normal > _LEVEL)
        if again.sum() < _LEAST_GROUND or (again == chosen).all() or normal @ up < _LEVEL:
            break
        chosen = again
    return GroundPlane(one.frame, float((one.centre - middle) @ normal), normal)


def align_up(recording: Recording) -> Alignment:
    """The world stood upright, y down along gravity; scale and origin stay.

    Raises InputError as `find_gravity` does, and where the world is upright already.
    """
    if recording.is_upright:
        raise InputError(f"{recording.path} is upright already; --undo takes that away")
    gravity = find_gravity(recording)
    details = {"tilt_deg": gravity.tilt_deg, "share": gravity.share, "spread_deg": gravity.spread_deg}
    step = single_step(
        "up", upright_from_world(gravity.up), is_metric=recording.is_metric, is_upright=True, details=details
    )
    note = (
        f"the cameras are tilted by {gravity.tilt_deg:.1f}° in the mean; {100 * gravity.share:.0f} % of surfaces agree"
    )
    return Alignment(step, 1.0, round(100 * gravity.share), 100, gravity.spread_deg, "degrees", (note,))
