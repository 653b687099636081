"""The speed of rendering worlds: frames/s of each family on all cores, and CPU time a frame.

A process a core, each with one thread, as the trainer's renderers are; every world is a stretch of video in groups of
eight frames, what is built once of a world included.

    python benchmarks/worlds.py [--size 160 224] [--worlds 8] [--frames 64] [--compiled] [--out worlds.json]

With `--compiled` by the compiled kernels as well, by turns, after a round of each that is not counted: compiling takes
minutes, and seconds once more for a batch of which a table has a single row.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from itertools import product
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import torch

from openloger.benchmarking import Ledger
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.errors import OpenlogerError
from openloger.evaluation.report import TableRows
from openloger.worlds import FAMILIES, World, render_clips

GROUP = 8  # frames rendered at once
FPS = 10

Task = tuple[str, int, tuple[int, int], int, bool]  # family, seed, size, frames, by compiled kernels


def render_one(family: str, seed: int, size: tuple[int, int], frames: int, compiled: bool) -> float:
    """Processor seconds that a stretch of a world takes."""
    torch.set_num_threads(1)
    began = time.process_time()
    opened = World(family, seed=seed, size=size, fps=FPS)
    for first in range(0, frames, GROUP):
        render_clips([(opened, range(first, min(first + GROUP, frames)))], compiled=compiled)
    return time.process_time() - began


def measure(pool: Pool, tasks: list[Task], processes: int) -> dict[str, float]:
    """All tasks shared out among the processes, which are warm."""
    began = time.perf_counter()
    cpu_s = sum(pool.starmap(render_one, tasks, chunksize=1))
    seconds, frames = time.perf_counter() - began, sum(frames for _, _, _, frames, _ in tasks)
    return {
        "frames": frames,
        "seconds": seconds,
        "frames_per_s": frames / seconds,
        "cpu_ms_per_frame": 1e3 * cpu_s / frames,
        "frames_per_cpu_s": frames / cpu_s,
        "processes": processes,
    }


def mean_scene(results: list[dict[str, float]]) -> dict[str, float]:
    """Of all families alike."""
    return {
        "frames_per_s": len(results) / sum(1 / one["frames_per_s"] for one in results),
        "cpu_ms_per_frame": sum(one["cpu_ms_per_frame"] for one in results) / len(results),
    }


def table(content: dict[str, Any]) -> TableRows:
    """A row a family and one for the mean scene."""
    rows = [
        (name, f"{one['frames_per_s']:.1f}", f"{one['cpu_ms_per_frame']:.1f}", f"{one['frames_per_cpu_s']:.1f}")
        for name, one in content["results"].items()
    ]
    for name, mean in (content["summary"] or {}).items():
        rows.append((name, f"{mean['frames_per_s']:.1f}", f"{mean['cpu_ms_per_frame']:.1f}", ""))
    header = ("family", "frames/s", "cpu ms a frame", "frames a cpu second")
    height, width = content["settings"]["size"]
    note = f"{height}×{width}, {content['settings']['processes']} processes of one thread; {machine_line(content)}"
    return TableRows(header, tuple(rows), frozenset(range(len(content["results"]), len(rows))), note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(160, 224), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--worlds", type=int, default=8, help="of each family")
    parser.add_argument("--frames", type=int, default=64, help="of each world")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    settings = {key: value for key, value in vars(given).items() if key != "out"}
    try:
        ledger = Ledger("worlds", settings, path=given.out)
    except OpenlogerError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
    size, families = tuple(given.size), sorted(FAMILIES)
    ways = {"": False, ", compiled": True} if given.compiled else {"": False}
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for way in ways.values():
            warm = [(family, 99, size, GROUP, way) for family in families] * given.processes
            pool.starmap(render_one, warm, chunksize=len(families))
        for family, (name, way) in product(families, ways.items()):
            tasks = [(family, seed, size, given.frames, way) for seed in range(given.worlds)]
            if way:
                pool.starmap(render_one, tasks * given.processes, chunksize=len(tasks))
            ledger.measure(family + name, lambda tasks=tasks: measure(pool, tasks, given.processes))
    ledger.conclude(
        {f"mean scene{name}": mean_scene([ledger.results[family + name] for family in families]) for name in ways}
    )
    show(table(ledger.content()), "rendering of worlds")


if __name__ == "__main__":
    main()
