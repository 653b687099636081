"""Windows as a recording sees them: what is given to be written, and the row of numbers that is kept of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from openloger.geometry import Sim3, rotation_angle
from openloger.shapes import Float, Float64, Tensor, UInt8


@runtime_checkable
class FrameLike(Protocol):
    """One picture at the network's size."""

    @property
    def rgb(self) -> UInt8[np.ndarray, "height width 3"]: ...
    @property
    def index(self) -> int: ...
    @property
    def timestamp_s(self) -> float: ...
    @property
    def name(self) -> str: ...


@runtime_checkable
class PlacedLike(Protocol):
    """A window's frames where they sit in the world; the first `final` of them are this window's to write."""

    @property
    def number(self) -> int: ...
    @property
    def frames(self) -> Sequence[FrameLike]: ...
    @property
    def world_from_cam(self) -> Float[Tensor, "frame 4 4"]: ...
    @property
    def points_cam(self) -> Float[Tensor, "frame height width 3"]: ...
    @property
    def confidence(self) -> Float[Tensor, "frame height width"]: ...
    @property
    def world_from_window(self) -> Sim3: ...
    @property
    def metric_scale(self) -> float | None: ...
    @property
    def final(self) -> int: ...


@dataclass(frozen=True)
class OverlapDisagreement:
    """How far two windows disagree, once placed, about the frames that both saw; each a median."""

    depth_relative: float  # over pixels: |current − previous| / previous
    rotation_deg: float  # over frames: angle between the two cameras
    translation: float  # over frames: distance between the two cameras, in world units


def overlap_disagreement(previous: PlacedLike, current: PlacedLike) -> OverlapDisagreement | None:
    """Compare two placed windows on the frames (by `index`) that both saw; None where there are none."""
    rows = {frame.index: row for row, frame in enumerate(previous.frames)}
    pairs = [(rows[frame.index], row) for row, frame in enumerate(current.frames) if frame.index in rows]
    if not pairs:
        return None
    before, now = (list(column) for column in zip(*pairs, strict=True))
    depth_before, depth_now = previous.points_cam[before][..., 2], current.points_cam[now][..., 2]
    a, b = previous.world_from_cam[before], current.world_from_cam[now]
    return OverlapDisagreement(
        depth_relative=_median((depth_now - depth_before).abs() / depth_before),
        rotation_deg=_median(rotation_angle(a[:, :3, :3].mT @ b[:, :3, :3]).rad2deg()),
        translation=_median((b[:, :3, 3] - a[:, :3, 3]).norm(dim=-1)),
    )


def _median(values: Tensor) -> float:
    return float(values.flatten().median())


@dataclass(frozen=True)
class RecordedWindow:
    """The numbers kept of one window."""

    number: int
    first_frame: int  # the recording's number of its first frame
    frame_count: int  # including those that the next window writes
    final_count: int  # those that it wrote
    world_from_window_scale: float
    world_from_window: tuple[tuple[float, ...], ...]  # 4×4, the rotation and translation after the scale
    metric_scale: float | None
    clipped_pixels: int  # depths outside float16's range, put on its nearer end
    disagreement: OverlapDisagreement | None  # with the window before; None where it was not measured

    @property
    def world_from_window_matrix(self) -> Float64[np.ndarray, "4 4"]:
        """x ↦ scale · rotation · x + translation, as one matrix."""
        matrix = np.array(self.world_from_window, dtype=np.float64)
        matrix[:3, :3] *= self.world_from_window_scale
        return matrix


def window_row(
    placed: PlacedLike, *, first_frame: int, clipped_pixels: int, disagreement: OverlapDisagreement | None
) -> RecordedWindow:
    """The numbers to keep of a placed window."""
    rigid = placed.world_from_window.rigid.matrix().detach().to("cpu", torch.float64)
    return RecordedWindow(
        number=placed.number,
        first_frame=first_frame,
        frame_count=len(placed.frames),
        final_count=placed.final,
        world_from_window_scale=float(placed.world_from_window.scale),
        world_from_window=tuple(tuple(row) for row in rigid.tolist()),
        metric_scale=placed.metric_scale,
        clipped_pixels=clipped_pixels,
        disagreement=disagreement,
    )


def window_to_json(window: RecordedWindow) -> dict[str, Any]:
    return asdict(window)


def window_from_json(value: dict[str, Any]) -> RecordedWindow:
    disagreement = value["disagreement"]
    return RecordedWindow(
        **value
        | {
            "world_from_window": tuple(tuple(row) for row in value["world_from_window"]),
            "disagreement": None if disagreement is None else OverlapDisagreement(**disagreement),
        }
    )
