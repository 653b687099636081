"""Claim: bfloat16 and freed memory that is kept make the main job faster. All four ways by turns, a process each.

python benchmarks/inference.py VIDEO [VIDEO ...] [--network pocket] [--repeats 5] [--out inference.json]

A run in each process warms up, and the next one counts. Where memory is to be given back, GLIBC_TUNABLES names a
setting of malloc at its usual value, by which `openloger.runtime.allocator` leaves malloc alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from openloger import load_network, reconstruct
from openloger.benchmarking import Ledger
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.errors import OpenlogerError
from openloger.evaluation.report import TableRows
from openloger.network import Network

GIVEN_BACK = {"GLIBC_TUNABLES": "glibc.malloc.check=0"}
WAYS = {
    "float32, memory given back": ("float32", GIVEN_BACK),
    "float32, memory kept": ("float32", {}),
    "bfloat16, memory given back": ("bfloat16", GIVEN_BACK),
    "bfloat16, memory kept": ("bfloat16", {}),
}


def one(video: Path, network: str, dtype: str) -> dict[str, float]:
    """The second of two runs in this process."""
    loaded = load_network(network, device="cpu", dtype=dtype)
    run(loaded, video)
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    frames = run(loaded, video)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return {
        "frames_per_s": frames / seconds,
        "processor_ms": 1e3 * processor / frames,
        "faults": (after.ru_minflt - used.ru_minflt) / frames,
        "peak_mb": after.ru_maxrss / 1024,
    }


def run(network: Network, video: Path) -> int:
    """The number of frames reconstructed."""
    with tempfile.TemporaryDirectory() as folder:
        return len(reconstruct(video, Path(folder) / "recording", network=network))


def by_turns(video: Path, network: str, repeats: int) -> dict[str, dict[str, float]]:
    """Medians of each way over `repeats` turns, and how many times as fast as the first in its turn."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, (dtype, environment) in WAYS.items():
            command = [sys.executable, __file__, str(video), "--network", network, "--one", dtype]
            done = subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, text=True)
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
    first = [turn["frames_per_s"] for turn in runs[next(iter(WAYS))]]
    return {
        name: {key: statistics.median(turn[key] for turn in found) for key in found[0]}
        | {"times_as_fast": statistics.median(turn["frames_per_s"] / a for turn, a in zip(found, first, strict=True))}
        for name, found in runs.items()
    }


def table(content: dict[str, Any]) -> TableRows:
    """A row for each video and way."""
    rows = tuple(
        (
            f"{video}: {name}",
            f"{way['frames_per_s']:.0f}",
            f"×{way['times_as_fast']:.2f}",
            f"{way['processor_ms']:.1f} ms",
            f"{way['faults']:.0f}",
            f"{way['peak_mb']:.0f} MB",
        )
        for video, result in content["results"].items()
        for name, way in result.items()
    )
    header = ("way", "frames/s", "as fast as the first", "processor a frame", "page faults a frame", "peak memory")
    return TableRows(header, rows, note=machine_line(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--network", default="pocket")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        if given.one:
            print(json.dumps(one(given.videos[0], given.network, given.one)))
            return
        missing = [str(video) for video in given.videos if not video.exists()]
        if missing:
            sys.exit(f"{Path(__file__).name}: there is no {missing[0]}; give videos")
        ledger = Ledger("inference", {"network": given.network, "repeats": given.repeats}, path=given.out)
        for video in given.videos:
            name = f"{video.parent.name}/{video.name}"
            ledger.measure(name, lambda video=video: by_turns(video, given.network, given.repeats))
        ledger.conclude()
    except OpenlogerError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
    show(table(ledger.content()), given.network)


if __name__ == "__main__":
    main()
