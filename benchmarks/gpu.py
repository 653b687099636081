"""Everything that a card decides, in one run of ten minutes: frames/s, share of peak, memory, stages, options by turns.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --device cpu --network pocket --frames 60      # tries the script without a card

Random weights do as well: time does not depend on them. Each option is run against the way it comes, by turns, and the
ratio of neighbouring runs is given. What there is no time for (`--seconds`) is named at the end, most important first.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from openloger.benchmarking import Ledger
from openloger.benchmarking.inputs import MovingPicture, synchronize
from openloger.benchmarking.serial import StageClock
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.evaluation.report import TableRows
from openloger.network import Network, Window, compile_regions, load_network
from openloger.network.kernels.attention import FUSED
from openloger.network.kernels.calibration import calibrated
from openloger.streaming import Stream
from openloger.worlds import FAMILIES, World, render_clips

WARM_UP = 3  # windows: the first has more frames to encode and no memory, the next may still choose kernels


@dataclass(frozen=True)
class Way:
    """One way to run a stream."""

    network: Network
    launches_ahead: bool | None = None
    around: Callable[[], AbstractContextManager[object]] = nullcontext


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="loger")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument(
        "--size", type=int, nargs=2, default=(480, 864), metavar=("HEIGHT", "WIDTH"), help="of the video"
    )
    parser.add_argument("--repeats", type=int, default=2, help="turns of each option")
    parser.add_argument("--seconds", type=float, default=540.0, help="time for all of it")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    began_s = time.perf_counter()
    network = load_network(given.network, weights="random", device=given.device)
    video = MovingPicture(given.frames, (given.size[0], given.size[1]))
    ledger = Ledger("gpu", vars(given), path=given.out)
    left_out = []
    for name, measure in measurements(network, video, given.repeats).items():
        if time.perf_counter() - began_s > given.seconds:
            left_out.append(name)
            continue
        ledger.measure(name, measure)
        print(f"{time.perf_counter() - began_s:6.0f} s  {name}: {ledger.content()['results'][name]}", flush=True)
    ledger.conclude()
    show(table(ledger.content()), f"{given.network} on {given.device}")
    if left_out:
        print(f"no time for: {', '.join(left_out)}")


def measurements(network: Network, video: MovingPicture, repeats: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """By name, the most important first."""
    plain = Way(network)

    def against(way: Callable[[], Way]) -> Callable[[], dict[str, Any]]:
        return lambda: by_turns(plain, way(), video, repeats)

    found: dict[str, Callable[[], dict[str, Any]]] = {
        "as it comes": lambda: whole(plain, video) | work(network, video),
        "kernels": lambda: kernels(network),
        "stages": lambda: stages(network, video),
        "one window after the other": against(lambda: Way(network, launches_ahead=False)),
    }
    if network.device.type == "cuda":
        found["waits of the host"] = lambda: host_waits(plain, video)
        for name, backends in {"torch": (), **{name: (name,) for name in FUSED}}.items():
            around = _attention(network, backends)
            found[f"attention by {name}"] = against(lambda around=around: Way(network, around=around))
    found["compiled"] = against(lambda: Way(compile_regions(copy.deepcopy(network))))
    found["worlds, 160×224"] = lambda: worlds(network.device, compiled=False)
    found["worlds, compiled"] = lambda: worlds(network.device, compiled=True)
    return found


def worlds(device: torch.device, *, compiled: bool) -> dict[str, Any]:
    """Frames of all families rendered together on a device, as they feed a trainer; what is built once is left out."""
    shown = [World(family, seed=seed, size=(160, 224), fps=10) for family in sorted(FAMILIES) for seed in range(2)]
    seconds = []
    for first in (0, 0, 8, 16):  # the first time kernels are compiled or loaded, the second cells are built
        began_s = time.perf_counter()
        render_clips([(world, range(first, first + 8)) for world in shown], device=device, compiled=compiled)
        synchronize(device)
        seconds.append(time.perf_counter() - began_s)
    return {"frames_per_s": 8 * len(shown) / statistics.median(seconds[1:]), "first_s": seconds[0]}


def whole(way: Way, video: MovingPicture) -> dict[str, Any]:
    """Frames/s of the stream after its first windows, and the peak of the card's memory."""
    device = way.network.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    stream = Stream(way.network)
    frames, began_s = 0, 0.0
    with way.around():
        for placed in stream.run(video, launches_ahead=way.launches_ahead):
            if placed.number < WARM_UP:
                began_s, frames = time.perf_counter(), 0
            else:
                frames += placed.final_count
    found: dict[str, Any] = {"frames_per_s": frames / (time.perf_counter() - began_s)}
    if device.type == "cuda":
        found["peak_memory_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
        found["weights_gb"] = sum(weight.nbytes for weight in way.network.parameters()) / 1e9
    return found


def by_turns(plain: Way, other: Way, video: MovingPicture, repeats: int) -> dict[str, Any]:
    """Both ways in turn, the one that begins changing; the first of each is not counted, nor what it compiles."""
    found: dict[Way, list[dict[str, Any]]] = {plain: [], other: []}
    for turn in range(repeats + 1):
        for way in (plain, other)[:: 1 if turn % 2 else -1]:
            found[way].append(whole(way, video))
    before, after = ([one["frames_per_s"] for one in runs[1:]] for runs in found.values())
    ratio = statistics.median(b / a for a, b in zip(before, after, strict=True))
    return found[other][-1] | {"frames_per_s": statistics.median(after), "times_as_fast": ratio}


def work(network: Network, video: MovingPicture) -> dict[str, float]:
    """Multiplications and additions of a steady window, a new frame, and the device's most in large products."""
    (window, memory), stream = _steady(network, video), Stream(network)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(window, memory)
    per_frame = counter.get_total_flops() / (stream.window - stream.overlap)
    return {"tflop_per_frame": per_frame / 1e12, "peak_tflops": peak_tflops(network)}


def peak_tflops(network: Network) -> float:
    """Of square products in the network's precision."""
    size = 8192 if network.device.type == "cuda" else 1024
    a = torch.randn(size, size, device=network.device, dtype=network.precision)
    seconds = []
    for _ in range(12):
        synchronize(network.device)
        began_s = time.perf_counter()
        _ = a @ a
        synchronize(network.device)
        seconds.append(time.perf_counter() - began_s)
    return 2 * size**3 / statistics.median(seconds[2:]) / 1e12


def stages(network: Network, video: MovingPicture) -> dict[str, float]:
    """Milliseconds a new frame of each part, the device waited for at every border."""
    stream, clock = Stream(network), StageClock(synchronize=lambda: synchronize(network.device))
    frames = 0
    with clock.watching(network):
        for placed in stream.run(video, observer=lambda: clock.stage("placement"), ahead=0):
            if placed.number == WARM_UP - 1:
                clock.seconds = dict.fromkeys(clock.seconds, 0.0)
            frames += placed.final_count if placed.number >= WARM_UP else 0
            if frames > 200:
                break
    return {name: 1e3 * seconds / max(frames, 1) for name, seconds in clock.seconds.items() if seconds > 0}


def host_waits(way: Way, video: MovingPicture) -> dict[str, Any]:
    """How often torch made the host wait for the card, and where first; events waited for do not count."""
    short = MovingPicture(min(video.length, 150), video.size)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            whole(way, short)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    places = sorted({f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)})
    return {"waits": len(caught), "places": places}


