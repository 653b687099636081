"""300,000 frames of a toy, and fifty runs in one process: memory stands still, nothing is left open or running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from campaign.faults import counted

import openloger
from openloger import RunOptions
from openloger.network import load_network
from openloger.runtime.platform import open_descriptors, resident_bytes
from openloger.runtime.progress import Progress

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
SIZE = (16, 16)
GROWTH = 0.02


def toy(frames: int) -> Iterator[np.ndarray]:
    """Pictures that move, made one at a time."""
    base = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    for number in range(frames):
        yield np.roll(base, number, axis=1)


def test_memory_stands_still_over_a_very_long_run(tmp_path: Path) -> None:
    frames = counted(300_000)
    every = max(1, frames // 40)  # a list of all would grow by itself
    sizes = {0: 0}

    def record(progress: Progress) -> None:
        if progress.frames == frames or progress.frames - max(sizes) >= every:
            sizes[progress.frames] = resident_bytes() or 0
            print(f"{progress.frames}: {sizes[progress.frames] / 1e6:.2f} MB, {progress.seconds:.0f} s", flush=True)

    network = load_network("pocket", weights="random", device="cpu", dtype="float32")
    options = RunOptions(on_progress=record)
    recording = openloger.reconstruct(toy(frames), tmp_path / "out", network=network, size=SIZE, options=options)
    assert recording.complete
    assert len(recording) == frames
    settled = [size for done, size in sizes.items() if done >= frames / 10]
    growth = settled[-1] / settled[0] - 1
    print(f"{frames} frames: {settled[0] / 1e6:.1f} MB, {settled[-1] / 1e6:.1f} MB in the end: {growth:+.2%}")
    assert growth < GROWTH


def test_fifty_runs_in_one_process_leave_nothing(tmp_path: Path) -> None:
    network = load_network("pocket", weights="random", device="cpu", dtype="float32")
    seen: list[tuple[int, int]] = []
    for number in range(max(6, counted(50))):
        frames = list(toy(20))
        options = RunOptions(existing="overwrite")
        if number % 3 == 1:  # broken off
            frames[15] = frames[15][:8]
            with pytest.raises(openloger.BadFrameError):
                openloger.reconstruct(frames, tmp_path / "out", network=network, size=SIZE, options=options)
        else:
            openloger.reconstruct(frames, tmp_path / "out", network=network, size=SIZE, options=options)
        seen.append((threading.active_count(), open_descriptors() or 0))
    print(f"{len(seen)} runs: (threads, descriptors) {seen[3]} after three, {seen[-1]} in the end")
    assert seen[-1][0] <= seen[3][0]
    assert seen[-1][1] <= seen[3][1]
