"""`openloger info`: what a recording holds."""

from __future__ import annotations

import json as json_module
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from openloger.export import PointSelection, select_points
from openloger.recording import Recording, open_recording
from openloger.shapes import Float

_FRAMES_SAMPLED = 16  # for the box of the scene
_PIXEL_STRIDE = 4


@dataclass(frozen=True)
class Box:
    """In the recording's axes (x right, y down, z forward, as the first camera sees it) and unit of length."""

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
class RecordingSummary:
    """What `info` tells. Lengths are in the recording's own unit; None: not known of so few frames or points."""

    path: str
    frames: int
    complete: bool
    resume: str | None  # the command that goes on with it, but for the options that it began with
    height: int
    width: int
    duration_s: float
    source: str
    network: str
    weights_hash: str | None  # None: random weights
    settings: Mapping[str, Any]
    lens: str
    openloger_version: str
    bytes: int  # on disk
    path_length: float
    path_box: Box | None
    scene_box: Box | None  # of 98 % of the points of 16 frames
    focal_px: tuple[float, float, float] | None  # least, median, most over the frames
    residual_px: float | None  # median over the frames


def info(recording: tyro.conf.Positional[Path], /, *, json: bool = False) -> int:
    """Tell what a recording holds, and how to go on with it where it is not complete.

    Args:
        recording: The recording's folder.
        json: Print it for programs.
    """
    summary = summarise(open_recording(recording))
    if json:
        print(json_module.dumps(asdict(summary)))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for row in _rows(summary).items():
        table.add_row(*row)
    Console(markup=False).print(table)
    if summary.resume is not None:
        print(f"\nThis goes on with it, given the options that it began with:\n{summary.resume}")
    return 0


def summarise(recording: Recording) -> RecordingSummary:
    """Reads all cameras and the depth of a few frames."""
    meta, count = recording.meta, len(recording)
    centres = recording.world_from_cam[:, :3, 3]
    times_s, focals, residuals = recording.timestamps_s, recording.intrinsics[:, 0, 0], recording.residual_px
    source, out = shlex.quote(meta.source), shlex.quote(str(recording.path))
    return RecordingSummary(
        path=str(recording.path),
        frames=count,
        complete=recording.complete,
        resume=None if recording.complete else f"openloger reconstruct {source} -o {out} --resume",
        height=meta.height,
        width=meta.width,
        duration_s=float(times_s[-1] - times_s[0]) if count else 0.0,
        source=meta.source,
        network=meta.network,
        weights_hash=meta.weights_hash,
        settings=dict(meta.settings),
        lens=meta.lens,
        openloger_version=meta.package_version,
        bytes=sum(file.stat().st_size for file in recording.path.rglob("*") if file.is_file()),
        path_length=float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum()),
        path_box=Box.around(centres) if count else None,
        scene_box=_scene_box(recording),
        focal_px=(float(focals.min()), float(np.median(focals)), float(focals.max())) if count else None,
        residual_px=_finite(float(np.median(residuals))) if count else None,
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _scene_box(recording: Recording) -> Box | None:
    stride = max(1, -(-len(recording) // _FRAMES_SAMPLED))
    selection = PointSelection(frame_stride=stride, pixel_stride=_PIXEL_STRIDE)
    if len(recording) == 0:
        return None
    points = np.concatenate([chunk.points_world for chunk in select_points(recording, selection)])
    return Box.around(points, share=0.98) if len(points) else None


def _rows(summary: RecordingSummary) -> dict[str, str]:
    low, median, high = summary.focal_px or (np.nan,) * 3
    return {
        "recording": f"{summary.path} ({summary.bytes / 1e6:.1f} MB)",
        "state": "complete" if summary.complete else "not complete",
        "frames": f"{summary.frames} of {summary.height}×{summary.width} pixels, {summary.duration_s:.1f} s",
        "source": summary.source,
        "network": f"{summary.network}, weights {summary.weights_hash or 'random'}",
        "settings": ", ".join(f"{name} {value}" for name, value in summary.settings.items()),
        "path": f"{summary.path_length:.3g} long, in a box of {summary.path_box or 'nothing'}",
        "scene": f"98 % in a box of {summary.scene_box}" if summary.scene_box else "no pixel that could be trusted",
        "focal length": f"{median:.1f} pixels ({low:.1f} to {high:.1f}), {summary.lens} lens",
        "fit": "none" if summary.residual_px is None else f"{summary.residual_px:.2f} pixels off in the median",
        "openloger": summary.openloger_version,
    }
