"""How a batch of short videos scales with workers: batches on one worker and on two, by turns.

    python benchmarks/batch.py [--videos 200] [--turns 4] [--held]

Each turn reconstructs another share of the videos on one worker and then, afresh, on two (the order changes from turn
to turn), in one Ray, so that what else the machine does weighs on both alike. Ray's start and the loading of networks
are left out, as they do not grow with the archive. `--held` keeps every worker to a core of its own (Linux), as where
there are as many workers as cores: a worker that is alone decodes and writes on the other core, beside its network.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openloger.batch import Video, VideoOptions, WorkerPool, WorkerResources, list_videos
from openloger.batch.video import VideoJob
from openloger.datasets.writing import VideoWriter
from openloger.network import NetworkSpec
from openloger.runtime.platform import processor_name, usable_cores

FRAMES, SIZE = 24, (64, 80)


def write_clips(folder: Path, count: int) -> None:
    """Videos of a picture that moves, 24 frames each."""
    for number in range(count):
        picture = np.random.default_rng(number).integers(0, 256, (16, 20 + FRAMES, 3), dtype=np.uint8)
        with VideoWriter(folder / f"{number:04d}.mp4", fps=10.0) as video:
            for shift in range(FRAMES):
                video.write(np.ascontiguousarray(picture[:, shift : shift + 20].repeat(4, 0).repeat(4, 1)))


def hold_workers_to_cores() -> None:
    """Each worker's threads to a core of its own, in the order of their process numbers."""
    titles = Path("/proc").glob("[0-9]*/cmdline")
    workers = [int(title.parent.name) for title in titles if title.read_bytes().startswith(b"ray::_Worker")]
    for core, worker in zip(sorted(os.sched_getaffinity(0)), sorted(workers), strict=False):
        for thread in Path(f"/proc/{worker}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def seconds(videos: Sequence[Video], out: Path, workers: int, *, held: bool) -> float:
    """The time of a share of the videos on so many workers."""
    job = VideoJob(NetworkSpec("pocket", None, "cpu", "float32"), str(out), (), str(out / "scratch"), 0)
    with WorkerPool(job, WorkerResources(workers=workers)) as pool:
        list(pool.run([]))  # it ends when every worker has its network
        if held:
            hold_workers_to_cores()
        began_s = time.perf_counter()
        for finished in pool.run(videos):
            assert finished.result is not None, finished.error
            assert finished.result.state == "complete", finished.result.error
        return time.perf_counter() - began_s


def main() -> None:
    """Print the times of all turns, and their ratio."""
    import ray

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--held", action="store_true", help="each worker to a core of its own")
    arguments = parser.parse_args()
    print(f"{processor_name()}, {usable_cores()} cores; {arguments.videos} videos of {FRAMES} frames, pocket, float32")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        write_clips(folder / "clips", arguments.videos)
        listed = list(list_videos([str(folder / "clips")], VideoOptions(size=SIZE)))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        total = {1: 0.0, 2: 0.0}
        for turn in range(arguments.turns):
            share = listed[turn :: arguments.turns]
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                took = seconds(share, folder / f"out-{turn}-{workers}", workers, held=arguments.held)
                total[workers] += took
                print(f"turn {turn}: {len(share)} videos on {workers}: {took:.1f} s", flush=True)
        ray.shutdown()
    print(f"one worker {total[1]:.1f} s, two {total[2]:.1f} s: ×{total[1] / total[2]:.2f}")


if __name__ == "__main__":
    main()
