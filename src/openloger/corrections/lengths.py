"""Scale from known lengths: distances between points, the camera's height over the ground, and depth maps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openloger.corrections.gravity import GroundPlane, find_gravity, grounds
from openloger.corrections.ground_motion import ground_motion
from openloger.corrections.result import (
    Alignment,
    check_frames,
    check_unit,
    deviation,
    metres_per_unit,
    scaling,
    single_step,
)
from openloger.datasets.files import natural, read_depth_npy, read_depth_png
from openloger.datasets.folder import SparseDepth
from openloger.errors import InputError
from openloger.geometry import Sim3
from openloger.recording import CorrectionStep, Recording
from openloger.shapes import Float64, Int

_POINT = re.compile(r"(\d+):(-?[\d.]+),(-?[\d.]+)")
_LEAST_CONFIDENCE = 0.1
_MOST_EDGE = 0.1  # range of depth over depth in the 3 × 3 pixels of a point
_SHORTEST = 0.02  # of the points' depth
_MOST_SPREAD = 0.25  # relative deviation of one measurement
_MOST_HEIGHT_SPREAD = 0.15  # of the camera's heights: docs/scale.md has what worlds and clips have
_LEAST_MOVED = 0.3  # of the frames whose ground is seen from two places: those where its motion gives a height
_STRETCHES = 8  # of the path, whose scales are reported
_LEAST_OF_STRETCH = 3  # measurements
_LEAST_FRAMES = 3
_LEAST_PIXELS = 20  # of a depth map
_NODES = 60  # of a scale along the path, at most
_STIFFNESS = 4.0  # of the scale between nodes, over one measurement of average quality


@dataclass(frozen=True)
class PicturePoint:
    """A pixel of a frame of the recording, in pixels of the source's pictures."""

    frame: int
    x: float
    y: float

    @staticmethod
    def parse(text: str) -> PicturePoint:
        """Of FRAME:x,y. Raises InputError for another form."""
        found = _POINT.fullmatch(text.strip())
        if found is None:
            raise InputError(f"{text!r} is no point of a frame; write FRAME:x,y as in 120:640,360")
        return PicturePoint(int(found[1]), float(found[2]), float(found[3]))

    def __str__(self) -> str:
        return f"{self.frame}:{self.x:g},{self.y:g}"


@dataclass(frozen=True)
class KnownDistance:
    """Two points, and how far they are apart."""

    first: PicturePoint
    second: PicturePoint
    metres: float


def align_by_distances(recording: Recording, distances: Sequence[KnownDistance]) -> Alignment:
    """The scale at which points are as far apart as they were measured to be; the median of several.

    Raises InputError for a point outside its picture, on an edge or without confidence, for points too near each other,
    and where several distances contradict each other.
    """
    check_frames(recording)
    if not distances:
        raise InputError("no distance is given")
    ratios = []
    for known in distances:
        if not (np.isfinite(known.metres) and known.metres > 0):
            raise InputError(f"a distance of {known.metres:g} m cannot be; give metres over 0")
        first, second = _world_point(recording, known.first), _world_point(recording, known.second)
        length, depth = float(np.linalg.norm(first.position - second.position)), max(first.depth, second.depth)
        if length < _SHORTEST * depth:
            raise InputError(
                f"{known.first} and {known.second} are {length:.3g} apart at a depth of {depth:.3g}: too near each "
                "other to give a scale; choose points further apart"
            )
        ratios.append(known.metres / length)
    logs = np.log(ratios)
    scale, spread = float(np.exp(np.median(logs))), deviation(logs)
    if spread > _MOST_SPREAD:
        listed = ", ".join(f"{ratio:.3g}" for ratio in ratios)
        raise InputError(f"the distances contradict each other: they give scales of {listed}")
    used = int((np.abs(logs - np.median(logs)) <= max(3 * spread, 1e-9)).sum()) if len(logs) > 1 else 1
    residual = None if len(logs) == 1 else float(100 * np.sqrt(np.mean((logs - np.median(logs)) ** 2)))
    notes = ("one distance cannot be checked; give --distance again for another",) if len(logs) == 1 else ()
    details = {"distances": [[str(one.first), str(one.second), one.metres] for one in distances]}
    return _scaled(recording, "distance", scale, details, used=used, given=len(ratios), residual=residual, notes=notes)


