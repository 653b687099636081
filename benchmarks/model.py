"""How good a model is: worlds that training never saw, and real clips where they are given; beside what guessing gets.

Windows: depth after one scale a window beside the mean-depth image, and rotation between all pairs of a window's frames
beside no rotation at all; of other shapes too, as videos are wide or upright. Streams: path error of long videos in per
cent of the path, with and without memory, beside the best straight line. Clips: folders with video.mp4,
world_from_cam.txt and, where there is one, depth_mm.npz.

    python benchmarks/model.py --network pocket [--other-size 48 96] [--clip kitchen=DIR street=DIR]
        [--out model.json]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import openloger
from openloger.benchmarking import BenchmarkNetwork, Ledger
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.errors import InputError, OpenlogerError
from openloger.evaluation import (
    GatherSettings,
    MeasureSettings,
    align,
    evaluate_recording,
    gather_placed,
    measure,
    relative_error,
)
from openloger.evaluation.report import TableRows
from openloger.network import Network, weights_hash
from openloger.training.config import ValidationConfig, recipe
from openloger.training.render import render_clips
from openloger.training.validate import held_out, validate
from openloger.worlds import FAMILIES, World, world

WITHOUT_DEPTH = MeasureSettings(gather=GatherSettings(depth=False))
MEMORIES = ("all", "none")
TURN = 10  # frames over which a clip's rotation is judged
Size = tuple[int, int]  # height, width


def windows(network: Network, given: argparse.Namespace, size: Size) -> dict[str, dict[str, float]]:
    """Scores of single windows of a size, by family and of all."""
    first = recipe("pocket").stages[0]
    fps = float(given.fps)
    clips = replace(first.clips, size=size, rendered=given.window, fps=(fps, fps))
    plan = ValidationConfig(clips=given.worlds, frames=given.window, paths=0, pictures=0)
    scores = validate(network, held_out(replace(first, clips=clips), plan, render_clips))
    return {family: asdict(score) for family, score in scores.items()}


def stream(network: Network, shown: World, memory: str) -> dict[str, Any]:
    """One long world, streamed and held against its cameras."""
    placed = openloger.Stream(network, memory=memory).run(shown)
    return measure(gather_placed(placed, shown, WITHOUT_DEPTH.gather), WITHOUT_DEPTH).numbers()


def clip(network: Network, folder: Path) -> dict[str, Any]:
    """A real clip, from its file to the recording, and its error."""
    truth, depth = folder / "world_from_cam.txt", folder / "depth_mm.npz"
    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        recording = openloger.reconstruct(folder / "video.mp4", Path(name) / "recording", network=network)
        seconds = time.perf_counter() - began
        found = evaluate_recording(recording, truth, depth=depth if depth.exists() else None).numbers()
        cameras = np.loadtxt(truth).reshape(-1, 4, 4)
        aligned = align(recording.world_from_cam, cameras, how="sim3")
        still = align(np.broadcast_to(np.eye(4), cameras.shape), cameras, how="none")
    return {
        **{key: value for key, value in found.items() if isinstance(value, int | float)},
        f"rotation_deg_{TURN}_frames": relative_error(aligned, cameras, step=TURN).rotation_deg.median,
        f"guess_rotation_deg_{TURN}_frames": relative_error(still, cameras, step=TURN).rotation_deg.median,
        "frames_per_s": len(cameras) / seconds,
    }


def table(content: dict) -> TableRows:
    """What is asked, what was found, what a guess gets."""
    results, rows = content["results"], []
    for name, one in results.items():
        if name.startswith("windows"):
            families = one if name == "windows" else {"all": one["all"]}
            for family, score in families.items():
                found, guess = score["abs_rel"], score["guess_abs_rel"]
                rows.append((f"{name}, {family}: depth AbsRel", f"{found:.3f}", f"{guess:.3f}"))
                found, guess = score["rotation_median_deg"], score["guess_rotation_median_deg"]
                rows.append((f"{name}, {family}: rotation, median", f"{found:.2f}°", f"{guess:.2f}°"))
        if name.startswith("stream "):
            line = 100 * one["ate_rmse_of_straight_line"] / one["path_length"]
            rows.append((f"{name}: ATE", f"{one['ate_percent']:.1f} %", f"{line:.1f} %"))
        if name.startswith("clip "):
            rows.append((f"{name}: ATE", f"{one['ate_rmse']:.3f} m", f"{one['ate_rmse_of_straight_line']:.3f} m"))
            found, guess = one[f"rotation_deg_{TURN}_frames"], one[f"guess_rotation_deg_{TURN}_frames"]
            rows.append((f"{name}: rotation over {TURN} frames, median", f"{found:.2f}°", f"{guess:.2f}°"))
            if "depth_abs_rel" in one:
                found, guess = one["depth_abs_rel"], one["depth_abs_rel_of_constant"]
                rows.append((f"{name}: depth AbsRel", f"{found:.3f}", f"{guess:.3f}"))
            rows.append((f"{name}: end to end", f"{one['frames_per_s']:.0f} frames/s", ""))
    return TableRows(("what", "found", "guess"), tuple(rows), note=machine_line(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="pocket")
    parser.add_argument("--weights")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 80), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument(
        "--other-size",
        type=int,
        nargs=2,
        action="append",
        default=[],
        metavar=("HEIGHT", "WIDTH"),
        help="windows of this size too; as often as wanted",
    )
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--window", type=int, default=16, help="frames of a window")
    parser.add_argument("--worlds", type=int, default=24, help="held-out worlds a family, for the windows")
    parser.add_argument("--frames", type=int, default=1000, help="of a stream")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="held-out worlds a family, for the streams")
    parser.add_argument("--clip", nargs="+", default=[], metavar="NAME=DIR")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    try:
        run(given)
    except OpenlogerError as error:
        sys.exit(f"{Path(__file__).name}: {error}")


def run(given: argparse.Namespace) -> None:
    network = BenchmarkNetwork(given.network, given.weights).load()
    settings = {key: value for key, value in vars(given).items() if key not in ("out", "weights", "clip")}
    settings["weights_hash"] = None if network.weights is None else weights_hash(network.weights)
    ledger = Ledger("model", settings, path=given.out, resume=given.out is not None)
    ledger.measure("windows", lambda: windows(network, given, tuple(given.size)))
    for height, width in given.other_size:
        size = (height, width)
        ledger.measure(f"windows of {height}×{width}", lambda size=size: windows(network, given, size))
    for family, seed, memory in product(sorted(FAMILIES), given.seeds, MEMORIES):
        shown = world(family, seed=seed, size=tuple(given.size), fps=given.fps, frames=given.frames)
        name = f"stream {shown.name}, memory {memory}"
        ledger.measure(name, lambda shown=shown, memory=memory: stream(network, shown, memory))
    for one in given.clip:
        name, equals, folder = one.partition("=")
        if not equals or not (Path(folder) / "video.mp4").is_file():
            raise InputError(f"--clip {one!r}: give NAME=DIR of a folder with video.mp4 and world_from_cam.txt")
        ledger.measure(f"clip {name}", lambda folder=folder: clip(network, Path(folder)))
    ledger.conclude()
    show(table(ledger.content()), f"{given.network}, windows of {given.window} frames, streams of {given.frames}")


if __name__ == "__main__":
    main()
