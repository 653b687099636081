"""Windows in a recording: the arrays that are given to be written, and the row of numbers that is kept of each."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from openloger.diagnostics import WindowMeasures, measure, measures_from_json
from openloger.geometry import SE3, Sim3
from openloger.shapes import Float32, Float64
from openloger.values import Disagreement, PlacedWindow


@dataclass(frozen=True)
class Cost:
    """Time and memory that a window took."""

    seconds: float  # since the window before was there, or since the run began
    waiting_s: float  # of these, how long the network stood still for frames to come or windows to be taken
    peak_memory_bytes: int  # of the run so far
    device: str  # where the network ran: cpu, mps, or the name of the card


@dataclass(frozen=True)
class RecordedWindow:
    """The numbers kept of one window."""

    number: int
    first_frame: int  # the recording's number of its first frame
    frame_count: int  # including those that the next window writes
    final_count: int  # those that it wrote
    world_from_window_scale: float
    world_from_window: tuple[tuple[float, ...], ...]  # 4×4, the rotation and translation after the scale
    metric_scale: float | None
    clipped_pixels: int  # depths outside float16's range, put on its nearer end
    disagreement: Disagreement | None  # with the window before; None for the first
    cost: Cost | None = None  # None: not measured
    lens_statistics: tuple[tuple[float, ...], ...] | None = None  # of each frame it wrote, where the lens is fixed
    measures: WindowMeasures | None = None  # what the input and the result are judged by; None: not measured
    place: str | None = None  # descriptor of the first frame, int8 in base64, by which loops are found; None: not kept

    @property
    def place_descriptor(self) -> Float32[np.ndarray, " number"] | None:
        """Of the first frame, up to a factor; None: not kept."""
        return None if self.place is None else np.frombuffer(b64decode(self.place), np.int8).astype(np.float32)

    @property
    def world_from_window_matrix(self) -> Float64[np.ndarray, "4 4"]:
        """x ↦ scale · rotation · x + translation, as one matrix."""
        matrix = np.array(self.world_from_window, dtype=np.float64)
        matrix[:3, :3] *= self.world_from_window_scale
        return matrix


def window_row(
    placed: PlacedWindow, *, first_frame: int, clipped_pixels: int, cost: Cost | None = None, fixed_lens: bool = False
) -> RecordedWindow:
    """The numbers to keep of a placed window; with `fixed_lens`, those that the shared camera is fitted to."""
    statistics = placed.camera.statistics if fixed_lens else None
    rigid = placed.world_from_window.rigid.matrix().detach().to("cpu", torch.float64)
    return RecordedWindow(
        number=placed.number,
        first_frame=first_frame,
        frame_count=len(placed.frames),
        final_count=placed.final_count,
        world_from_window_scale=float(placed.world_from_window.scale),
        world_from_window=_rows(rigid.tolist()),
        metric_scale=placed.metric_scale,
        clipped_pixels=clipped_pixels,
        disagreement=placed.disagreement,
        cost=cost,
        lens_statistics=None if statistics is None else _rows(statistics[: placed.final_count].tolist()),
        measures=measure(placed),
        place=None if placed.place is None else b64encode(placed.place.cpu().to(torch.int8).numpy().tobytes()).decode(),
    )


def moved_window(window: RecordedWindow, corrected_from_recorded: Sim3) -> RecordedWindow:
    """The same window where its world is moved: a single similarity."""
    rigid = SE3.from_matrix(torch.tensor(window.world_from_window, dtype=torch.float64))
    scale = torch.tensor(window.world_from_window_scale, dtype=torch.float64)
    moved = corrected_from_recorded @ Sim3(scale, rigid.rotation, rigid.translation)
    apart, grown = window.disagreement, float(corrected_from_recorded.scale)
    return replace(
        window,
        world_from_window_scale=float(moved.scale),
        world_from_window=_rows(moved.rigid.matrix().tolist()),
        disagreement=None if apart is None else replace(apart, translation=apart.translation * grown),
    )


def _rows(rows: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in rows)


def window_to_json(window: RecordedWindow) -> dict[str, Any]:
    return asdict(window)


def window_from_json(value: Any) -> RecordedWindow:
    """The inverse of `window_to_json`.

    Raises:
        ValueError: it is no row of a window; the text names the field.
    """
    if not isinstance(value, dict):
        raise ValueError(f"a window is an object, not {type(value).__name__}")
    once_missing = {"cost": None, "lens_statistics": None, "measures": None, "place": None}
    fields = once_missing | value
    wanted = set(RecordedWindow.__dataclass_fields__)
    if set(fields) != wanted:
        raise ValueError(f"fields {sorted(set(fields) ^ wanted)} are missing or unknown")
    disagreement, cost, statistics = fields["disagreement"], fields["cost"], fields["lens_statistics"]
    measures = fields["measures"]
    scale = fields["metric_scale"]
    return RecordedWindow(
        number=_count(fields, "number"),
        first_frame=_count(fields, "first_frame"),
        frame_count=_count(fields, "frame_count"),
        final_count=_count(fields, "final_count"),
        world_from_window_scale=_number(fields, "world_from_window_scale"),
        world_from_window=_table(fields, "world_from_window", rows=4, columns=4),
        metric_scale=None if scale is None else _number(fields, "metric_scale"),
        clipped_pixels=_count(fields, "clipped_pixels"),
        disagreement=None if disagreement is None else _disagreement(disagreement),
        cost=None if cost is None else _cost(cost),
        lens_statistics=None if statistics is None else _table(fields, "lens_statistics", rows=None, columns=8),
        measures=None if measures is None else measures_from_json(measures),
        place=None if fields["place"] is None else _base64(fields, "place"),
    )


def _disagreement(value: Any) -> Disagreement:
    wanted = list(Disagreement.__dataclass_fields__)
    if not isinstance(value, dict) or set(value) != set(wanted):
        raise ValueError(f"disagreement has not the fields {wanted}")
    return Disagreement(**{name: _number(value, name) for name in wanted})


def _cost(value: Any) -> Cost:
    wanted = set(Cost.__dataclass_fields__)
    if not isinstance(value, dict) or set(value) != wanted or not isinstance(value["device"], str):
        raise ValueError(f"cost has not the fields {sorted(wanted)}")
    seconds, waiting_s = _number(value, "seconds"), _number(value, "waiting_s")
    return Cost(seconds, waiting_s, _count(value, "peak_memory_bytes"), value["device"])


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a count")
    return value


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields[name]
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{name} is {str(value)[:40]!r}, not a number")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ValueError(f"{name} is larger than any number can be")
    return float(value)


def _base64(fields: dict[str, Any], name: str) -> str:
    value = fields[name]
    try:
        b64decode(value, validate=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {str(value)[:40]!r}, not base64") from error
    return value


def _table(fields: dict[str, Any], name: str, *, rows: int | None, columns: int) -> tuple[tuple[float, ...], ...]:
    value = fields[name]
    if not isinstance(value, list) or (rows is not None and len(value) != rows):
        raise ValueError(f"{name} is not a table of {rows or 'some'} rows")
    for row in value:
        if not isinstance(row, list) or len(row) != columns:
            raise ValueError(f"{name} has a row that is not {columns} numbers")
    return tuple(tuple(_number({name: entry}, name) for entry in row) for row in value)


@dataclass(frozen=True)
class DriftMeter:
    """An estimate of a video's drift without ground truth, from how much neighbouring windows disagree.

    Each window places its cameras relative to the one before with some error. Where the errors of many windows are
    independent, their squares add along the path; so the root of the sum of squared disagreements, divided by the
    estimated path, estimates relative drift. It detects what two windows estimate differently, and nothing of what
    both estimate wrongly.
    """

    overlaps: int  # pairs of neighbouring windows
    depth_relative: float  # mean over the overlaps
    rotation_deg: float  # root of the sum of squares
    translation: float  # root of the sum of squares, in the estimate's unit
    translation_percent: float | None  # of the estimated path; None where it does not move


def drift_meter(
    disagreements: Sequence[Disagreement], world_from_cam: Float64[np.ndarray, "frame 4 4"]
) -> DriftMeter | None:
    """Of all overlaps of a video and its estimated cameras; None where no windows overlap."""
    if not disagreements or len(world_from_cam) == 0:
        return None
    translation = float(np.sqrt(sum(one.translation**2 for one in disagreements)))
    path = float(np.linalg.norm(np.diff(world_from_cam[:, :3, 3], axis=0), axis=1).sum())
    return DriftMeter(
        overlaps=len(disagreements),
        depth_relative=float(np.mean([one.depth for one in disagreements])),
        rotation_deg=float(np.sqrt(sum(one.rotation_deg**2 for one in disagreements))),
        translation=translation,
        translation_percent=100 * translation / path if path > 0 else None,
    )


def drift_series(
    windows: Sequence[RecordedWindow], timestamps_s: Float64[np.ndarray, " frame"]
) -> dict[str, Float64[np.ndarray, " window"]]:
    """Of each window but the first: when it begins (seconds), and how far it is from the one before."""
    later = [window for window in windows if window.disagreement is not None]
    begins = [min(window.first_frame, len(timestamps_s) - 1) for window in later]
    found = [window.disagreement for window in later if window.disagreement is not None]
    return {
        "time": timestamps_s[begins] - timestamps_s[0] if begins else np.zeros(0),
        "depth": np.array([100 * one.depth for one in found]),
        "rotation": np.array([one.rotation_deg for one in found]),
        "translation": np.array([one.translation for one in found]),
    }