def align_by_camera_height(recording: Recording, metres: float, *, drift: bool = False) -> Alignment:
    """The scale at which the cameras are `metres` above the ground, in the median of the frames that see it.

    With `drift`, a scale that changes smoothly along the path, at which they are everywhere.

    The heights are those by depth. The motion of the ground gives them once more, in the unit of the path
    (`ground_motion.py`), and a note has how far the two agree.

    Raises InputError where gravity or the ground cannot be found, where heights differ so much that nothing is decided,
    and where those by depth and by motion do.
    """
    check_frames(recording)
    if not (np.isfinite(metres) and metres > 0):
        raise InputError(f"a camera height of {metres:g} m cannot be; give metres over 0")
    found = grounds(recording, find_gravity(recording))
    if len(found) < min(_LEAST_FRAMES, len(recording)) or not found:
        raise InputError(f"{recording.path}: {len(found)} of its frames see the ground; {_LEAST_FRAMES} are needed")
    details: dict[str, Any] = {"camera_height_m": metres}
    numbers, logs = np.array([one.frame for one in found]), np.log([metres / one.height for one in found])
    scaled = _scaled_along(
        recording, "camera-height", numbers, logs, details, drift=drift, most_spread=_MOST_HEIGHT_SPREAD
    )
    notes = (_checked_by_motion(recording, found, scaled.scale), *_unknown_lens(recording))
    return replace(scaled, notes=(*scaled.notes, *notes))


def _checked_by_motion(recording: Recording, found: list[GroundPlane], scale: float) -> str:
    """How far heights by depth and by the motion of the ground agree, in words."""
    moved = ground_motion(recording, found)
    decided = len(moved.log_ratio)
    if decided < max(_LEAST_FRAMES, _LEAST_MOVED * moved.frames):
        return (
            f"the heights are by depth alone: in {decided} of {len(found)} frames the ground moves so that its motion "
            "gives one to check them by"
        )
    if abs(np.log(moved.middle)) > _MOST_HEIGHT_SPREAD:
        raise InputError(
            f"camera-height: depth and path contradict each other: by depth the scale is × {scale:.4g}, and by the "
            f"motion of the ground under the cameras, in {decided} frames, × {scale / moved.middle:.4g}; align by what "
            "measures one of them: --depth, or --poses or --gps"
        )
    return f"by the motion of the ground, in {decided} frames, it is × {scale / moved.middle:.4g}"


def _unknown_lens(recording: Recording) -> tuple[str, ...]:
    if recording.meta.known_intrinsics is not None:
        return ()
    return ("the focal length is the network's, and an error of it is one of this scale; give the lens (--camera)",)


def align_by_depth(recording: Recording, depth: Path, *, unit: str | None = None, drift: bool = False) -> Alignment:
    """The scale at which depth agrees with maps of some frames: .npy, 16-bit .png, or an .npz like `depth_mm.npz`.

    Maps are named as their frame, or by its number in the source; zero and what is not finite is not known. `unit` is
    one of `UNITS_M` or a number of metres: by default metres in .npy, millimetres in .png. With `drift`, the scale
    changes smoothly along the path.

    Raises InputError where no map belongs to a frame, or the maps contradict each other.
    """
    check_frames(recording)
    maps = _maps(recording, depth, unit)
    numbers, logs = [], []
    for number, read in sorted(maps.items()):
        ratios = _depth_ratios(recording, number, read())
        if len(ratios) >= _LEAST_PIXELS:
            numbers.append(number)
            logs.append(float(np.log(np.median(ratios))))
    if not numbers:
        raise InputError(f"{depth}: no map has {_LEAST_PIXELS} known pixels where the recording has depth, too")
    check_unit(recording, float(np.exp(np.median(logs))), unit=unit, option="--unit", source=depth)
    details = {"depth": str(depth), "unit": unit}
    return _scaled_along(recording, "depth", np.array(numbers), np.array(logs), details, drift=drift)


@dataclass(frozen=True, eq=False)
class _WorldPoint:
    position: Float64[np.ndarray, " 3"]
    depth: float


