"""The speed of writing and reading a recording, and its bytes a frame.

    python benchmarks/recording.py --video clip.mp4 --size 280 504

Windows go through `BackgroundWriter` as in a run: their cameras are fitted, they are measured, compressed and
committed; freed memory is kept. Depths are smooth with half a percent of noise; pictures are the video's, or noise
where none is given.
Processor seconds are this process's own, so that neighbours on the machine matter little; those of the clock have the
disk's in them, which is waited for so many times.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from openloger.geometry import Sim3, unproject
from openloger.recording import BackgroundWriter, RecordingMeta, create_recording, open_recording
from openloger.runtime.allocator import keep_freed_memory
from openloger.runtime.platform import peak_resident_bytes
from openloger.values import Frame, PlacedWindow

WINDOW, OVERLAP = 32, 3


def pictures(video: Path | None, size: tuple[int, int]) -> list[np.ndarray]:
    """One window of pictures."""
    if video is None:
        return list(np.random.default_rng(0).integers(0, 256, (WINDOW, *size, 3), dtype=np.uint8))
    import av

    with av.open(str(video)) as container:
        frames = (frame for frame, _ in zip(container.decode(video=0), range(WINDOW), strict=False))
        return [frame.reformat(size[1], size[0], format="rgb24").to_ndarray() for frame in frames]


def placed_window(video: Path | None, size: tuple[int, int]) -> PlacedWindow:
    generator = torch.Generator().manual_seed(0)
    height, width = size
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    smooth = 3 + torch.sin(x + torch.arange(WINDOW)[:, None, None] / 10) + torch.cos(2 * y)
    depth = smooth * (1 + 0.005 * torch.randn(smooth.shape, generator=generator))
    intrinsics = torch.tensor([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]])
    rgbs = pictures(video, size)
    confidence_logit = 2 * smooth - 6 + 0.05 * torch.randn(smooth.shape, generator=generator)
    return PlacedWindow(
        number=0,
        frames=tuple(Frame(rgb, i, i / 30, f"{i:06d}.png") for i, rgb in enumerate(rgbs)),
        world_from_cam=torch.eye(4, dtype=torch.float64).expand(WINDOW, 4, 4),
        points_cam=unproject(depth, intrinsics),
        confidence_logit=confidence_logit,
        world_from_window=Sim3.identity(dtype=torch.float64),
        metric_scale=None,
        disagreement=None,
        final_count=WINDOW - OVERLAP,
        last=False,
    )


def count_syncs() -> list[int]:
    """The files that are synced from here on."""
    synced: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    os.fsync = counted
    return synced


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--video", type=Path)
    arguments.add_argument("--size", type=int, nargs=2, default=(160, 224), metavar=("HEIGHT", "WIDTH"))
    arguments.add_argument("--windows", type=int, default=20)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    height, width = given.size
    placed = placed_window(given.video, (height, width))
    meta = RecordingMeta(height=height, width=width, source="benchmark", network="none", weights_hash=None, settings={})
    with tempfile.TemporaryDirectory() as folder:
        with BackgroundWriter(create_recording(Path(folder) / "out", meta)) as writer:
            writer.append(placed)  # the first makes the arrays grow
            writer.flush()
            synced = count_syncs()
            began = time.process_time(), time.perf_counter()
            for _ in range(given.windows):
                writer.append(replace(placed))  # whose camera is yet to be fitted
            writer.flush()
            ended = time.process_time(), time.perf_counter()
            frames, syncs = given.windows * placed.final_count, len(synced) / given.windows
            writing, waiting = ((after - before) / frames for before, after in zip(began, ended, strict=True))
            writer.finish()
        peak_mb = (peak_resident_bytes() or 0) / 1e6
        recording = open_recording(Path(folder) / "out")
        began = time.process_time()
        for _ in recording:
            pass
        reading = (time.process_time() - began) / len(recording)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / len(recording)
    print(
        f"{height}×{width}: {1 / writing:.0f} frames written in a second of the processor, {1 / waiting:.0f} in one of "
        f"the clock, {syncs:.1f} syncs a window of {placed.final_count}; {1 / reading:.0f} read; "
        f"{size:,.0f} bytes a frame ({size / (6 * height * width):.2f} of raw); peak memory {peak_mb:.0f} MB"
    )


if __name__ == "__main__":
    main()
