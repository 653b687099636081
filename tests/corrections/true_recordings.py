"""Recordings of worlds whose truth is known, moved by a similarity that an alignment has to find, with drift or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from placed_windows import placed_window

from openloger.frames.lenses.undistort import view_name
from openloger.geometry import Sim3, unproject
from openloger.recording import Recording, RecordingMeta, create_recording, open_recording
from openloger.values import Frame, PlacedWindow
from openloger.worlds import Sample, World

SIZE = (96, 128)
FPS = 4.0


@dataclass(frozen=True, eq=False)
class Walk:
    """Frames of a world, and the similarity that takes its truth to what is recorded."""

    samples: tuple[Sample, ...]
    recorded_from_true: Sim3

    @property
    def true_world_from_cam(self) -> np.ndarray:
        return np.stack([sample.world_from_cam for sample in self.samples])

    @property
    def true_centres(self) -> np.ndarray:
        return self.true_world_from_cam[:, :3, 3]


@cache
def walk(family: str, seed: int, frames: int) -> Walk:
    """A world's frames, recorded at 1/3.7 of its size in a world turned by 70°."""
    scene = World(family, seed=seed, size=SIZE, fps=FPS, frames=frames)
    moved = Sim3.exp(torch.tensor([1.0, -2.0, 0.5, 0.5, 0.8, -0.7, -np.log(3.7)], dtype=torch.float64))
    return Walk(tuple(scene[frame] for frame in range(frames)), moved)


def record(
    made: Walk, path: Path, *, growth: float = 0.0, swerve: float = 0.0, window: int = 4, views: int = 1
) -> Recording:
    """`growth` multiplies lengths by e^growth from the first frame to the last, `swerve` turns by radians about y;
    windows have `window` instants, and share none. `views` are those of a rig, which all look in the same direction."""
    if views > 1:
        seen = [
            replace(sample, name=view_name(f"{Path(sample.name).stem}.jpg", view))
            for sample in made.samples
            for view in range(views)
        ]
        made = replace(made, samples=tuple(seen))
    meta = RecordingMeta(
        height=SIZE[0],
        width=SIZE[1],
        source="walk.mp4",
        network="truth",
        weights_hash=None,
        settings={},
        camera=None,
        views=views,
    )
    cameras, scales = _drifted(made, growth, swerve)
    with create_recording(path, meta) as writer:
        together = window * views
        for number, first in enumerate(range(0, len(made.samples), together)):
            frames = range(first, min(first + together, len(made.samples)))
            writer.append(_window(made, cameras, scales, frames, number, views))
        writer.finish()
    return open_recording(path)


def _window(
    made: Walk, cameras: np.ndarray, scales: np.ndarray, frames: range, number: int, views: int
) -> PlacedWindow:
    samples = [made.samples[frame] for frame in frames]
    known = np.stack([sample.valid & (sample.depth > 0) for sample in samples])
    depth = np.where(known, np.stack([sample.depth for sample in samples]), 50.0).astype(np.float32)
    intrinsics = torch.from_numpy(samples[0].intrinsics)
    points = unproject(torch.from_numpy(depth * scales[frames, None, None]).double(), intrinsics)
    return placed_window(
        [
            Frame(sample.rgb, frame // views, sample.timestamp_s, sample.name)
            for frame, sample in zip(frames, samples, strict=True)
        ],
        torch.from_numpy(cameras[frames]),
        points,
        torch.from_numpy(np.where(known, 0.9, 0.01)),
        number=number,
        known_intrinsics=intrinsics,
    )


def _drifted(made: Walk, growth: float, swerve: float) -> tuple[np.ndarray, np.ndarray]:
    moved, true = made.recorded_from_true, made.true_world_from_cam
    share = np.linspace(0, 1, len(true))
    steps = np.diff(true[:, :3, 3], axis=0)
    turns = [_about_y(swerve * at) for at in share]
    steps = np.stack([np.exp(growth * at) * turn @ step for at, turn, step in zip(share, turns, steps, strict=False)])
    centres = true[0, :3, 3] + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])
    rotation, scale, offset = moved.rotation.numpy(), float(moved.scale), moved.translation.numpy()
    cameras = np.tile(np.eye(4), (len(true), 1, 1))
    cameras[:, :3, :3] = rotation @ np.stack(turns) @ true[:, :3, :3]
    cameras[:, :3, 3] = scale * centres @ rotation.T + offset
    return cameras, scale * np.exp(growth * share)


def _about_y(angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
