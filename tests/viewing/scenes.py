"""Recordings that are worth looking at: a made-up room, or a real clip with its depth, as a network would see them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from placed_windows import placed_window

from openloger.geometry import unproject
from openloger.recording import Recording, RecordingMeta, create_recording, open_recording
from openloger.recording.writer import RecordingWriter
from openloger.values import Disagreement, Frame, PlacedWindow

WINDOW, OVERLAP = 16, 3
FAR = 60.0  # where the sky is put: a network predicts some depth everywhere


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame and all that is true of it."""

    rgb: np.ndarray
    depth: np.ndarray  # 0: none
    world_from_cam: np.ndarray
    intrinsics: np.ndarray
    index: int
    timestamp_s: float
    name: str


def room(frames: int, *, size: tuple[int, int] = (48, 64), fps: float = 10) -> list[Shot]:
    """A walk along a room of chequered walls with three balls in it, ray-cast exactly."""
    height, width = size
    focal = 0.8 * width
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays_cam = np.stack([(x - width / 2) / focal, (y - height / 2) / focal, np.ones_like(x)], -1)
    shots = []
    for index in range(frames):
        world_from_cam = _walk(index / max(frames - 1, 1))
        depth, rgb = _cast(world_from_cam[:3, 3], rays_cam @ world_from_cam[:3, :3].T)
        name = f"{index:06d}.png"
        shots.append(Shot(rgb, depth.astype(np.float32), world_from_cam, intrinsics, index, index / fps, name))
    return shots


def _walk(share: float) -> np.ndarray:
    """From one end of the room towards the other, swinging and looking about."""
    yaw, pitch = 0.5 * math.sin(6 * share), 0.12
    rotation = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    tilt = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ tilt
    matrix[:3, 3] = 0.8 * math.sin(5 * share), 0.1 * math.sin(20 * share), 5 * share - 2.5
    return matrix


