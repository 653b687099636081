"""The viewer's texts: captions, progress, the recording's table."""

from __future__ import annotations

import html
import shlex
from pathlib import Path

from openloger.recording import RecordedFrame, Recording
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.overview import Snapshot
from openloger.viewing.scene.truth import Overlay


def caption(frame: RecordedFrame, *, first_s: float, count: int) -> str:
    """Of the current frame."""
    seconds = frame.timestamp_s - first_s
    return f"**{frame.number}** of {count - 1} · {seconds:.2f} s · {escaped(Path(frame.name).name)}"


def reading(snapshot: Snapshot, recording: Recording, *, problem: str | None) -> str:
    """The progress of the overview, and the last error of the disk."""
    if problem is not None:
        return f"**{escaped(problem)}**"
    points = f"{len(snapshot.points):,} points".replace(",", " ")
    state = "" if recording.complete else " · being written"
    if snapshot.blocks_read < snapshot.blocks:
        return f"{points} · reading {100 * snapshot.blocks_read // snapshot.blocks} %{state}"
    return f"{points} · all {snapshot.frame_count} frames read{state}"


def about(recording: Recording) -> str:
    """The recording in a table."""
    meta = recording.meta
    rows = {
        "recording": str(recording.path),
        "source": meta.source,
        "frames": f"{len(recording)} of {meta.height} × {meta.width} pixels",
        "state": "complete" if recording.complete else "not complete: being written, or interrupted",
        "network": f"{meta.network}, weights {meta.weights_hash or 'random'}",
        "settings": ", ".join(f"{name} {value}" for name, value in meta.settings.items()),
        "lens": meta.lens,
        "openloger": meta.package_version,
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {escaped(value)} |" for name, value in rows.items())


def alignment(overlay: Overlay) -> str:
    """The fit to the ground truth."""
    return (
        f"{overlay.error:.3g} off (RMS, in the truth's unit) over {overlay.matched} frames; "
        f"one of its units is {overlay.scale:.3g} here"
    )


def export_note(recording: Path, settings: Settings) -> str:
    """The command that writes every point within the sliders, at full density, of all times and depths."""
    edge = "None" if settings.edge_max is None else f"{settings.edge_max:g}"
    path = shlex.quote(str(recording))
    command = f"openloger export {path} --to ply --confidence-min {settings.confidence_min:g} --depth-edge {edge}"
    return f"All points at full density, by the same sliders:\n```\n{command}\n```"


def escaped(text: str) -> str:
    """For markdown and tables: names may hold anything."""
    text = text.encode("utf-8", "replace").decode()
    return html.escape(text).replace("|", "&#124;").replace("\n", " ").replace("*", "&#42;").replace("_", "&#95;")
