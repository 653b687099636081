"""The speed of each network by itself, in each precision, on each device of this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from openloger.benchmarking.child import OnProgress, OverLimitError, in_child
from openloger.benchmarking.inputs import BenchmarkNetwork, MovingPicture, synchronize
from openloger.benchmarking.ledger import Ledger
from openloger.errors import InputError
from openloger.network import PRESETS, preset
from openloger.network.load import cached
from openloger.runtime.progress import Stopwatch
from openloger.runtime.resources import peak_memory_bytes
from openloger.streaming import Stream, network_size
from openloger.values import FrameSource

PRECISIONS = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "bfloat16", "float16"), "mps": ("float32", "float16")}


@dataclass(frozen=True)
class PresetsSettings:
    """Settings of the benchmark. Each combination runs in a process of its own."""

    presets: tuple[str, ...] = ()
    """By default all on a GPU, those that a CPU can run in a minute on a CPU."""
    precisions: tuple[str, ...] = ()
    """By default those that make sense on the device."""
    devices: tuple[str, ...] = ()
    """By default all that this machine has."""
    picture: tuple[int, int] = (480, 640)
    """Height and width of the video; each network sizes it as it likes."""
    windows: int = 7
    """Counted windows; the median counts."""
    limit_s: float = 300.0
    """Seconds that a combination may take."""
    threads: int | None = None
    """Threads of torch on the CPU; by default as many as it takes by itself."""


def measure_presets(settings: PresetsSettings, ledger: Ledger, *, on_progress: OnProgress) -> None:
    """All combinations into the ledger; what takes too long, or does not run, is entered as such."""
    wanted = combinations(settings)
    watch = Stopwatch(total=len(wanted))
    for name, precision, device in wanted:
        arguments = {
            "choice": {
                "network": name,
                "weights": None if cached(name) else "random",  # speed does not depend on them
                "device": device,
                "dtype": precision,
                "threads": settings.threads,
            },
            "picture": list(settings.picture),
            "windows": settings.windows,
        }
        ledger.measure(f"{name} {precision} {device}", lambda arguments=arguments: _try(arguments, settings.limit_s))
        on_progress(watch.advance(1))
    ledger.conclude()


def combinations(settings: PresetsSettings) -> list[tuple[str, str, str]]:
    """(preset, precision, device) in the order that they run; raises InputError for names that are none."""
    for name in settings.presets:
        preset(name)
    if settings.windows < 1:
        raise InputError(f"windows {settings.windows}: at least 1 is needed")
    found = []
    for device in settings.devices or devices_here():
        kind = device.partition(":")[0]
        if kind not in PRECISIONS:
            raise InputError(f"device {device!r} is none of {', '.join(PRECISIONS)}")
        for name in settings.presets or (("pocket", "compact") if kind == "cpu" else tuple(PRESETS)):
            found += [(name, precision, device) for precision in settings.precisions or PRECISIONS[kind]]
    return found


def devices_here() -> tuple[str, ...]:
    """The CPU, and what else torch finds."""
    others = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ("cpu", *(name for name, is_there in others.items() if is_there))


def time_network(
    *, choice: dict[str, Any], picture: list[int], windows: int, on_progress: OnProgress
) -> dict[str, Any]:
    """One combination, in this process: the stream without files, two windows to warm up, then the median window."""
    network = BenchmarkNetwork(**choice).load()
    stream = Stream(network)
    size = network_size(picture[0], picture[1], network.config)
    length = stream.window + (windows + 1) * (stream.window - stream.overlap)
    seconds = window_seconds(stream, MovingPicture(length, size), lambda: synchronize(network.device))[2:]
    new = stream.window - stream.overlap
    return {
        "frames_per_s": new / statistics.median(seconds),
        "window_ms": 1e3 * statistics.median(seconds),
        "window": stream.window,
        "overlap": stream.overlap,
        "size": list(size),
        "windows": len(seconds),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "peak_bytes": peak_memory_bytes(),
    }


def window_seconds(stream: Stream, source: FrameSource, wait: Callable[[], None]) -> list[float]:
    """The seconds that each window took."""
    moments = [time.perf_counter()]
    for _ in stream.run(source):
        wait()
        moments.append(time.perf_counter())
    return [after - before for before, after in pairwise(moments)]


def _try(arguments: dict[str, Any], limit_s: float) -> dict[str, Any]:
    try:
        return in_child(time_network, arguments, limit_s=limit_s)
    except OverLimitError as over:
        limit = f"more than {limit_s:g} s" if str(over) == "time" else "more memory than there is"
        return {"fault": f"took {limit}"}
    except InputError as error:
        return {"fault": str(error)}
