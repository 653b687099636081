"""Speed and memory against the length of a video: linear for the stream, quadratic for attention over all of it.

"full" is the same network with the whole video as one window, as a network without memory has to do it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from openloger.benchmarking.child import OnProgress, OverLimitError, in_child
from openloger.benchmarking.inputs import BenchmarkNetwork, MovingPicture, synchronize
from openloger.benchmarking.ledger import Ledger
from openloger.errors import InputError
from openloger.outputs import staged_file
from openloger.runtime.progress import Stopwatch
from openloger.runtime.resources import peak_memory_bytes
from openloger.streaming import Stream, network_size
from openloger.version import install_command

Engine = Literal["streaming", "full"]
PICTURE = (480, 640)  # the video's height and width, which the network sizes as it likes


@dataclass(frozen=True)
class LengthSettings:
    """Settings of the benchmark. Each length runs in a process of its own, so that its peak memory is its own."""

    frames: tuple[int, ...] = (100, 1000, 5000, 19000)
    """Lengths for the streaming engine."""
    full_frames: tuple[int, ...] = (50, 100, 200, 400, 800, 1600, 3200)
    """Lengths for full attention, which ends where it passes a limit."""
    full_limit_s: float = 120.0
    """Seconds that full attention may take, as foreseen from the length before it, and in fact."""
    full_limit_gb: float = 16.0
    """Memory that it may take (kept on Linux; on a GPU its own memory is the limit)."""


def measure_length(
    choice: BenchmarkNetwork, settings: LengthSettings, ledger: Ledger, *, on_progress: OnProgress
) -> None:
    """All lengths of both engines into the ledger, then what follows from them."""
    lengths = (*settings.frames, *settings.full_frames)
    if not lengths or min(lengths) < 1:
        raise InputError(f"frames {' '.join(map(str, lengths))}: give lengths of at least 1")
    shared = {"choice": asdict(choice)}
    for frames in sorted(settings.frames):
        arguments = {**shared, "engine": "streaming", "frames": frames}
        ledger.measure(
            f"streaming {frames}",
            lambda arguments=arguments: in_child(time_length, arguments, on_progress=on_progress),
        )
    previous: Mapping[str, Any] | None = None
    for frames in sorted(settings.full_frames):
        arguments = {**shared, "engine": "full", "frames": frames}
        previous = ledger.measure(
            f"full {frames}",
            lambda arguments=arguments, previous=previous: _full(arguments, settings, previous, on_progress),
        )
        if "over" in previous:
            break
    ledger.conclude(conclusions(ledger.results.values()))


def time_length(*, choice: dict[str, Any], engine: Engine, frames: int, on_progress: OnProgress) -> dict[str, Any]:
    """One engine over one length, in this process; the first frames of it run once before and are not counted."""
    network = BenchmarkNetwork(**choice).load()
    size = network_size(*PICTURE, network.config)
    warm_up = min(frames, 3 * network.config.window)
    for _ in _stream(network, "streaming", warm_up).run(MovingPicture(warm_up, size)):
        pass
    before_bytes = peak_memory_bytes()
    watch = Stopwatch(total=frames)
    began_s = time.perf_counter()
    for placed in _stream(network, engine, frames).run(MovingPicture(frames, size)):
        on_progress(watch.advance(placed.final_count))
    synchronize(network.device)
    seconds = time.perf_counter() - began_s
    return {
        "engine": engine,
        "frames": frames,
        "size": list(size),
        "seconds": seconds,
        "frames_per_s": frames / seconds,
        "peak_bytes": peak_memory_bytes(),
        "peak_bytes_before": before_bytes,
    }


def conclusions(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Per engine, the power of the length that time grows with between its two longest runs, and memory's growth."""
    found: dict[str, Any] = {}
    for engine in ("streaming", "full"):
        runs = sorted((one for one in results if one["engine"] == engine and "seconds" in one), key=_frames)
        if len(runs) < 2:
            continue
        shorter, longer = runs[-2], runs[-1]
        found[engine] = {
            "longest": longer["frames"],
            "time_power": math.log(longer["seconds"] / shorter["seconds"])
            / math.log(_frames(longer) / _frames(shorter)),
            "peak_longest_over_shortest": longer["peak_bytes"] / runs[0]["peak_bytes"],
        }
    return found


def draw(results: Iterable[Mapping[str, Any]], path: Path, *, title: str, overwrite: bool = False) -> None:
    """Seconds against frames, both in powers of ten, and peak memory against frames, from zero, as a PNG.

    Raises InputError without matplotlib, and where `path` exists and is not an earlier picture that may be replaced.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise InputError(f"the picture needs matplotlib: {install_command('view')}") from error
    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    for engine, colour, label in (
        ("streaming", "tab:blue", "openloger, streaming"),
        ("full", "tab:red", "full attention"),
    ):
        runs = sorted((one for one in results if one["engine"] == engine and "seconds" in one), key=_frames)
        frames = [_frames(one) for one in runs]
        axes[0].plot(frames, [one["seconds"] for one in runs], "o-", color=colour, label=label)
        axes[1].plot(frames, [one["peak_bytes"] / 1e9 for one in runs], "o-", color=colour, label=label)
    for axis, what in zip(axes, ("seconds", "peak memory, GB"), strict=True):
        axis.set(xscale="log", xlabel="frames", ylabel=what)
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(which="both", alpha=0.25)
        axis.legend()
    axes[0].set_yscale("log")
    axes[1].set_ylim(bottom=0)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    with staged_file(path, made_by="bench", overwrite=overwrite) as draft:
        figure.savefig(draft, dpi=110)
    plt.close(figure)


def _frames(result: Mapping[str, Any]) -> int:
    return result["frames"]


def _stream(network: Any, engine: Engine, frames: int) -> Stream:
    if engine == "streaming":
        return Stream(network, keyframes="all")
    return Stream(network, window=frames, overlap=0, placement="none", keyframes="all")


def _full(
    arguments: dict[str, Any], settings: LengthSettings, previous: Mapping[str, Any] | None, on_progress: OnProgress
) -> dict[str, Any]:
    frames = arguments["frames"]
    named = {"engine": "full", "frames": frames}
    if previous is not None:
        foreseen_s = previous["seconds"] * (frames / previous["frames"]) ** 2
        if foreseen_s > settings.full_limit_s:
            return {**named, "over": "time", "foreseen_s": foreseen_s}
    try:
        return in_child(
            time_length,
            arguments,
            limit_s=settings.full_limit_s + 60,  # loading and warming up are not what is limited
            limit_gb=settings.full_limit_gb,
            on_progress=on_progress,
        )
    except OverLimitError as over:
        return {**named, "over": str(over)}
