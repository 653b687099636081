"""A placed window from what a test knows of it; the rest is as a stream would give it."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from openloger.geometry import Sim3
from openloger.values import Disagreement, Frame, PlacedWindow


def placed_window(
    frames: Iterable[Frame],
    world_from_cam: torch.Tensor,
    points_cam: torch.Tensor,
    confidence: torch.Tensor,
    *,
    final_count: int | None = None,
    disagreement: Disagreement | None = None,
    **others: object,
) -> PlacedWindow:
    """`confidence` is in 0..1; by default every frame is final, and the window is the first and last."""
    frames = tuple(frames)
    world = Sim3.identity(dtype=torch.float64)
    defaults = {"number": 0, "world_from_window": world, "metric_scale": None, "last": True}
    return PlacedWindow(
        frames=frames,
        world_from_cam=world_from_cam.double(),
        points_cam=points_cam.float(),
        confidence_logit=confidence.float().logit(),
        final_count=len(frames) if final_count is None else final_count,
        disagreement=disagreement,
        **(defaults | others),  # type: ignore[arg-type]
    )
