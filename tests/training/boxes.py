"""A stand-in for worlds: the inside of a box with painted walls, rendered exactly in a few lines of numpy."""

import numpy as np

from openloger.training.clips import Clip
from openloger.training.data import ClipSpec


def render_boxes(specs: list[ClipSpec]) -> list[Clip]:
    """The clips of a group."""
    return [render_box(spec) for spec in specs]


def render_box(spec: ClipSpec) -> Clip:
    """A clip of a walk inside a box; every (seed, frame) has its own picture, the same at every call."""
    draw = np.random.default_rng([spec.seed, sum(spec.family.encode())])
    half = draw.uniform(2, 5, size=3)
    waves = draw.normal(size=(6, 3, 3)) * np.geomspace(0.5, 6, 6)[:, None, None]
    colours = draw.uniform(0.2, 1, size=(6, 3))
    height, width = spec.size
    focal = width * draw.uniform(0.6, 1.0)
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    x, y = np.meshgrid((np.arange(width) + 0.5 - width / 2) / focal, (np.arange(height) + 0.5 - height / 2) / focal)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    turn, tilt, drift = draw.uniform(-0.12, 0.12), draw.uniform(-0.04, 0.04), draw.uniform(-0.1, 0.1, size=3) * half
    heading, start = draw.uniform(0, 2 * np.pi), draw.uniform(-0.3, 0.3, size=3) * half
    frames = [spec.first % 3 + number for number in range(spec.frames)]
    poses = [_pose(heading + turn * t, tilt * t, start + drift * t) for t in frames]
    pictures = [_look(rays, pose, half, waves, colours) for pose in poses]
    depth = np.stack([picture[0] for picture in pictures]).astype(np.float32)
    return Clip(
        str(spec),
        rgb=np.stack([picture[1] for picture in pictures]),
        depth=depth,
        valid=np.ones(depth.shape, dtype=bool),
        moving=np.zeros(depth.shape, dtype=bool),
        intrinsics=np.repeat(intrinsics[None], len(frames), axis=0),
        world_from_cam=np.stack(poses),
        sky=np.zeros(depth.shape, dtype=bool),
    )


def _pose(yaw, pitch, at):
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn @ nod, at
    return pose


def _look(rays, pose, half, waves, colours):
    direction = rays @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        depth = np.where(direction > 0, (half - pose[:3, 3]) / direction, (-half - pose[:3, 3]) / direction).min(
            axis=-1
        )
    points = pose[:3, 3] + direction * depth[..., None]
    rgb = np.full(points.shape, 0.5)
    for wave, colour in zip(waves, colours, strict=True):
        rgb += 0.15 * colour * np.sin(points @ wave).prod(axis=-1, keepdims=True)
    return depth, (np.clip(rgb, 0, 1) * 255).astype(np.uint8)
