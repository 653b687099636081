"""The main job against its naive twin: the same maths without carried features and without working ahead or behind.

Both run in one process, by turns, the one that begins changing, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openloger.benchmarking.inputs import BenchmarkNetwork, synchronize, write_clip
from openloger.benchmarking.serial import StageClock, reconstruct_serially
from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.network import Network, VideoMemory, Window, WindowPrediction
from openloger.pipeline.options import RunOptions
from openloger.pipeline.reconstruct import reconstruct
from openloger.recording import Recording, open_recording
from openloger.runtime.progress import Progress, Stopwatch

AGREE = 1e-3  # relative difference up to which two results are called the same


@dataclass(frozen=True)
class TwinSettings:
    """Settings of both runs."""

    frames: int = 200
    """Of a made-up video; a video of your own is taken whole."""
    size: tuple[int, int] = (480, 640)
    """Height and width of the made-up video in pixels."""
    repeats: int = 5
    """The number of runs of each; medians are reported. One run of each comes first and is not counted."""


class ForgetfulNetwork(Network):
    """The same network, which encodes the frames shared with the previous window again."""

    def forward(
        self, window: Window, memory: VideoMemory | None = None, *, disabled: Collection[str] = ()
    ) -> tuple[WindowPrediction, VideoMemory]:
        return super().forward(window, memory and replace(memory, overlap_features=()), disabled=disabled)


def measure_twin(
    choice: BenchmarkNetwork,
    settings: TwinSettings,
    *,
    video: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Frames/s of both, the ratio of each pair of runs, and how far the two results are apart."""
    if settings.repeats < 1:
        raise InputError(f"repeats {settings.repeats}: at least 1 is needed")
    network = choice.load()
    naive_network = forgetful(network)
    pipelined_s: list[float] = []
    naive_s: list[float] = []
    busy: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = video or write_clip(folder / "clip.mp4", settings.frames, size=settings.size)
        watch = Stopwatch(total=2 * settings.repeats + 2)
        for number in range(settings.repeats + 1):
            turns = (True, False) if number % 2 == 0 else (False, True)
            for is_pipelined in turns:
                if is_pipelined:
                    seconds, share = _pipelined(path, folder / "pipelined", network)
                    pipelined_s.append(seconds)
                    busy.append(share)
                else:
                    naive_s.append(_naive(path, folder / f"naive{number}", naive_network))
                on_progress(watch.advance(1))
        frames = len(open_recording(folder / "pipelined"))
        apart = differences(open_recording(folder / "pipelined"), open_recording(folder / "naive0"))
    return summarise(frames, pipelined_s[1:], naive_s[1:]) | {"network_busy": statistics.median(busy[1:]), **apart}


def summarise(frames: int, pipelined_s: list[float], naive_s: list[float]) -> dict[str, Any]:
    """Medians, and the ratios of runs that followed each other."""
    ratios = [naive / pipelined for naive, pipelined in zip(naive_s, pipelined_s, strict=True)]
    return {
        "frames": frames,
        "repeats": len(ratios),
        "pipelined_frames_per_s": frames / statistics.median(pipelined_s),
        "naive_frames_per_s": frames / statistics.median(naive_s),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
    }


def differences(ours: Recording, twins: Recording) -> dict[str, Any]:
    """The distance of two recordings of one video: largest relative difference of cameras and of depth."""
    if len(ours) != len(twins):
        return {"identical": False, "agree": False, "camera_difference": None, "depth_difference": None}
    reach = max(float(np.abs(ours.world_from_cam[:, :3, 3]).max()), 1.0)
    camera = float(np.abs(ours.world_from_cam - twins.world_from_cam).max()) / reach
    depth = max(float(np.abs(ours.depth(i) / twins.depth(i) - 1).max()) for i in range(len(ours)))
    identical = camera == 0 and depth == 0
    return {
        "identical": identical,
        "agree": max(camera, depth) <= AGREE,
        "camera_difference": camera,
        "depth_difference": depth,
    }


def forgetful(network: Network) -> ForgetfulNetwork:
    """The twin's network, with the weights of ours."""
    twin = ForgetfulNetwork(network.config)
    twin.load_state_dict(network.state_dict())
    twin.to(network.device).set_precision(network.precision)
    return twin.eval().requires_grad_(False)


def _pipelined(path: Path, out: Path, network: Network) -> tuple[float, float]:
    """Seconds, and the share of them in which the network was busy."""
    latest: list[Progress] = []
    options = RunOptions(
        existing="overwrite", depth_dtype="float32", on_progress=lambda progress: latest.append(progress)
    )
    began_s = time.perf_counter()
    reconstruct(path, out, network=network, options=options)
    return time.perf_counter() - began_s, latest[-1].busy


def _naive(path: Path, out: Path, network: Network) -> float:
    seconds = reconstruct_serially(open_frames(path), out, network, clock=StageClock())
    synchronize(network.device)
    return seconds
