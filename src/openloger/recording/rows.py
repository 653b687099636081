"""From a placed window to the rows that are stored of it: one array a quantity, one row a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from openloger.errors import RecordingError
from openloger.geometry import fit_intrinsics, pixel_grid, project, weighted_median
from openloger.recording.layout import FLOAT16_DEPTH_MAX, FLOAT16_DEPTH_MIN
from openloger.recording.meta import RecordingMeta
from openloger.recording.windows import PlacedLike
from openloger.shapes import Float, Tensor


@dataclass(frozen=True)
class Rows:
    """What is stored of a window's final frames."""

    arrays: dict[str, np.ndarray]  # a key for each array of the layout, one row a frame
    names: list[str]
    clipped_pixels: int


def rows_of(placed: PlacedLike, meta: RecordingMeta) -> Rows:
    """The rows of the first `placed.final_count` frames.

    Raises:
        RecordingError: the frames have another size than the recording, or a prediction is not finite.
    """
    final = placed.final_count
    points, confidence = placed.points_cam[:final].detach(), placed.confidence[:final].detach()
    world_from_cam, frames = placed.world_from_cam[:final].detach(), placed.frames[:final]
    _check(placed, meta, {"points_cam": points, "confidence": confidence, "world_from_cam": world_from_cam})
    intrinsics, residual_px = cameras(points, confidence, meta)
    depth, clipped = _storable_depth(points[..., 2], meta)
    shape = (final, meta.height, meta.width, 3)
    arrays = {
        "depth": _numpy(depth),
        "confidence": _numpy((confidence * 255).round().clamp(0, 255).to(torch.uint8)),
        "rgb": np.stack([frame.rgb for frame in frames]) if frames else np.zeros(shape, np.uint8),
        "world_from_cam": _numpy(world_from_cam.double()),
        "intrinsics": _numpy(intrinsics.double()),
        "residual_px": _numpy(residual_px.float()),
        "timestamp_s": np.array([frame.timestamp_s for frame in frames], np.float64),
        "source_index": np.array([frame.index for frame in frames], np.int64),
    }
    return Rows(arrays, [frame.name for frame in frames], clipped)


def cameras(
    points_cam: Float[Tensor, "frame height width 3"],
    confidence: Float[Tensor, "frame height width"],
    meta: RecordingMeta,
) -> tuple[Float[Tensor, "frame 3 3"], Float[Tensor, " frame"]]:
    """Each frame's intrinsics, known or fitted, and the weighted median distance in pixels by which they miss."""
    if len(points_cam) == 0:
        return points_cam.new_zeros(0, 3, 3), points_cam.new_zeros(0)
    if meta.known_intrinsics is None:
        fit = fit_intrinsics(points_cam, confidence)
        return fit.intrinsics, fit.residual_px
    known = torch.from_numpy(meta.known_intrinsics).to(points_cam.device)
    grid = pixel_grid(meta.height, meta.width, dtype=points_cam.dtype, device=points_cam.device)
    miss = (project(points_cam, known.to(points_cam)) - grid).norm(dim=-1).flatten(1)
    weight = torch.where(points_cam[..., 2].flatten(1) > 0, confidence.flatten(1).to(miss), 0.0)
    weight = torch.where(miss.isfinite(), weight, 0.0)
    residual_px = weighted_median(torch.where(weight > 0, miss, torch.inf), weight)
    return known.expand(len(points_cam), 3, 3), residual_px


def _storable_depth(depth: Tensor, meta: RecordingMeta) -> tuple[Tensor, int]:
    if meta.depth_dtype == "float32":
        return depth.float(), 0
    inside = depth.clamp(FLOAT16_DEPTH_MIN, FLOAT16_DEPTH_MAX)
    return inside.half(), int((inside != depth).sum())


def _check(placed: PlacedLike, meta: RecordingMeta, predicted: dict[str, Tensor]) -> None:
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
