"""Claim: a long video takes no more memory than a short one, and its last frames no more time than its first.

Runs `reconstruct` in fresh processes on videos of 400 and 2,000 frames (or those given) and prints, for each, the
peak resident memory and the median time a frame in the first and the last quarter.

    python benchmarks/constant_memory.py [--frames 400 2000] [--network pocket]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from clip import write_clip


def measure(video: Path, out: Path, network: str) -> dict[str, float]:
    """One run, in this process."""
    import openloger
    from openloger.resources import peak_memory_bytes

    moments: list[tuple[int, float]] = [(0, time.perf_counter())]
    options = openloger.RunOptions(on_progress=lambda p: moments.append((p.new_frames, time.perf_counter())))
    openloger.reconstruct(video, out, network=openloger.load_network(network, device="cpu"), options=options)
    steps = pairwise(moments[1:-1])  # without the first window and the short last one
    seconds = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in steps]
    quarter = max(len(seconds) // 4, 1)
    return {
        "peak_mb": peak_memory_bytes() / 1e6,
        "first_quarter_ms": 1e3 * statistics.median(seconds[:quarter]),
        "last_quarter_ms": 1e3 * statistics.median(seconds[-quarter:]),
        "frames_per_s": moments[-1][0] / (moments[-1][1] - moments[0][1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[400, 2000])
    parser.add_argument("--network", default="pocket")
    parser.add_argument("--one", nargs=2, metavar=("VIDEO", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(Path(arguments.one[0]), Path(arguments.one[1]), arguments.network)))
        return
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in arguments.frames:
            video = write_clip(Path(folder) / f"{frames}.mp4", frames)
            command = [sys.executable, __file__, "--network", arguments.network, "--one", str(video)]
            done = subprocess.run([*command, f"{folder}/{frames}"], check=True, stdout=subprocess.PIPE, text=True)
            result = json.loads(done.stdout.splitlines()[-1])
            peaks.append(result["peak_mb"])
            ratio = result["last_quarter_ms"] / result["first_quarter_ms"]
            print(
                f"{frames} frames: peak {result['peak_mb']:.0f} MB, {result['frames_per_s']:.1f} frames/s, "
                f"time a frame {result['first_quarter_ms']:.1f} → {result['last_quarter_ms']:.1f} ms (×{ratio:.3f})",
                flush=True,
            )
    print(f"peak memory, longest / shortest: ×{peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
