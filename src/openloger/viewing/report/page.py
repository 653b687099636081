"""The report: one HTML file to send to somebody, with everything that it shows inside and nothing that runs."""

from __future__ import annotations

import html
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from openloger.errors import counted
from openloger.pages import Tile, code, document, figure, row, section, spin_tag, table, tiles
from openloger.recording import Recording
from openloger.shapes import UInt8
from openloger.viewing.report.plans import plan_svg
from openloger.viewing.report.sampled_frames import gradient, sampled_frames
from openloger.viewing.report.series import along_the_video, drift_plots, run_plots
from openloger.viewing.report.summary import RecordingSummary, summarise
from openloger.viewing.report.turntable import turntable
from openloger.viewing.scene.display import SPECTRUM
from openloger.viewing.scene.plans import plan_from_above, plan_from_the_side
from openloger.viewing.scene.snapshot import Overlay, SceneSnapshot, load_snapshot

POINTS = 80_000  # of the cloud that is painted
TURNS, FPS = 48, 12.0
SPIN_SIZE = (480, 768)  # height and width
_SPIN_BYTES = 6_000_000  # of the 10 MB that a report may have
_QUALITIES = (72, 50, 30, 12)


def report_page(recording: Recording, *, overlay: Overlay | None = None, scene_page: str | None = None) -> str:
    """The report's HTML; `overlay` adds the true path, `scene_page` is the name of a page beside it to be linked.

    Raises InputError where there is no frame yet, and RecordingError where the disk does not hold them.
    """
    scene = load_snapshot(recording, budget=POINTS, overlay=overlay)
    summary = summarise(recording)
    unit = recording.unit
    parts = [
        *_warnings(summary, recording),
        _hero(scene, summary, unit=unit, scene_page=scene_page),
        path_section(scene, unit=unit),
        sampled_frames(recording),
        *drift_plots(recording, unit=unit),
        along_the_video(recording, scene),
        run_plots(recording),
        section("How it was made", [table((), made_rows(summary, recording), kind="facts")]),
        section("How to go on", [code(commands(recording))]),
    ]
    return document(title_of(recording), parts, about=about_line(summary), foot=_foot())


def title_of(recording: Recording) -> str:
    """The recording's own name: sources are often called video.mp4."""
    return recording.path.resolve().name


def about_line(summary: RecordingSummary) -> str:
    """The source and the network."""
    source = Path(summary.source).name or summary.source
    made_by = f"{summary.network}, openloger {summary.openloger_version}"
    return f"{counted(summary.frames, 'frame')} of {source}, reconstructed by {made_by}"


def glance(scene: SceneSnapshot, summary: RecordingSummary, *, unit: str) -> str:
    """The numbers that are worth a glance, as HTML."""
    shown = [
        Tile("frames", f"{summary.frames}", f"{summary.width} × {summary.height} pixels, {summary.duration_s:.1f} s"),
        Tile("path", f"{summary.path_length:.3g} {unit}", f"in a box of {summary.path_box}"),
        Tile("depth", f"{scene.place.scale.depth:.3g} {unit}", "in the median"),
    ]
    if summary.focal_px is not None:
        fov = 2 * np.rad2deg(np.arctan(summary.width / 2 / summary.focal_px[1]))
        shown.append(Tile("field of view", f"{fov:.0f}° across", f"focal length {summary.focal_px[1]:.1f} pixels"))
    drift = summary.drift
    if drift is not None and drift.translation_percent is not None:
        note = f"of the path and {drift.rotation_deg:.2g}°, over {drift.overlaps} overlaps"
        shown.append(Tile("windows disagree by", f"{drift.translation_percent:.2g} %", note))
    if scene.overlay is not None:
        note = f"RMS over {scene.overlay.matched} frames, in the truth's unit"
        shown.append(Tile("off the truth", f"{scene.overlay.error:.3g}", note))
    if summary.cost is not None:
        devices, gigabytes = ", ".join(summary.cost.devices), summary.cost.peak_memory_bytes / 1e9
        shown.append(Tile("speed", f"{summary.cost.frames_per_s:.3g} frames/s", f"on {devices}"))
        shown.append(Tile("memory", f"{gigabytes:.2g} GB", "at the most"))
    return tiles(shown)


def preview(scene: SceneSnapshot) -> str:
    """The cloud on its turntable, as HTML; as fine as a report has room for."""
    count = f"{len(scene.snapshot.points):,}".replace(",", "\u202f")
    words = f"{count} points and the camera's path, on a turntable"
    return figure(_fitting(list(turntable(scene, turns=TURNS, size=SPIN_SIZE))), words)


