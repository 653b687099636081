"""Where a window sits in the world, from the frames it shares with the one before it (LoGeR, arXiv 2603.03269).

- `none`: as predicted; memory alone keeps the frame (LoGeR, arXiv 2603.03269).
- `se3`: moved rigidly so that the first frame of the overlap stands where the previous window put it.
- `sim3`: the same after scaling by the ratio of depths on the overlap, so that scales accumulate.
- with resets, `none` becomes `se3` at each block's first window, and the block's windows share that motion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import torch

from openloger.errors import InputError
from openloger.geometry import SE3, ScaleMode, Sim3, depth_scale, nearest_rotation, rotation_angle
from openloger.shapes import Float32, Float64, Tensor
from openloger.values import Disagreement

PLACEMENTS = ("none", "se3", "sim3")


@dataclass(frozen=True)
class Placement:
    """The rule by which windows are placed."""

    kind: str  # "none", "se3" or "sim3"
    scale_mode: ScaleMode = "median"  # sim3's

    @staticmethod
    def parse(text: str) -> Placement:
        """Of "none", "se3", "sim3" or "sim3:MODE" with a mode of `geometry.depth_scale`; raises InputError."""
        kind, _, mode = text.partition(":")
        mode = mode or "median"
        if kind not in PLACEMENTS or mode not in get_args(ScaleMode) or (kind != "sim3" and ":" in text):
            modes = ", ".join(f"sim3:{name}" for name in get_args(ScaleMode))
            raise InputError(f"placement {text!r} is none of auto, {', '.join(PLACEMENTS)}, {modes}")
        return Placement(kind, mode)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.kind}:{self.scale_mode}" if self.kind == "sim3" and self.scale_mode != "median" else self.kind


@dataclass(frozen=True)
class Anchor:
    """The part of a placed window that places the next one."""

    world_from_window: Sim3
    world_from_cam: Float64[Tensor, "frame 4 4"]  # of the frames shared with the next window
    depth: Float32[Tensor, "frame height width"]  # theirs, as scaled


def disagreement(anchor: Anchor, world_from_cam: Tensor, depth: Tensor) -> Disagreement:
    """The difference between a placed window and the one before it, on the frames they share.

    The first shared frame is left out where there are more: windows are placed by it, so they agree there by
    construction.
    """
    shared = min(len(anchor.depth), len(depth))
    compared = slice(min(1, shared - 1), shared)
    before, after = anchor.world_from_cam[compared], world_from_cam[compared]
    both = (depth[compared] > 0) & (anchor.depth[compared] > 0)
    apart = ((depth[compared] - anchor.depth[compared]).abs() / anchor.depth[compared])[both]
    angles = rotation_angle(before[:, :3, :3].mT @ after[:, :3, :3])
    return Disagreement(
        depth=apart.median().item() if len(apart) else 0.0,
        rotation_deg=angles.rad2deg().quantile(0.5).item(),
        translation=(before[:, :3, 3] - after[:, :3, 3]).norm(dim=-1).quantile(0.5).item(),
    )


def rigid_from_overlap(placed_world_from_cam: SE3, window_from_cam: SE3) -> SE3:
    """`world_from_window` that puts one camera of the window where it was placed before. Differentiable."""
    return placed_world_from_cam @ window_from_cam.inverse()


def place(
    placement: Placement,
    window_from_cam: Float64[Tensor, "frame 4 4"],
    depth: Float32[Tensor, "frame height width"],
    anchor: Anchor | None,
    *,
    starts_block: bool,
) -> Sim3:
    """`world_from_window` of a window whose first frames are the anchor's; the first window is the world.

    `starts_block`: its fast weights were reset just before it.
    """
    if anchor is None:
        return Sim3.identity(dtype=torch.float64)
    if placement.kind == "none" and not starts_block:
        return anchor.world_from_window
    scale = torch.ones((), dtype=torch.float64)
    if placement.kind == "sim3":
        shared = min(len(anchor.depth), len(depth))
        before, after = anchor.depth[:shared], depth[:shared]
        if bool((before > 0).any()):  # else masks hide all of them, and the scale stays
            scale = depth_scale(before, after, mode=placement.scale_mode).double()
    first = SE3.from_matrix(window_from_cam[0])
    first = replace(first, translation=first.translation * scale)
    rigid = rigid_from_overlap(SE3.from_matrix(anchor.world_from_cam[0]), first)
    return Sim3(scale, rigid.rotation, rigid.translation)


def window_poses(world_from_cam: Float32[Tensor, "frame 4 4"]) -> Float64[Tensor, "frame 4 4"]:
    """A window's cameras in float64 on the CPU, their rotations exact, so that chains do not decay."""
    poses = world_from_cam.double()
    poses[:, :3, :3] = nearest_rotation(poses[:, :3, :3])
    return poses
