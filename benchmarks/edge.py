"""An exported network in ONNX Runtime, in float32 and int8, beside the same one in torch: speed by turns, and quality.

Frames/s are new frames of steady windows in one thread, by that thread's processor time, so that neighbours on the
machine matter little. Clips are folders with video.mp4 and world_from_cam.txt or depth_mm.npz or both, end to end.

    python benchmarks/edge.py [--network pocket] [--onnx DIR] [--int8 DIR] [--clip kitchen=DIR lab=DIR] [--out FILE]

Without `--onnx` and `--int8`, folders that `openloger export-network` wrote, the network is exported first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from model import depths

import openloger
from openloger.benchmarking import Ledger
from openloger.benchmarking.inputs import MovingPicture
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.errors import OpenlogerError
from openloger.evaluation import evaluate_recording
from openloger.evaluation.report import TableRows
from openloger.network import Network, OnnxNetwork, WindowNetwork, export_network, load_network
from openloger.streaming import network_size

PICTURE = (480, 640)


def frames_per_s(networks: Mapping[str, WindowNetwork], *, windows: int, repeats: int) -> dict[str, dict[str, float]]:
    """New frames a second of each network, and as many times torch's, both medians of turns beside one another."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(repeats + 1):
        for name in list(networks)[:: 1 if turn % 2 else -1]:
            seconds[name].append(_seconds_a_frame(networks[name], windows))
    first = next(iter(networks))
    return {
        name: {
            "frames_per_s": 1 / statistics.median(times[1:]),
            "as_fast": statistics.median(a / b for a, b in zip(seconds[first][1:], times[1:], strict=True)),
        }
        for name, times in seconds.items()
    }


def _seconds_a_frame(network: WindowNetwork, windows: int) -> float:
    config = network.config
    step = config.window - config.overlap
    picture = MovingPicture(config.window + windows * step, network_size(*PICTURE, config))
    placed = openloger.Stream(network).run(picture, ahead=0)
    next(placed)
    began = time.thread_time()
    for _ in placed:
        pass
    return (time.thread_time() - began) / (windows * step)


def quality(network: WindowNetwork, folder: Path) -> dict[str, float]:
    """Errors of a clip's path and depth, from its file to the recording."""
    with tempfile.TemporaryDirectory() as name:
        recording = openloger.reconstruct(folder / "video.mp4", Path(name) / "recording", network=network)
        found: dict[str, float] = {}
        if (folder / "world_from_cam.txt").exists():
            error = evaluate_recording(recording, folder / "world_from_cam.txt").numbers()["ate_rmse"]
            assert isinstance(error, float), "a path of several cameras has one"
            found["ate_rmse"] = error
        if (folder / "depth_mm.npz").exists():
            found["depth_abs_rel"] = depths(recording, folder / "depth_mm.npz")["depth_abs_rel"]
    return found


def megabytes(network: WindowNetwork) -> float:
    """Of the weights in torch, or of one graph."""
    if isinstance(network, OnnxNetwork):
        return (network.folder / "steady.onnx").stat().st_size / 1e6
    assert isinstance(network, Network)
    return sum(tensor.nbytes for tensor in network.state_dict().values()) / 1e6


def table(content: dict[str, Any]) -> TableRows:
    """A row for each way to run the network."""
    results = content["results"]
    clips = sorted(results["speed"]["clips"])
    rows: list[tuple[str, ...]] = []
    for name, speed in results["speed"]["networks"].items():
        row = [name, f"{speed['megabytes']:.1f} MB", f"{speed['frames_per_s']:.1f}", f"×{speed['as_fast']:.2f}"]
        for clip in clips:
            one = results[f"{name}, {clip}"]
            row.append(", ".join(f"{one[key]:.4f}" for key in ("depth_abs_rel", "ate_rmse") if key in one))
        rows.append(tuple(row))
    header = ("network", "size", "frames/s", "as fast", *(f"{clip}: AbsRel, ATE (m)" for clip in clips))
    return TableRows(header, tuple(rows), note=machine_line(content))


def loaded(given: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, WindowNetwork]]:
    """The network in torch, in ONNX Runtime and in int8."""
    network = load_network(given.network, device="cpu", dtype="float32")
    yield "torch", network
    for name, folder, int8 in (("onnx", given.onnx, False), ("onnx int8", given.int8, True)):
        if folder is None:
            export_network(network, folder := scratch / name, int8=int8)
        yield name, OnnxNetwork.load(folder, threads=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="pocket")
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--int8", type=Path)
    parser.add_argument("--windows", type=int, default=4, help="steady windows a turn")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--clip", nargs="+", default=[], metavar="NAME=DIR")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        run(given)
    except OpenlogerError as error:
        sys.exit(f"{Path(__file__).name}: {error}")


def run(given: argparse.Namespace) -> None:
    """Speed first, then each clip."""
    clips = dict(text.split("=", 1) for text in given.clip)
    ledger = Ledger("edge", vars(given), path=given.out)
    with tempfile.TemporaryDirectory() as scratch:
        networks = dict(loaded(given, Path(scratch)))
        speed = frames_per_s(networks, windows=given.windows, repeats=given.repeats)
        for name, network in networks.items():
            speed[name]["megabytes"] = megabytes(network)
        ledger.measure("speed", lambda: {"networks": speed, "clips": list(clips)})
        for name, network in networks.items():
            for clip, folder in clips.items():
                ledger.measure(f"{name}, {clip}", lambda n=network, f=folder: quality(n, Path(f)))
    ledger.conclude()
    show(table(ledger.content()), f"{given.network}, one thread")


if __name__ == "__main__":
    main()