def _world_point(recording: Recording, point: PicturePoint) -> _WorldPoint:
    if not 0 <= point.frame < len(recording):
        raise InputError(f"{point}: there is no frame {point.frame}; the recording has 0 to {len(recording) - 1}")
    meta = recording.meta
    height, width = meta.source_size or (meta.height, meta.width)
    if not (0 <= point.x < width and 0 <= point.y < height):
        raise InputError(f"{point}: outside the picture, which has {width}×{height} pixels")
    x, y = point.x * meta.width / width, point.y * meta.height / height
    row, column = int(y), int(x)
    around = (slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2))
    depths = recording.depth(point.frame)[around]
    depth = float(np.median(depths))
    if recording.confidence(point.frame)[row, column] < _LEAST_CONFIDENCE or not depth > 0:
        raise InputError(f"{point}: the depth there is not certain; choose a point on a clear surface")
    if float(depths.max() - depths.min()) > _MOST_EDGE * depth:
        raise InputError(f"{point}: lies on an edge of depth; choose a point a few pixels inside the surface")
    matrix, world_from_cam = recording.intrinsics[point.frame], recording.world_from_cam[point.frame]
    ray = np.array([(x - matrix[0, 2]) / matrix[0, 0], (y - matrix[1, 2]) / matrix[1, 1], 1.0])
    return _WorldPoint(world_from_cam[:3, :3] @ (depth * ray) + world_from_cam[:3, 3], depth)


def _maps(recording: Recording, depth: Path, unit: str | None) -> dict[int, Callable[[], np.ndarray]]:
    """Readers of depth in metres by the recording's frame."""
    of_source = {int(index): number for number, index in enumerate(recording.source_index)}
    if recording.views > 1:
        of_source.clear()  # a panorama's number is not one view's
    if not depth.exists():
        raise InputError(f"there is no {depth}; give a folder of depth maps, or an .npz")
    if not depth.is_dir():
        sparse = SparseDepth(depth)
        factor = 1.0 if unit is None else metres_per_unit(unit) / 0.001  # read as millimetres
        readers: dict[int, Callable[[], np.ndarray]] = {
            of_source[index]: partial(_times, factor, partial(sparse.map, row))
            for row, index in enumerate(sparse.numbers())
            if index in of_source
        }
    else:
        by_name = {Path(name).stem: number for number, name in enumerate(recording.names)}
        readers = {}
        for file in natural(one for one in depth.iterdir() if one.suffix in (".npy", ".png")):
            number = by_name.get(file.stem)
            if number is None and file.stem.isdecimal():
                number = of_source.get(int(file.stem))
            if number is not None:
                readers[number] = partial(_read_map, file, unit)
    if not readers:
        way = f"as {Path(recording.names[0]).stem} is" if recording.views > 1 else "as the frames, or by their numbers"
        raise InputError(f"{depth}: holds no depth of a frame of this recording; name maps {way}")
    return readers


def _times(factor: float, read: Callable[[], np.ndarray]) -> np.ndarray:
    return factor * read()


def _read_map(file: Path, unit: str | None) -> np.ndarray:
    if file.suffix == ".npy":
        return metres_per_unit(unit or "m") * read_depth_npy(file)
    return metres_per_unit(unit or "mm") * read_depth_png(file, per_unit=1.0, none=65535)


def _depth_ratios(recording: Recording, number: int, known: np.ndarray) -> Float64[np.ndarray, " pixel"]:
    """Known over recorded depth at the known pixels, whose map covers the same picture at another size."""
    rows, columns = np.nonzero(np.isfinite(known) & (known > 0))
    height, width = recording.meta.height, recording.meta.width
    at = ((rows + 0.5) * height / known.shape[0]).astype(int), ((columns + 0.5) * width / known.shape[1]).astype(int)
    recorded, confidence = recording.depth(number)[at], recording.confidence(number)[at]
    usable = (recorded > 0) & (confidence >= _LEAST_CONFIDENCE)
    return (known[rows, columns][usable] / recorded[usable]).astype(np.float64)


def _scaled(
    recording: Recording,
    method: str,
    scale: float,
    details: dict[str, Any],
    *,
    used: int,
    given: int,
    residual: float | None,
    notes: tuple[str, ...] = (),
) -> Alignment:
    upright = recording.is_upright
    step = single_step(method, scaling(scale), is_metric=True, is_upright=upright, details=details)
    return Alignment(step, scale, used, given, residual, "%", notes)


