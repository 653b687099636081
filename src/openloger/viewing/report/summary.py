"""The summary of a recording in numbers, which `openloger info` prints and a report begins with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from openloger.export import PointSelection, select_points
from openloger.export.selection import fitting_stride
from openloger.recording import Recording
from openloger.recording.windows import DriftMeter, drift_meter
from openloger.shapes import Float

_FRAMES_SAMPLED = 16  # for the box of the scene
_PIXEL_STRIDE = 4


@dataclass(frozen=True)
class Box:
    """In the recording's axes (x right, y down, z forward, of the first window) and unit of length."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @staticmethod
    def around(points: Float[np.ndarray, "point 3"], *, share: float = 1.0) -> Box:
        """Holds the middle `share` of the points along each axis."""
        low, high = np.quantile(points, [(1 - share) / 2, (1 + share) / 2], axis=0)
        return Box(tuple(low.tolist()), tuple(high.tolist()))

    def __str__(self) -> str:
        return " × ".join(f"{high - low:.3g}" for low, high in zip(self.low, self.high, strict=True))


@dataclass(frozen=True)
class RunCost:
    """Time and memory of the run, over the windows that recorded them."""

    frames: int
    seconds: float
    waiting_s: float  # of these, how long the network stood still for frames to come or windows to be taken
    peak_memory_bytes: int
    devices: tuple[str, ...]

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def busy(self) -> float:
        """The share of the time in which the network was at work, 0..1."""
        return 1 - self.waiting_s / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class RecordingSummary:
    """The summary of a recording. Lengths are in metres or its own units (`unit`); None: too few frames or points."""

    path: str
    frames: int
    complete: bool
    resume: str | None  # the command that goes on with it, but for the options that it began with
    height: int
    width: int
    duration_s: float
    left_out: int  # frames that the source gave between the first and the last: dropped, thinned out, or bad
    source: str
    network: str
    weights_hash: str | None  # None: random weights
    settings: Mapping[str, Any]
    views: int  # of a rig, frames of one instant
    lens: str  # known, fixed or varying
    masks: tuple[str, ...]  # the kinds of masks that hide pixels
    openloger_version: str
    versions: Mapping[str, str]  # of what it was computed with; none in recordings that did not keep them yet
    unit: str  # of lengths: m, or units where no scale is known
    corrections: tuple[str, ...]  # the steps that `align` and its like left beside it, first to last
    bytes: int  # on disk
    path_length: float
    path_box: Box | None
    scene_box: Box | None  # of 98 % of the points of 16 frames
    focal_px: tuple[float, float, float] | None  # least, median, most over the frames
    residual_px: float | None  # median over the frames
    drift: DriftMeter | None  # None: no windows overlap
    cost: RunCost | None  # None: not recorded


def summarise(recording: Recording) -> RecordingSummary:
    """Reads all cameras and the depth of a few frames."""
    meta, count = recording.meta, len(recording)
    world_from_cam = recording.world_from_cam
    centres = world_from_cam[:, :3, 3]
    times_s, focals, residuals = recording.timestamps_s, recording.intrinsics[:, 0, 0], recording.residual_px
    indices = recording.source_index
    source, out = shlex.quote(meta.source), shlex.quote(str(recording.path))
    apart = [window.disagreement for window in recording.windows if window.disagreement is not None]
    return RecordingSummary(
        path=str(recording.path),
        frames=count,
        complete=recording.complete,
        resume=None if recording.complete else f"openloger reconstruct {source} -o {out} --resume",
        height=meta.height,
        width=meta.width,
        duration_s=float(times_s[-1] - times_s[0]) if count else 0.0,
        left_out=int(indices[-1] - indices[0]) + 1 - count // meta.views if count else 0,
        source=meta.source,
        network=meta.network,
        weights_hash=meta.weights_hash,
        settings=dict(meta.settings),
        views=meta.views,
        lens=meta.lens if meta.known_intrinsics is None else "known",
        masks=meta.mask_kinds,
        openloger_version=meta.package_version,
        versions=dict(meta.versions),
        unit=recording.unit,
        corrections=recording.correction_texts,
        bytes=sum(file.stat().st_size for file in recording.path.rglob("*") if file.is_file()),
        path_length=float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum()),
        path_box=Box.around(centres) if count else None,
        scene_box=_scene_box(recording),
        focal_px=(float(focals.min()), float(np.median(focals)), float(focals.max())) if count else None,
        residual_px=_finite(float(np.median(residuals))) if count else None,
        drift=drift_meter(apart, world_from_cam),
        cost=_cost(recording),
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _scene_box(recording: Recording) -> Box | None:
    stride = fitting_stride(recording, max(1, -(-len(recording) // _FRAMES_SAMPLED)))
    selection = PointSelection(frame_stride=stride, pixel_stride=_PIXEL_STRIDE)
    if len(recording) == 0:
        return None
    points = np.concatenate([chunk.points_world for chunk in select_points(recording, selection)])
    return Box.around(points, share=0.98) if len(points) else None


def _cost(recording: Recording) -> RunCost | None:
    measured = [(window.final_count, window.cost) for window in recording.windows if window.cost is not None]
    if not measured:
        return None
    costs = [cost for _, cost in measured]
    return RunCost(
        frames=sum(count for count, _ in measured),
        seconds=sum(cost.seconds for cost in costs),
        waiting_s=sum(cost.waiting_s for cost in costs),
        peak_memory_bytes=max(cost.peak_memory_bytes for cost in costs),
        devices=tuple(dict.fromkeys(cost.device for cost in costs)),
    )
