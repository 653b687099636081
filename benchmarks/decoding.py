"""The speed of decoding and resizing a large video, as the main job does it ahead of the network.

    python benchmarks/decoding.py clip.mp4 --native 2160 3840 --size 280 504

The clip's first frames are encoded anew at the native size, by H.264; then they are decoded, converted and resized in a
thread, freed memory being kept. The seconds are this process's processor seconds, and those of the clock; the thread
that converts and resizes is the bottleneck where cores are free, so its own are given as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import torch

from openloger.frames import open_frames, resized
from openloger.runtime.allocator import keep_freed_memory
from openloger.runtime.prefetch import prefetch
from openloger.values import Frame


def encode(clip: Path, out: Path, *, frames: int, size: tuple[int, int]) -> None:
    """The clip's first frames at (height, width), in H.264."""
    height, width = size
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture, number in zip(source.decode(video=0), range(frames), strict=False):
            large = picture.reformat(width, height, "yuv420p")
            large.pts, large.time_base = number, Fraction(1, 30)
            target.mux(stream.encode(large))
        target.mux(stream.encode(None))


def timed(frames: Iterator[Frame], seconds: list[float]) -> Iterator[Frame]:
    """The frames; `seconds` gets those of the processor that each took in the thread that makes them."""
    before = time.thread_time()
    for frame in frames:
        seconds.append(time.thread_time() - before)
        yield frame
        before = time.thread_time()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("clip", type=Path)
    arguments.add_argument("--native", type=int, nargs=2, default=(2160, 3840), metavar=("HEIGHT", "WIDTH"))
    arguments.add_argument("--size", type=int, nargs=2, default=(280, 504), metavar=("HEIGHT", "WIDTH"))
    arguments.add_argument("--frames", type=int, default=90)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    size = (given.size[0], given.size[1])
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "large.mp4"
        encode(given.clip, video, frames=given.frames, size=(given.native[0], given.native[1]))
        own: list[float] = []
        began = time.process_time(), time.perf_counter()
        count = sum(1 for _ in prefetch(timed(resized(open_frames(video), size).frames(), own)))
        processor, clock = time.process_time() - began[0], time.perf_counter() - began[1]
    native = "×".join(map(str, given.native))
    print(
        f"{native} to {size[0]}×{size[1]}, {count} frames: {1e3 * processor / count:.1f} ms of the processor a frame, "
        f"{1e3 * sum(own) / count:.1f} of them converting and resizing; {count / clock:.1f} frames/s by the clock"
    )


if __name__ == "__main__":
    main()