def _scaled_along(
    recording: Recording,
    method: str,
    numbers: Int[np.ndarray, " measured"],
    logs: Float64[np.ndarray, " measured"],
    details: dict[str, Any],
    *,
    drift: bool,
    most_spread: float = _MOST_SPREAD,
) -> Alignment:
    """One scale for all frames, or one that changes along them, from logarithms at some."""
    spread = deviation(logs)
    stretches = _stretches(numbers, logs, len(recording))
    if spread > most_spread and not drift:
        raise InputError(
            f"{method}: its {len(logs)} measurements differ by {100 * spread:.0f} % from their middle (at most "
            f"{100 * most_spread:.0f} % may they), so that no one scale is decided{stretches and f': {stretches}'}; if "
            "it drifts along the path, --drift follows it"
        )
    if not drift:
        middle = np.median(logs)
        agree = np.abs(logs - middle) <= max(3 * spread, 1e-9)
        residual = float(100 * np.sqrt(np.mean((logs - middle)[agree] ** 2)))
        return _scaled(
            recording,
            method,
            float(np.exp(middle)),
            details,
            used=int(agree.sum()),
            given=len(logs),
            residual=None if len(logs) == 1 else residual,
            notes=(stretches,) if stretches else (),
        )
    if len(logs) < 4:
        raise InputError(f"{method}: {len(logs)} measurements are too few for a scale along the path; 4 are needed")
    frames, smooth = _smooth_scale(numbers, logs, len(recording))
    left = logs - np.interp(numbers, frames, smooth)
    noise = deviation(left)
    if noise > most_spread:
        raise InputError(f"{method}: measurements differ by {100 * noise:.0f} % along the path; nothing is decided")
    agree = np.abs(left) <= max(3 * noise, 1e-9)
    step = CorrectionStep(
        method,
        tuple(frames.tolist()),
        _integrated(recording.world_from_cam[frames, :3, 3], np.exp(smooth)),
        is_metric=True,
        is_upright=recording.is_upright,
        details=details | {"drift": True},
    )
    residual = float(100 * np.sqrt(np.mean(left[agree] ** 2)))
    note = f"the scale runs from × {np.exp(smooth.min()):.4g} to × {np.exp(smooth.max()):.4g} along the path"
    return Alignment(step, float(np.exp(np.median(smooth))), int(agree.sum()), len(logs), residual, "%", (note,))


def _stretches(numbers: Int[np.ndarray, " measured"], logs: Float64[np.ndarray, " measured"], frames: int) -> str:
    """The scales of equal stretches of the path, in words; none where there are too few measurements."""
    stretch = numbers * _STRETCHES // max(frames, 1)
    parts = [logs[stretch == number] for number in range(_STRETCHES)]
    middles = [float(np.exp(np.median(part))) for part in parts if len(part) >= _LEAST_OF_STRETCH]
    if len(middles) < 2:
        return ""
    return f"in {len(middles)} stretches of the path it is × {min(middles):.4g} to × {max(middles):.4g}"


def _smooth_scale(
    numbers: Int[np.ndarray, " measured"], logs: Float64[np.ndarray, " measured"], frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of nodes, and the logarithm there: least squares with a random walk between nodes, reweighted by Cauchy's
    weights."""
    count = max(2, min(_NODES, len(logs) // 2, frames))
    nodes = np.unique(np.linspace(0, frames - 1, count).round().astype(int))
    hat = np.stack([np.interp(numbers, nodes, row) for row in np.eye(len(nodes))], 1)
    steps = np.diff(np.eye(len(nodes)), axis=0)
    weight = np.ones(len(logs))
    values = np.full(len(nodes), np.median(logs))
    for _ in range(20):
        normal = (hat * weight[:, None]).T @ hat + _STIFFNESS * steps.T @ steps
        values = np.linalg.solve(normal + 1e-9 * np.eye(len(nodes)), hat.T @ (weight * logs) + 1e-9 * np.median(logs))
        left = logs - hat @ values
        weight = 1 / (1 + (left / max(2.4 * deviation(left), 1e-6)) ** 2)
    return nodes, values


def _integrated(centres: Float64[np.ndarray, "node 3"], scale: Float64[np.ndarray, " node"]) -> Sim3:
    """Similarities that scale the world about each node's camera, whose path is scaled piece by piece."""
    steps = np.diff(centres, axis=0) * np.sqrt(scale[1:] * scale[:-1])[:, None]
    moved = scale[0] * centres[0] + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])
    factor = torch.from_numpy(scale)
    rotation = torch.eye(3, dtype=torch.float64).expand(len(scale), 3, 3)
    return Sim3(factor, rotation, torch.from_numpy(moved - scale[:, None] * centres))
