"""What long recordings cost to look at and to export: seconds and memory of each, against length.

    python benchmarks/long_recordings.py --frames 2000 4000
    python benchmarks/long_recordings.py --frames 19000 --jobs cloud ply

The recordings are those of `benchmarks/viewer.py`: small made-up pictures along a path that never comes back, the worst
case for a cloud of bounded size. Each job runs in a process of its own. CPU seconds count the process alone, so they
mean something on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from viewer import write_recording

from openloger import export_recording
from openloger.recording import Recording, open_recording
from openloger.runtime.resources import peak_resident_bytes
from openloger.viewing import POINT_BUDGET, load_snapshot, report_page

JOBS: dict[str, Callable[[Recording, Path], object]] = {
    "cloud": lambda recording, _: load_snapshot(recording, budget=POINT_BUDGET),
    "report": lambda recording, out: (out / "report.html").write_text(report_page(recording), encoding="utf-8"),
    "ply": lambda recording, out: export_recording(recording, "ply", out / "cloud.ply"),
    "glb": lambda recording, out: export_recording(recording, "glb", out / "scene.glb"),
    "colmap": lambda recording, out: export_recording(recording, "colmap", out / "colmap"),
}


def work(job: str, path: Path) -> None:
    """Print what one job took."""
    began_s, cpu_s = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as out:
        JOBS[job](open_recording(path), Path(out))
        taken = {
            "cpu_s": time.process_time() - cpu_s,
            "wall_s": time.perf_counter() - began_s,
            "peak_mb": peak_resident_bytes() / 1e6,
        }
    print(json.dumps(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[2000, 4000])
    parser.add_argument("--size", type=int, nargs=2, default=(48, 64), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        work(given.work[0], Path(given.work[1]))
        return
    for frames in given.frames:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "spiral"
            write_recording(path, frames, tuple(given.size))
            for job in given.jobs:
                command = [sys.executable, __file__, "--work", job, str(path)]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                taken = json.loads(output.splitlines()[-1])
                speed = frames / taken["cpu_s"]
                print(
                    f"{job}, {frames:,} frames: {taken['cpu_s']:.1f} s of CPU ({speed:,.0f} frames/s), "
                    f"{taken['wall_s']:.1f} s, peak {taken['peak_mb']:.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
