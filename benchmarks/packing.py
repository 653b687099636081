"""How fast training reads the same clips from a dataset's own layout and from its packed shards.

    python benchmarks/packing.py tartanair /data/tartanair --frames 48 --stride 1 4 --size 280 504
    python benchmarks/packing.py world                       # a rendered room in the layout of TartanAir, 480×640

Each clip is drawn once and read from both, by turns; medians over the clips. The files have been read before, so that
they are in the system's memory: what is measured is opening, decoding, resizing and depth, not the disk. `--cold` drops
that memory before each clip, where the system allows it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from openloger.datasets import open_dataset, pack_dataset
from openloger.training.curriculum import DatasetPlan
from openloger.training.data import FileClipSpec
from openloger.training.footage import read_clip
from openloger.worlds import World


def write_tartanair(root: Path, *, frames: int, size: tuple[int, int]) -> None:
    """A room as TartanAir has it: PNG pictures, float32 depth in .npy."""
    place = root / "room" / "Easy" / "P000"
    for name in ("image_left", "depth_left"):
        (place / name).mkdir(parents=True)
    poses = []
    for number, sample in enumerate(World("rooms", seed=1, size=size, frames=frames)):
        Image.fromarray(sample.rgb).save(place / "image_left" / f"{number:06d}_left.png")
        np.save(place / "depth_left" / f"{number:06d}_left_depth.npy", sample.depth.astype(np.float32))
        poses.append(f"{number} 0 0 0 0 0 1")  # poses do not matter here
    (place / "pose_left.txt").write_text("\n".join(poses) + "\n")


def drop(folder: Path) -> None:
    """Let the system forget the files below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dataset")
    arguments.add_argument("folder", type=Path, nargs="?")
    arguments.add_argument("--frames", type=int, default=16)
    arguments.add_argument("--stride", type=int, nargs=2, default=(1, 4))
    arguments.add_argument("--size", type=int, nargs=2, default=(280, 378), metavar=("HEIGHT", "WIDTH"))
    arguments.add_argument("--clips", type=int, default=9)
    arguments.add_argument("--rendered", type=int, default=80, help="frames of the rendered room")
    arguments.add_argument("--cold", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        dataset, folder = given.dataset, given.folder
        if dataset == "world":
            dataset, folder = "tartanair", Path(scratch) / "raw"
            write_tartanair(folder, frames=given.rendered, size=(480, 640))
        began = time.perf_counter()
        packed = Path(scratch) / "packed"
        summary = pack_dataset(open_dataset(dataset, folder), packed)
        took_s = time.perf_counter() - began
        stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(
            f"packed {summary.frames} frames in {took_s:.1f} s ({summary.frames / took_s:.1f} frames/s); "
            f"{stored / 1e6:.1f} MB became {summary.bytes / 1e6:.1f} MB"
        )
        plans = {"own layout": DatasetPlan(dataset, str(folder)), "packed": DatasetPlan("packed", str(packed))}
        seconds: dict[str, list[float]] = {name: [] for name in plans}
        draw = np.random.default_rng(0)
        for clip in range(given.clips + 1):
            stride = int(draw.integers(*given.stride, endpoint=True))
            for name, plan in plans.items():
                if given.cold:
                    drop(folder)
                    drop(packed)
                began = time.perf_counter()
                read_clip(FileClipSpec(plan, clip, given.frames, stride, (given.size[0], given.size[1])))
                if clip:  # the first opens the sequences
                    seconds[name].append(time.perf_counter() - began)
        for name, taken in seconds.items():
            median = statistics.median(taken)
            print(
                f"{name}: {1e3 * median:.0f} ms a clip, {given.frames / median:.0f} frames/s (median of {len(taken)})"
            )
        print(f"×{statistics.median(seconds['own layout']) / statistics.median(seconds['packed']):.2f} as fast")


if __name__ == "__main__":
    main()
