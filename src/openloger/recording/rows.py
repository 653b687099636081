"""From a placed window to the rows that are stored of it: one array a quantity, one row a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from openloger.errors import RecordingError
from openloger.recording.layout import FLOAT16_DEPTH_MAX, FLOAT16_DEPTH_MIN
from openloger.recording.meta import RecordingMeta
from openloger.shapes import Tensor
from openloger.values import PlacedWindow


@dataclass(frozen=True)
class Rows:
    """The stored values of a window's final frames."""

    arrays: dict[str, np.ndarray]  # a key for each array of the layout, one row a frame
    names: list[str]
    clipped_pixels: int


def rows_of(placed: PlacedWindow, meta: RecordingMeta) -> Rows:
    """The rows of the first `placed.final_count` frames.

    Raises:
        RecordingError: the frames have another size than the recording, or a prediction is not finite.
    """
    final = placed.final_count
    points, confidence = placed.points_cam[:final].detach(), placed.confidence[:final].detach()
    world_from_cam, frames = placed.world_from_cam[:final].detach(), placed.frames[:final]
    _check(placed, meta, {"points_cam": points, "confidence": confidence, "world_from_cam": world_from_cam})
    depth, clipped = _storable_depth(points[..., 2], meta)
    shape = (final, meta.height, meta.width, 3)
    arrays = {
        "depth": _numpy(depth),
        "confidence": _numpy((confidence * 255).round().clamp(0, 255).to(torch.uint8)),
        "rgb": np.stack([frame.rgb for frame in frames]) if frames else np.zeros(shape, np.uint8),
        "world_from_cam": _numpy(world_from_cam.double()),
        "intrinsics": _numpy(placed.intrinsics[:final].double()),
        "residual_px": _numpy(placed.residual_px[:final].float()),
        "timestamp_s": np.array([frame.timestamp_s for frame in frames], np.float64),
        "source_index": np.array([frame.index for frame in frames], np.int64),
    }
    return Rows(arrays, [frame.name for frame in frames], clipped)


def _storable_depth(depth: Tensor, meta: RecordingMeta) -> tuple[Tensor, int]:
    if meta.depth_dtype == "float32":
        return depth.float(), 0
    inside = depth.clamp(FLOAT16_DEPTH_MIN, FLOAT16_DEPTH_MAX)
    return inside.half(), int((inside != depth).sum())


def _check(placed: PlacedWindow, meta: RecordingMeta, predicted: dict[str, Tensor]) -> None:
    size = (meta.height, meta.width)
    for frame in placed.frames[: placed.final_count]:
        if frame.rgb.shape[:2] != size:
            given = "×".join(map(str, frame.rgb.shape[:2]))
            raise RecordingError(
                f"frame {frame.index} ({frame.name!r}) is {given} pixels, the recording {size[0]}×{size[1]}; "
                "resize all frames to one size"
            )
    for name, values in predicted.items():
        if not bool(values.isfinite().all()):
            raise RecordingError(
                f"window {placed.number}: {name} is not finite; check the weights, or run in a wider dtype (float32)"
            )


def _numpy(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
