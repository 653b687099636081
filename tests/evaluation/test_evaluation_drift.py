"""The drift meter on worlds: windows err by chance and are placed by the stream; where it says more, ATE is more."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from openloger.datasets import Sequence
from openloger.evaluation import GatherSettings, gather_placed, measure
from openloger.evaluation.measure import MeasureSettings
from openloger.geometry import SE3, rotation_from_axis_angle
from openloger.network import Network, VideoMemory, Window, WindowPrediction, preset
from openloger.streaming import Stream
from openloger.values import Frame
from openloger.worlds import World

FRAMES, WINDOW = 90, 12


class ErringNetwork(Network):
    """Each window is the truth, but every motion from one frame to the next is off by chance, differently each time."""

    def __init__(self, truth: Sequence, *, error: float, seed: int, overlap: int) -> None:
        super().__init__(preset("pocket"))
        self.truth, self.error, self.overlap, self.seen = truth, error, overlap, 0
        self.draw = np.random.default_rng(seed)

    def forward(
        self, window: Window, memory: VideoMemory | None = None, *, disabled: Collection[str] = ()
    ) -> tuple[WindowPrediction, VideoMemory]:
        frames, (height, width) = window.images.shape[1], window.images.shape[-2:]
        first = self.seen * (WINDOW - self.overlap)
        cameras = [torch.from_numpy(self.truth.world_from_cam(first + row)) for row in range(frames)]
        path = [torch.eye(4, dtype=torch.float64)]
        for before, after in itertools.pairwise(cameras):
            motion = torch.linalg.inv(before) @ after
            path.append(path[-1] @ motion @ self._error(float(motion[:3, 3].norm())))
        self.seen += 1
        points = torch.ones(1, frames, height, width, 3)
        placed = torch.stack(path)[None].float()
        return WindowPrediction(placed, points, torch.zeros(points.shape[:-1]), None), VideoMemory()

    def _error(self, step: float) -> torch.Tensor:
        turn = torch.from_numpy(self.draw.normal(size=3) * 0.05 * self.error)
        shift = torch.from_numpy(self.draw.normal(size=3) * step * self.error)
        return SE3(rotation_from_axis_angle(turn), shift).matrix()


class Blank:
    """A world's length, its pictures left black: only its cameras are looked at."""

    name, length = "blank", FRAMES

    def frames(self, first: int = 0) -> Iterator[Frame]:
        rgb = np.zeros((64, 80, 3), dtype=np.uint8)
        return (Frame(rgb, index, index / 10, f"{index}") for index in range(first, FRAMES))

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()


def numbers_of(truth: World, *, error: float, seed: int, overlap: int) -> dict[str, float | int | None]:
    network = ErringNetwork(truth, error=error, seed=seed, overlap=overlap)
    placed = Stream(network, window=WINDOW, overlap=overlap, placement="se3").run(Blank())
    settings = MeasureSettings(alignment="se3", gather=GatherSettings(depth=False))
    return measure(gather_placed(placed, truth, settings.gather), settings).numbers()


@cache
def world(family: str, seed: int) -> World:
    """Its cameras are computed once, for both overlaps, as estimate and as truth."""
    shown = World(family, seed=seed, frames=FRAMES)
    shown.world_from_cam = cache(shown.world_from_cam)
    return shown


@pytest.mark.parametrize("overlap", [2, 3])
def test_the_meter_ranks_runs_as_ate_does(overlap: int) -> None:
    draw = np.random.default_rng(0)
    runs = []
    for seed, family in enumerate(["rooms", "street", "terrain"] * 4):
        error = float(np.exp(draw.uniform(np.log(0.003), np.log(0.3))))
        runs.append(numbers_of(world(family, seed), error=error, seed=seed, overlap=overlap))
    ate = [run["ate_percent"] for run in runs]
    for meter in ("overlap_translation_percent", "overlap_rotation_deg"):
        assert spearmanr([run[meter] for run in runs], ate).statistic > 0.8, meter


def test_without_error_there_is_neither() -> None:
    numbers = numbers_of(world("rooms", 0), error=0.0, seed=0, overlap=2)
    assert numbers["overlap_translation_percent"] < 1e-3
    assert numbers["overlap_rotation_deg"] < 0.1  # float32 rotations
    assert numbers["ate_percent"] < 1e-3
