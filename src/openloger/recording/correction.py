"""Corrections of a recording: similarities along its frames, in a small file beside it that can be taken away again.

A step moves the camera of frame f, and all that its depth shows, by one similarity S(f): x ↦ s R x + t. It has nodes at
some frames; between two of them S goes along the geodesic S₁ exp(u · log(S₁⁻¹ S₂)), which depends on no choice of the
world's frame, and before the first and after the last it stays as it is there. One node is a similarity of the whole
world (scale, gravity, GPS); many are a smooth correction (drift, closed loops). Steps are applied in order.

What was recorded is never changed: `Recording` applies the correction to all that it gives, so that exports, report,
viewer and metrics have it without a line of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openloger.errors import RecordingError, in_a_line
from openloger.geometry import Sim3
from openloger.geometry.earth import GeoOrigin
from openloger.outputs import partial_of, prepare
from openloger.recording.files import explain_os_errors, write_json, writer_lock
from openloger.recording.layout import CORRECTION_FILE
from openloger.recording.lines import CHECKSUM, is_whole, sealed
from openloger.runtime.platform import read_bytes, remove_file
from openloger.shapes import Int, Tensor

FORMAT = "openloger correction"
FORMAT_VERSION = 1
_ADVICE = "make room or give permission, and give the command again; the recording is as it was"


@dataclass(frozen=True, eq=False)
class CorrectionStep:
    """One correction, and what is known of the world after it."""

    method: str  # what it was found by: distance, gps, up, …
    frames: tuple[int, ...]  # of the nodes; numbers of the recording, increasing
    after_from_before: Sim3  # of each node, float64
    is_metric: bool  # whether lengths are metres afterwards
    is_upright: bool  # whether y is down along gravity afterwards
    origin: GeoOrigin | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of the fit; plain JSON values

    def __post_init__(self) -> None:
        assert len(self.frames) == len(self.after_from_before.scale) > 0
        assert all(a < b for a, b in zip(self.frames, self.frames[1:], strict=False))

    @property
    def text(self) -> str:
        """The step in a phrase."""
        along = f", changing along {len(self.frames)} frames" if len(self.frames) > 1 else ""
        closed = f", {len(self.details['closures'])} loops closed" if self.details.get("closures") else ""
        return f"{self.method}: scale × {float(self.after_from_before.scale.median()):.4g}{along}{closed}"

    def at(self, frames: Int[np.ndarray, " frame"]) -> Sim3:
        """S of each of these frames."""
        if len(self.frames) == 1:
            return self.after_from_before[torch.zeros(len(frames), dtype=torch.long)]
        nodes = np.array(self.frames)
        left = (np.searchsorted(nodes, frames, side="right") - 1).clip(0, len(nodes) - 2)
        share = ((frames - nodes[left]) / (nodes[left + 1] - nodes[left])).clip(0, 1)
        start = torch.from_numpy(left)
        return self.after_from_before[start] @ Sim3.exp(torch.from_numpy(share)[:, None] * self._twists[start])

    @cached_property
    def _twists(self) -> Tensor:
        """From each node to the next."""
        return (self.after_from_before[:-1].inverse() @ self.after_from_before[1:]).log()


@dataclass(frozen=True, eq=False)
class Correction:
    """The steps of a recording, first to last; at least one."""

    steps: tuple[CorrectionStep, ...]

    def at(self, frames: Int[np.ndarray, " frame"]) -> Sim3:
        """`corrected_from_recorded` of each of these frames."""
        moved = self.steps[0].at(frames)
        for step in self.steps[1:]:
            moved = step.at(frames) @ moved
        return moved

    def of_frames(self, count: int, *, views: int) -> Sim3:
        """`corrected_from_recorded` of the first `count` frames; the same for the `views` of an instant."""
        frames = np.arange(count)
        return self.at(frames - frames % views)

    @property
    def is_metric(self) -> bool:
        """Whether lengths are metres."""
        return self.steps[-1].is_metric

    @property
    def is_upright(self) -> bool:
        """Whether y is down along gravity."""
        return self.steps[-1].is_upright

    @property
    def origin(self) -> GeoOrigin | None:
        """The world's place on the earth, where it is known."""
        return self.steps[-1].origin


def correction_stamp(folder: Path) -> tuple[int, int] | None:
    """A stamp that changes when a recording's correction does; None: it has none."""
    try:
        found = (folder / CORRECTION_FILE).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def read_correction(folder: Path) -> Correction | None:
    """The correction of a recording; None where it has none.

    Raises:
        RecordingError: the file is damaged, or of another version.
    """
    file = folder / CORRECTION_FILE
    try:
        value: Any = json.loads(read_bytes(file))
        if value["format"] != FORMAT or value["version"] != FORMAT_VERSION:
            raise ValueError(f"it is {value['format']!r}, version {value['version']!r}")
        if CHECKSUM not in value or not is_whole(value):
            raise ValueError("its checksum does not match")
        steps = tuple(_step_from_json(step) for step in value["steps"])
        return Correction(steps) if steps else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RecordingError(
            f"{file}: cannot be read ({in_a_line(error)}); put it back from a copy, or take it away: the recording is "
            "then as it was recorded"
        ) from error


