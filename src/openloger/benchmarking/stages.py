"""Which part of the work takes which share of the time, the parts done one after the other."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openloger.benchmarking.inputs import BenchmarkNetwork, synchronize, write_clip
from openloger.benchmarking.serial import STAGES, StageClock, reconstruct_serially
from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.network import Network
from openloger.runtime.progress import Progress, Stopwatch


@dataclass(frozen=True)
class StagesSettings:
    """Settings of the benchmark."""

    frames: int = 100
    """Of a made-up video; a video of your own is taken whole."""
    size: tuple[int, int] = (480, 640)
    """Height and width of the made-up video in pixels."""
    repeats: int = 5
    """The number of runs; medians are reported. One more run comes first and is not counted."""


def measure_stages(
    choice: BenchmarkNetwork,
    settings: StagesSettings,
    *,
    video: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Medians of each stage's seconds a frame, and their shares of the whole, which was timed by itself."""
    if settings.repeats < 1:
        raise InputError(f"repeats {settings.repeats}: at least 1 is needed")
    network = choice.load()
    with tempfile.TemporaryDirectory() as folder:
        path = video or write_clip(Path(folder) / "clip.mp4", settings.frames, size=settings.size)
        watch = Stopwatch(total=settings.repeats + 1)
        runs: list[Mapping[str, float]] = []
        for number in range(settings.repeats + 1):
            runs.append(_one_run(path, Path(folder) / f"recording{number}", network))
            on_progress(watch.advance(1))
    return summarise(runs[1:])


def summarise(runs: list[Mapping[str, float]]) -> dict[str, Any]:
    """Of runs with seconds a frame by stage, and of the `whole`: medians, and the median run's shares of its whole."""
    medians = {name: statistics.median(run[name] for run in runs) for name in (*STAGES, "whole")}
    shares = {name: statistics.median(run[name] / run["whole"] for run in runs) for name in STAGES}
    return {
        "ms_per_frame": {name: 1e3 * seconds for name, seconds in medians.items()},
        "share": shares,
        "parts_of_whole": statistics.median(sum(run[name] for name in STAGES) / run["whole"] for run in runs),
        "serial_frames_per_s": 1 / medians["whole"],
        "repeats": len(runs),
    }


def _one_run(path: Path, out: Path, network: Network) -> dict[str, float]:
    source = open_frames(path)
    clock = StageClock(synchronize=lambda: synchronize(network.device))
    with clock.watching(network):
        whole_s = reconstruct_serially(source, out, network, clock=clock)
    frames = source.length or 1
    return {name: seconds / frames for name, seconds in {**clock.seconds, "whole": whole_s}.items()}
