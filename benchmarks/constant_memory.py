"""Claim: a long video takes no more memory than a short one, and its last frames no more time than its first.

Runs `reconstruct` in fresh processes on 640×480 videos of 400 and 2,000 frames (or those given). `openloger bench soak`
is the same over one very long run.

    python benchmarks/constant_memory.py [--frames 400 2000] [--network pocket]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from openloger.benchmarking import BenchmarkNetwork, write_clip
from openloger.benchmarking.soak import soak, summary_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[400, 2000])
    parser.add_argument("--network", default="pocket")
    given = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in given.frames:
            video = write_clip(Path(folder) / f"{frames}.mp4", frames)
            choice = BenchmarkNetwork(given.network, device="cpu")
            result = soak(choice, video, Path(folder) / f"{frames}", on_progress=lambda progress: None)
            peaks.append(result["peak_bytes"])
            print(summary_line(result), flush=True)
    print(f"peak memory, longest / shortest: ×{peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