def _fitting(pictures: Sequence[UInt8[np.ndarray, "height width 3"]]) -> str:
    title = "the cloud and the cameras' path, from all sides that the cameras saw"
    for quality in _QUALITIES:
        tag = spin_tag(pictures, title, fps=FPS, quality=quality)
        if len(tag) <= _SPIN_BYTES:
            return tag
    return spin_tag(pictures[:: len(pictures) // 4], title, fps=FPS / 4, quality=_QUALITIES[-1])


def _hero(scene: SceneSnapshot, summary: RecordingSummary, *, unit: str, scene_page: str | None) -> str:
    link = ""
    if scene_page is not None:
        name, address = html.escape(scene_page), quote(scene_page, errors="surrogateescape")
        link = f'<p class="note"><a href="{address}">Walk through the scene</a>: {name}, beside this page</p>'
    return row([preview(scene), glance(scene, summary, unit=unit)], "hero") + link


def path_section(scene: SceneSnapshot, *, unit: str) -> str:
    """The path from above and from the side, as HTML."""
    note = "The camera's path from begin (disc) to end (square), over what it saw"
    note += "" if scene.overlay is None else "; the true path is dashed"
    note += "" if scene.recorded_path is None else "; the path as it was recorded, from the same start, is dotted"
    note += f"; the closed loops ({len(scene.loops)}) are straight and dotted" if scene.loops else ""
    plans = [
        _headed("From above", plan_svg(plan_from_above(scene), scene, labels=(unit, unit))),
        _headed("From the side", plan_svg(plan_from_the_side(scene), scene, labels=(unit, f"height, {unit}"))),
    ]
    return section("Path", [row(plans), gradient("begin", SPECTRUM, "end")], note=note + ".")


def _headed(title: str, picture: str) -> str:
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{picture}</figure>"


def _warnings(summary: RecordingSummary, recording: Recording) -> list[str]:
    notes = []
    if not summary.complete:
        notes.append(f"Not complete: being written, or interrupted. This goes on with it: {summary.resume}")
    if summary.weights_hash is None:
        notes.append("The network had random weights: its reconstruction is meaningless.")
    clipped = sum(window.clipped_pixels for window in recording.windows)
    if clipped:
        notes.append(f"{clipped} depths lay outside the range of float16 and were put on its end.")
    notes += [f"{finding.kind.capitalize()}: {finding.text}." for finding in recording.findings]
    return [f'<p class="told">{html.escape(line)}</p>' for line in notes]


def made_rows(summary: RecordingSummary, recording: Recording) -> list[tuple[str, str]]:
    """The settings of the recording, row by row."""
    meta, settings = recording.meta, dict(summary.settings)
    low, median, high = summary.focal_px or (np.nan,) * 3
    windows = f"{settings.pop('window', '?')} frames, {settings.pop('overlap', '?')} of them shared with the next"
    versions = ", ".join(f"{name} {version}" for name, version in summary.versions.items())
    rows = [
        ("recording", f"{summary.path} ({summary.bytes / 1e6:.1f} MB)"),
        ("source", summary.source),
        ("network", summary.network),
        ("weights", summary.weights_hash or "random"),
        ("windows", windows),
        *((name.replace("_", " "), str(value)) for name, value in settings.items()),
        ("lens", f"{summary.lens}; focal length {median:.1f} pixels ({low:.1f} to {high:.1f})"),
        ("masks", ", ".join(summary.masks) or "none"),
        ("lengths", "metres" if summary.unit == "m" else "the recording's own unit: no scale is known"),
        ("corrected", "; ".join(summary.corrections) or "no: as recorded"),
        ("depth stored as", meta.depth_dtype),
        ("versions", versions or f"openloger {summary.openloger_version}; others were not recorded"),
    ]
    if summary.residual_px is not None:
        rows.insert(-2, ("fit", f"{summary.residual_px:.2f} pixels between the network's points and this lens, median"))
    return rows


def commands(recording: Recording) -> str:
    """The next commands, to be copied."""
    path = shlex.quote(str(recording.path))
    commands = {
        f"openloger view {path}": "look around in the browser",
        f"openloger export {path} --to colmap": "or ply, splat, mesh, las, glb, nerfstudio, usd, tum, …",
        f"openloger evaluate recording {path} --truth world_from_cam.txt": "numbers, where the truth is known",
    }
    width = max(map(len, commands))
    lines = [f"{command:{width}}  # {what}" for command, what in commands.items()]
    python = [
        "import openloger",
        f"recording = openloger.open_recording({str(recording.path)!r})",
        "recording.world_from_cam, recording.depth(0), recording.points_world(0)",
    ]
    return "\n".join([*lines, "", "# in Python", *python])


def _foot() -> str:
    return (
        "Depth and cameras are a network's estimates; confidence and disagreement are opinions of its own, "
        "not errors against a truth."
    )
