"""A very long run: does a frame at the end cost what it cost at the beginning, and does memory stand still?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openloger.benchmarking.child import OnProgress, in_child
from openloger.benchmarking.inputs import BenchmarkNetwork, WorldVideo
from openloger.errors import InputError
from openloger.pipeline.options import RunOptions
from openloger.pipeline.reconstruct import reconstruct
from openloger.runtime.progress import Progress
from openloger.runtime.resources import peak_memory_bytes, peak_resident_bytes, resident_bytes
from openloger.shapes import Float64

SPAN = 1000  # frames at either end that are held against each other
TIME_TARGET = 1.03  # last span's time by the first's
GROWTH_TARGET = 0.02  # of the peak of memory, after the first span
TRAIL = 60  # points of memory that are kept along the run
LEAST_FRAMES = 50


@dataclass(frozen=True, slots=True)  # one a window: they are to weigh little in what they measure
class Moment:
    """The run after a window."""

    frames: int
    seconds: float
    cpu_s: float  # of the processor, all threads together: what neighbours on the machine do not touch
    resident_bytes: int | None  # now; None where the system does not report it
    peak_bytes: int


def render_world(*, world: dict[str, Any], folder: str, frames: int, on_progress: OnProgress) -> dict[str, str]:
    """The video, rendered in this process."""
    video = WorldVideo(**{**world, "size": tuple(world["size"])})
    return {"path": str(video.written(Path(folder), frames, on_progress=on_progress))}


def world_video(world: WorldVideo, folder: Path, frames: int, *, on_progress: OnProgress) -> Path:
    """The video of so many frames, rendered in a process of its own where it is not there yet."""
    path = folder / world.file_name(frames)
    if not path.exists():
        in_child(
            render_world,
            {"world": asdict(world), "folder": str(folder), "frames": frames},
            on_progress=on_progress,
        )
    return path


def soak(choice: BenchmarkNetwork, video: Path, out: Path, *, on_progress: OnProgress) -> dict[str, Any]:
    """The whole job on a video, in a process of its own."""
    arguments = {"choice": asdict(choice), "video": str(video), "out": str(out)}
    return in_child(run_and_watch, arguments, on_progress=on_progress)


def run_and_watch(*, choice: dict[str, Any], video: str, out: str, on_progress: OnProgress) -> dict[str, Any]:
    """The whole job on a video, in this process, measured after every window."""
    moments: list[Moment] = []

    def record(progress: Progress) -> None:
        seconds, cpu_s = progress.seconds, time.process_time()
        moments.append(Moment(progress.frames, seconds, cpu_s, resident_bytes(), peak_resident_bytes()))
        on_progress(progress)

    network = BenchmarkNetwork(**choice).load()
    options = RunOptions(existing="overwrite", on_progress=record)
    recording = reconstruct(video, out, network=network, options=options)
    size = [recording.meta.height, recording.meta.width]
    found = summarise(moments)
    return found | {"network": network.config.name, "size": size, "device_peak_bytes": peak_memory_bytes()}


def summarise(moments: Sequence[Moment]) -> dict[str, Any]:
    """First and last span, by the median window and in all; memory after the first span; and a trail of memory."""
    frames = np.array([moment.frames for moment in moments])
    seconds = np.array([moment.seconds for moment in moments])
    cpu_s = np.array([moment.cpu_s for moment in moments])
    peaks = np.array([moment.peak_bytes for moment in moments])
    if len(moments) < 4 or frames[-1] < LEAST_FRAMES:
        raise InputError(f"a soak needs at least {LEAST_FRAMES} frames, and four windows; these were {frames[-1]}")
    length = int(min(SPAN, frames[-1] // 2))
    begins = int(np.searchsorted(frames, length))  # the window that ends the first span
    ends = int(np.searchsorted(frames, frames[-1] - length, side="right")) - 1
    spans = (0, begins), (ends, len(frames) - 1)
    first_ms, last_ms = (_frame_ms(frames, seconds, *span) for span in spans)
    first_cpu_ms, last_cpu_ms = (_frame_ms(frames, cpu_s, *span) for span in spans)
    every = max(1, len(moments) // TRAIL)
    return {
        "frames": int(frames[-1]),
        "seconds": float(seconds[-1]),
        "frames_per_s": float(frames[-1] / seconds[-1]),
        "span": length,
        "first_ms": float(np.median(first_ms)),
        "last_ms": float(np.median(last_ms)),
        "time_ratio": float(np.median(last_ms) / np.median(first_ms)),
        "time_ratio_of_means": float(np.mean(last_ms) / np.mean(first_ms)),
        "cpu_ratio": float(np.median(last_cpu_ms) / np.median(first_cpu_ms)),
        "peak_bytes_after_span": int(peaks[begins]),
        "peak_bytes": int(peaks[-1]),
        "peak_growth": float(peaks[-1] / peaks[begins] - 1),
        "targets": {"time_ratio": TIME_TARGET, "peak_growth": GROWTH_TARGET},
        "trail": [[moment.frames, moment.resident_bytes, moment.peak_bytes] for moment in moments[::every]],
    }


def summary_line(result: Mapping[str, Any]) -> str:
    """The line for the README."""
    height, width = result["size"]
    return (
        f"{result['frames']:,} frames of {height}×{width} through `{result['network']}` in {result['seconds']:.0f} s "
        f"({result['frames_per_s']:.0f} frames/s); a frame of the last {result['span']:,} took "
        f"×{result['time_ratio']:.3f} the time of the first; peak memory {result['peak_bytes'] / 1e6:.0f} MB, "
        f"{100 * result['peak_growth']:+.1f} % after frame {result['span']:,}"
    )


def _frame_ms(frames: np.ndarray, seconds: np.ndarray, first: int, last: int) -> Float64[np.ndarray, " window"]:
    """Milliseconds a frame of the windows after moment `first` up to moment `last`."""
    return 1e3 * np.diff(seconds[first : last + 1]) / np.diff(frames[first : last + 1])