def _cast(origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth along z (rays have z = 1 in the camera) and colour."""
    low, high = np.array([-2.5, -1.5, -4.0]), np.array([2.5, 1.2, 4.5])
    with np.errstate(divide="ignore"):
        to_walls = np.where(rays > 0, (high - origin) / rays, (low - origin) / rays)
    wall = to_walls.argmin(-1)
    depth = to_walls.min(-1)
    rgb = _chequered(origin + depth[..., None] * rays, wall)
    for centre, radius, colour in (
        ((-1.2, 0.6, 1.0), 0.6, (210, 70, 60)),
        ((1.3, 0.8, 2.4), 0.4, (70, 140, 220)),
        ((0.2, 0.9, 3.4), 0.3, (240, 190, 70)),
    ):
        offset = origin - np.array(centre)
        a, b, c = (rays * rays).sum(-1), rays @ offset, offset @ offset - radius**2
        hit = b * b - a * c > 0
        near = np.where(hit, (-b - np.sqrt(np.where(hit, b * b - a * c, 0))) / a, np.inf)
        closer = (near > 0.05) & (near < depth)
        normal = (offset + near[..., None].clip(max=1e6) * rays) / radius
        shaded = np.clip(np.array(colour) * (0.55 - 0.45 * normal[..., 1:2]), 0, 255)
        depth, rgb = np.where(closer, near, depth), np.where(closer[..., None], shaded, rgb)
    return depth, rgb.astype(np.uint8)


def _chequered(points: np.ndarray, wall: np.ndarray) -> np.ndarray:
    tones = np.array([[196, 180, 160], [150, 132, 112], [170, 190, 200]], np.float64)
    even = np.floor(points / 0.5 + 1e-6).astype(int).sum(-1) % 2
    floor = (wall == 1) & (points[..., 1] > 0)
    return np.where(floor[..., None], [120.0, 96.0, 80.0], tones[wall]) * np.where(even, 1.0, 0.72)[..., None]


def meta_of(shots: Sequence[Shot], *, source: str = "walk.mp4") -> RecordingMeta:
    height, width = shots[0].depth.shape
    settings = {"window": WINDOW, "overlap": OVERLAP, "placement": "se3", "reset_every": 0, "precision": "float32"}
    return RecordingMeta(
        height=height, width=width, source=source, network="compact", weights_hash="3f2a90c1", settings=settings
    )


def write_recording(
    path: Path, shots: Sequence[Shot], *, complete: bool = True, windows: int | None = None
) -> Recording:
    """All windows (or the first few) of the shots, as a recording."""
    with create_recording(path, meta_of(shots)) as writer:
        for placed, _ in zip(placed_windows(shots), range(windows or 10**9), strict=False):
            writer.append(placed)
        finish(writer, complete=complete)
    return open_recording(path)


def finish(writer: RecordingWriter, *, complete: bool) -> None:
    if complete:
        writer.finish()


def placed_windows(shots: Sequence[Shot]) -> Iterator[PlacedWindow]:
    """The prediction of a decent network: depth with a little noise, and a little drift from window to window."""
    first_from_world = np.linalg.inv(shots[0].world_from_cam)
    for number, start in enumerate(range(0, max(1, len(shots) - OVERLAP), WINDOW - OVERLAP)):
        yield _placed(number, shots[start : start + WINDOW], first_from_world, last=start + WINDOW >= len(shots))


def _placed(number: int, shots: Sequence[Shot], first_from_world: np.ndarray, *, last: bool) -> PlacedWindow:
    generator = np.random.default_rng(number)
    depth = np.stack([np.where(shot.depth > 0, shot.depth, FAR) for shot in shots])
    depth = depth * (1 + 0.002 * generator.standard_normal(depth.shape))
    cameras = torch.from_numpy(np.stack([shot.intrinsics for shot in shots])).float()
    sky = np.stack([shot.depth <= 0 for shot in shots])
    confidence = np.where(sky, 0.02, 0.95 / (1 + (depth / 25) ** 2)) * generator.uniform(0.8, 1, depth.shape)
    drift = np.eye(4)
    drift[:3, 3] = 0.01 * number * np.array([1.0, 0.0, 0.3])
    world_from_cam = np.stack([drift @ first_from_world @ shot.world_from_cam for shot in shots])
    wave = abs(math.sin(0.7 * number))
    return placed_window(
        number=number,
        frames=[Frame(shot.rgb, shot.index, shot.timestamp_s, shot.name) for shot in shots],
        world_from_cam=torch.from_numpy(world_from_cam),
        points_cam=unproject(torch.from_numpy(depth).float(), cameras),
        confidence=torch.from_numpy(confidence).float(),
        metric_scale=1.0,
        disagreement=Disagreement(0.01 + 0.02 * wave, 0.2 + 0.5 * wave, 0.01 + 0.02 * wave) if number else None,
        final_count=len(shots) if last else len(shots) - OVERLAP,
        last=last,
    )


def kitchen(folder: Path, *, every: int = 10) -> list[Shot]:
    """The real frames that have a true depth, at its size; `folder` holds video.mp4, world_from_cam.txt, depth_mm.npz."""  # noqa: E501
    import av
    from PIL import Image

    depths = np.load(folder / "depth_mm.npz")
    cameras = np.loadtxt(folder / "world_from_cam.txt").reshape(-1, 4, 4)
    height, width = depths["depth_mm"].shape[1:]
    intrinsics = np.array([[585 / 4, 0, width / 2], [0, 585 / 4, height / 2], [0, 0, 1]])
    wanted = {int(number): row for row, number in enumerate(depths["frame"]) if number % every == 0}
    shots = []
    with av.open(str(folder / "video.mp4")) as container:
        for index, picture in enumerate(container.decode(video=0)):
            if index in wanted:
                rgb = np.asarray(Image.fromarray(picture.to_ndarray(format="rgb24")).resize((width, height)))
                depth = depths["depth_mm"][wanted[index]].astype(np.float32) / 1000
                shots.append(Shot(rgb, depth, cameras[index], intrinsics, index, index / 30, f"{index:06d}.png"))
    return shots


def renumbered(shots: Sequence[Shot]) -> list[Shot]:
    """As if they were all the frames there are."""
    return [replace(shot, index=index, timestamp_s=index / 10) for index, shot in enumerate(shots)]