def _steady(network: Network, video: MovingPicture) -> tuple[Window, Any]:
    """A window that finds a memory, and that memory."""
    kept: list[tuple[Window, Any]] = []
    hook = network.register_forward_pre_hook(lambda _, given: kept.append(given))
    for placed in Stream(network).run(MovingPicture(min(video.length, 100), video.size), ahead=0):
        if placed.number == 1:
            break
    hook.remove()
    return kept[1]


def _attention(network: Network, backends: tuple[str, ...]) -> Callable[[], AbstractContextManager[object]]:
    """The network prefers these while it lasts; as it comes it prefers what was measured."""

    @contextmanager
    def chosen() -> Iterator[None]:
        before = network.kernels
        network.kernels = replace(before, attention=backends)
        try:
            yield
        finally:
            network.kernels = before

    return chosen


def kernels(network: Network) -> dict[str, Any]:
    """What is chosen for this network on its device by the measurement at first use, made anew."""
    found = calibrated(network.config, network.device, mode="again")
    ratios = {f"{one.choice} {one.other}": one.ratio for one in found.comparisons}
    return {"chosen": found.describe(), "times_the_default": ratios, "seconds": found.seconds}


def table(content: dict[str, Any]) -> TableRows:
    """A row for each measurement."""
    rows = []
    for name, one in content["results"].items():
        if name == "stages":
            total = sum(one.values())
            rows += [(f"stage {part}", f"{ms:.2f} ms a frame", f"{ms / total:.0%}", "") for part, ms in one.items()]
        elif "frames_per_s" in one:
            memory = f"{one['peak_memory_gb']:.2f} GB" if "peak_memory_gb" in one else ""
            if "times_as_fast" in one:
                note = f"×{one['times_as_fast']:.2f}"
            elif "first_s" in one:
                note = f"the first time {one['first_s']:.1f} s"
            else:
                note = f"{one['frames_per_s'] * one['tflop_per_frame'] / one['peak_tflops']:.0%} of the measured peak"
            rows.append((name, f"{one['frames_per_s']:.1f} frames/s", note, memory))
        elif "chosen" in one:
            ratios = ", ".join(f"{way} ×{ratio:.2f}" for way, ratio in one["times_the_default"].items())
            rows.append((name, one["chosen"], f"time by the default's: {ratios}", ""))
        else:
            rows.append((name, str(one["waits"]), ", ".join(one["places"]), ""))
    return TableRows(("what", "measured", "as fast, or share", "peak memory"), tuple(rows), note=machine_line(content))


if __name__ == "__main__":
    main()
