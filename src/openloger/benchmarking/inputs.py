"""Inputs of benchmarks: the network, a moving textured picture, pre-rendered worlds, and worlds as reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from openloger.datasets.writing import VideoWriter
from openloger.errors import InputError
from openloger.network import Network, NetworkSpec
from openloger.outputs import staged_file
from openloger.runtime.progress import Progress, Stopwatch
from openloger.shapes import Float32, Float64, UInt8
from openloger.values import Frame
from openloger.worlds import Sample, World


@dataclass(frozen=True)
class BenchmarkNetwork(NetworkSpec):
    """Which network runs, and on how many threads."""

    network: str = "pocket"
    """A preset; `openloger networks` lists them."""
    threads: int | None = None
    """Threads of torch on the CPU; by default as many as it takes by itself."""

    def load(self) -> Network:
        """The network, on its device, with this process's threads set."""
        if self.threads is not None:
            if self.threads < 1:
                raise InputError(f"threads {self.threads}: at least 1 is needed")
            torch.set_num_threads(self.threads)
        return super().load()


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work, so that clocks are exact."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


NOMINAL_FPS = 30.0


@dataclass(frozen=True)
class MovingPicture:
    """A FrameSource of any length that costs next to nothing, in time and in memory."""

    length: int
    size: tuple[int, int]  # (height, width)
    name: str = "a moving picture"

    def frames(self, first: int = 0) -> Iterator[Frame]:
        for index in range(first, self.length):
            yield Frame(self.picture(index), index, index / NOMINAL_FPS, f"{index:06d}")

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def picture(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """Two pixels further to the right than the one before."""
        height, width = self.size
        shifted = np.roll(self._texture[:height], -2 * index, axis=1)[:, :width]
        return np.ascontiguousarray(shifted)

    @cached_property
    def _texture(self) -> UInt8[np.ndarray, "tall wide 3"]:
        height, width = self.size
        noise = np.random.default_rng(0).integers(0, 256, (-(-height // 8), -(-width // 4), 3), dtype=np.uint8)
        return np.kron(noise, np.ones((8, 8, 1), dtype=np.uint8))


def write_clip(path: Path, frames: int, *, size: tuple[int, int] = (480, 640)) -> Path:
    """An H.264 file of a moving picture, so that decoding and resizing cost what they cost."""
    moving = MovingPicture(frames, size)
    with VideoWriter(path, fps=NOMINAL_FPS) as video:
        for index in range(frames):
            video.write(moving.picture(index))
    return path


@dataclass(frozen=True)
class WorldVideo:
    """A world as a video file, so that what is timed later is the system and not the renderer."""

    family: str = "street"
    """rooms, halls, street, terrain or clutter."""
    seed: int = 7
    """Which world of the family."""
    size: tuple[int, int] = (64, 80)
    """Height and width of the video in pixels."""
    fps: float = 10.0
    """Frames a second."""

    def file_name(self, frames: int) -> str:
        """Contains all that the file depends on."""
        height, width = self.size
        return f"{self.family}-{self.seed}-{height}x{width}-{self.fps:g}fps-{frames}.mp4"

    def written(
        self, folder: Path, frames: int, *, on_progress: Callable[[Progress], None] = lambda progress: None
    ) -> Path:
        """The file in `folder`; rendered where it is not there yet."""
        path = folder / self.file_name(frames)
        if path.exists():
            return path
        shown = World(self.family, seed=self.seed, size=self.size, fps=self.fps, frames=frames)
        watch = Stopwatch(total=frames)
        with staged_file(path, made_by="bench") as draft, VideoWriter(draft, fps=self.fps) as video:
            for sample in shown:
                video.write(sample.rgb)
                on_progress(watch.advance(1))
        return path


@dataclass(frozen=True, eq=False)
class WorldReconstruction:
    """Frames of a world as a `Reconstruction` of `openloger.export`, in metres.

    Depth, pictures and intrinsics are exact; `world_from_cam` may be in error, where that is what is measured.
    """

    samples: Sequence[Sample]
    world_from_cam: Float64[np.ndarray, "frame 4 4"]

    @classmethod
    def without_error(cls, world: World) -> WorldReconstruction:
        """All frames of a world, with its cameras."""
        samples = [world[frame] for frame in range(len(world))]
        return cls(samples, np.stack([sample.world_from_cam for sample in samples]))

    @property
    def frame_count(self) -> int:
        return len(self.samples)

    @property
    def intrinsics(self) -> Float64[np.ndarray, "frame 3 3"]:
        return np.stack([sample.intrinsics for sample in self.samples])

    @property
    def timestamps_s(self) -> Float64[np.ndarray, " frame"]:
        return np.array([sample.timestamp_s for sample in self.samples])

    @property
    def names(self) -> list[str]:
        return [sample.name for sample in self.samples]

    def depth(self, frame: int, /) -> Float32[np.ndarray, "height width"]:
        return self.samples[frame].depth

    def confidence(self, frame: int, /) -> Float32[np.ndarray, "height width"]:
        """1 where there is depth, 0 in the sky."""
        return self.samples[frame].valid.astype(np.float32)

    def rgb(self, frame: int, /) -> UInt8[np.ndarray, "height width 3"]:
        return self.samples[frame].rgb
