"""Plots along a recording: drift, confidence, lens, speed and memory. HTML."""

from __future__ import annotations

import html

import numpy as np

from openloger.pages import Line, line_plot, row, section
from openloger.recording import Recording
from openloger.recording.windows import drift_series
from openloger.viewing.scene.snapshot import SceneSnapshot

_SIZE = (210, 400)  # height and width of a plot


def drift_plots(recording: Recording, *, unit: str) -> list[str]:
    """The drift meter along time; nothing for a recording of one window."""
    if len(recording.windows) < 2:
        return []
    drift = drift_series(recording.windows, recording.timestamps_s)
    title = "Drift meter"
    if len(drift["time"]) == 0:
        return [section(title, [], note="Not recorded: the windows of this recording share no frames.")]
    plots = [
        _plot("Depth", drift["time"], drift["depth"], "%"),
        _plot("Rotation", drift["time"], drift["rotation"], "degrees"),
        _plot("Position", drift["time"], drift["translation"], unit),
    ]
    note = (
        "How far each window is from the one before on the frames that both saw. It needs no ground truth, shows what "
        "two windows see differently, and nothing of what both see wrongly: distrust what lies around a peak."
    )
    return [section(title, [row(plots)], note=note)]


def along_the_video(recording: Recording, scene: SceneSnapshot) -> str:
    """Confidence and lens, frame by frame."""
    times_s, confidence = _times_s(recording), scene.snapshot.frame_confidence.astype(np.float64)
    read = np.isfinite(confidence)
    plots = []
    if read.any():
        plots.append(_plot("Confidence", times_s[read], confidence[read], "mean of the frame"))
    focal, residual = recording.intrinsics[:, 0, 0], recording.residual_px.astype(np.float64)
    plots.append(_plot("Focal length", times_s, focal, "pixels", from_zero=False))
    if np.isfinite(residual).any():
        plots.append(_plot("Fit of the lens", times_s, residual, "pixels off"))
    return section("Along the video", [row(plots)])


def run_plots(recording: Recording) -> str:
    """Speed and memory, window by window."""
    title = "Speed and memory"
    measured = [window for window in recording.windows if window.cost is not None]
    if not measured:
        return section(title, [], note="Not recorded: this recording was made before runs kept it.")
    costs = [window.cost for window in measured if window.cost is not None]
    frames = np.array([window.first_frame + window.final_count for window in measured], np.float64)
    seconds = np.array([cost.seconds for cost in costs])
    written = np.array([window.final_count for window in measured])
    speed = written / np.where(seconds > 0, seconds, np.nan)
    memory = np.array([cost.peak_memory_bytes for cost in costs]) / 1e9
    busy = 100 * (1 - np.array([cost.waiting_s for cost in costs]) / np.where(seconds > 0, seconds, np.nan))
    waiting = sum(cost.waiting_s for cost in costs) / max(float(seconds.sum()), 1e-9)
    plots = [
        _plot("Speed", frames, speed, "frames/s", x_label="frame"),
        _plot("Network at work", frames, busy, "% of the time", x_label="frame"),
        _plot("Memory", frames, memory, "GB, the most so far", x_label="frame"),
    ]
    device = ", ".join(dict.fromkeys(cost.device for cost in costs))
    note = f"{seconds.sum():.1f} s on {device}; the network was at work for {100 * (1 - waiting):.0f} % of it."
    if len(measured) < len(recording.windows):
        note += f" {len(recording.windows) - len(measured)} earlier windows did not record it."
    return section(title, [row(plots)], note=note)


def _times_s(recording: Recording) -> np.ndarray:
    times_s = recording.timestamps_s
    return times_s - times_s[0]


def _plot(
    title: str, x: np.ndarray, y: np.ndarray, unit: str, *, x_label: str = "seconds", from_zero: bool = True
) -> str:
    drawn = line_plot([Line(title, x, y)], x_label=x_label, y_label=unit, from_zero=from_zero, size=_SIZE)
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{drawn}</figure>"