def check_correctable(folder: Path) -> None:
    """Check that a correction can be written beside a recording, before a long one is computed; it stays as it is.

    Raises:
        RecordingError: the disk refuses, or a run is writing to the recording.
    """
    with _steps_to_replace(folder):
        prepare(folder / CORRECTION_FILE, b"")
        remove_file(partial_of(folder / CORRECTION_FILE))


def add_correction(folder: Path, step: CorrectionStep, *, behind: Sequence[CorrectionStep] | None = None) -> Correction:
    """Write one more step behind those that are there; with `behind`, only where they are the ones that it was computed
    from.

    Raises:
        RecordingError: the disk refuses, a run is writing to the recording, or the steps are others than `behind`.
    """
    with _steps_to_replace(folder) as steps:
        if behind is not None and _steps_to_json(steps) != _steps_to_json(behind):
            raise RecordingError(
                f"{folder}: another command has changed its correction since this one began, whose result would be "
                "wrong now, and is not written; give the command again"
            )
        return _write(folder, (*steps, step))


def undo_correction(folder: Path) -> CorrectionStep:
    """Take the last step away, and give it.

    Raises:
        RecordingError: there is none, the disk refuses, or a run is writing to the recording.
    """
    with _steps_to_replace(folder) as steps:
        if not steps:
            raise RecordingError(f"{folder}: has no correction; there is nothing to undo")
        _write(folder, steps[:-1])
        return steps[-1]


@contextmanager
def _steps_to_replace(folder: Path) -> Iterator[tuple[CorrectionStep, ...]]:
    """The steps that are there, while nobody else may change them."""
    with explain_os_errors(folder, _ADVICE):
        lock = writer_lock(folder)
        try:
            before = read_correction(folder)
            yield () if before is None else before.steps
        finally:
            lock.release()


def _write(folder: Path, steps: tuple[CorrectionStep, ...]) -> Correction:
    if steps:
        value = {"format": FORMAT, "version": FORMAT_VERSION, "steps": _steps_to_json(steps)}
        write_json(folder / CORRECTION_FILE, sealed(value))
    else:
        remove_file(folder / CORRECTION_FILE)
    return Correction(steps)


def _steps_to_json(steps: Sequence[CorrectionStep]) -> list[dict[str, Any]]:
    return [_step_to_json(one) for one in steps]


def _step_to_json(step: CorrectionStep) -> dict[str, Any]:
    moved = step.after_from_before.to("cpu", torch.float64)
    rigid = moved.rigid.matrix()[:, :3].tolist()
    nodes = [
        {"frame": frame, "scale": scale, "rotation_and_translation": rows}
        for frame, scale, rows in zip(step.frames, moved.scale.tolist(), rigid, strict=True)
    ]
    return {
        "method": step.method,
        "is_metric": step.is_metric,
        "is_upright": step.is_upright,
        "origin": None if step.origin is None else asdict(step.origin),
        "details": dict(step.details),
        "nodes": nodes,
    }


def _step_from_json(value: Any) -> CorrectionStep:
    nodes: Sequence[Any] = value["nodes"]
    frames = tuple(node["frame"] for node in nodes)
    scale = torch.tensor([node["scale"] for node in nodes], dtype=torch.float64)
    rows = torch.tensor([node["rotation_and_translation"] for node in nodes], dtype=torch.float64)
    if rows.shape != (len(frames), 3, 4) or scale.shape != (len(frames),) or not frames:
        raise ValueError(f"nodes are {tuple(rows.shape)}")
    if not all(isinstance(frame, int) for frame in frames) or sorted(set(frames)) != list(frames):
        raise ValueError("frames of nodes do not increase")
    if not bool(rows.isfinite().all() & scale.isfinite().all() & (scale > 0).all()):
        raise ValueError("a node is not finite")
    origin = value["origin"]
    if origin is not None and not all(math.isfinite(number) for number in origin.values()):
        raise ValueError("its origin is not finite")
    return CorrectionStep(
        method=str(value["method"]),
        frames=frames,
        after_from_before=Sim3(scale, rows[:, :, :3], rows[:, :, 3]),
        is_metric=bool(value["is_metric"]),
        is_upright=bool(value["is_upright"]),
        origin=None if origin is None else GeoOrigin(**origin),
        details=dict(value["details"]),
    )
