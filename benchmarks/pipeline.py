"""Claim: the network is the bottleneck. Decoding ahead, writing behind and carried features against none of them.

Runs the whole job side by side with a naive twin (decode, encode all frames of every window, write, one after the
other) and prints medians, their ratio, and the share of the time in which the network was busy.

    python benchmarks/pipeline.py [--network compact] [--frames 200] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from clip import write_clip

import openloger
from openloger.frames import open_frames, resized
from openloger.network import Network, Window
from openloger.recording import RecordingMeta, create_recording
from openloger.streaming import Stream, network_frame_size


class ForgetfulNetwork(Network):
    """The same network, which encodes the frames shared with the previous window again."""

    def forward(self, window: Window, memory=None):
        return super().forward(window, memory and replace(memory, overlap_features=None))


def fast(video: Path, out: Path, network: Network) -> float:
    """The main job; returns the share of time in which the network was busy."""
    busy: list[float] = []
    options = openloger.RunOptions(on_progress=lambda progress: busy.append(progress.busy))
    openloger.reconstruct(video, out, network=network, options=options)
    return busy[-1]


def naive(video: Path, out: Path, network: Network) -> None:
    """The same maths, one thing after the other."""
    forgetful = ForgetfulNetwork(network.config)
    forgetful.load_state_dict(network.state_dict())
    source = resized(open_frames(video), lambda height, width: network_frame_size(height, width, network.config))
    writer = None
    for placed in Stream(forgetful.eval().requires_grad_(False)).run(source):
        height, width = placed.frames[0].rgb.shape[:2]
        meta = RecordingMeta(
            height=height, width=width, source="naive", network="naive", weights_hash=None, settings={}
        )
        writer = writer or create_recording(out, meta)
        writer.append(placed)
    assert writer is not None
    writer.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="compact")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    network = openloger.load_network(arguments.network, device="cpu")
    seconds: dict[str, list[float]] = {"pipelined": [], "naive": []}
    busy: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        video = write_clip(Path(folder) / "clip.mp4", arguments.frames)
        for repeat in range(arguments.repeats):
            began = time.perf_counter()
            busy.append(fast(video, Path(folder) / f"fast{repeat}", network))
            between = time.perf_counter()
            naive(video, Path(folder) / f"naive{repeat}", network)
            seconds["pipelined"].append(between - began)
            seconds["naive"].append(time.perf_counter() - between)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{arguments.network} {name}: {arguments.frames / median:.1f} frames/s (median of {arguments.repeats})")
    print(f"pipelined / naive: ×{medians['naive'] / medians['pipelined']:.2f} frames/s")
    print(f"network busy: {100 * statistics.median(busy):.0f} % of the time; torch threads {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
