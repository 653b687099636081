"""A drift meter that needs no ground truth: how much neighbouring windows disagree about the frames that both saw.

Each window places its cameras relative to the one before with some error. Where the errors of many windows are
independent, their squares add along the path; so the root of the sum of squared disagreements, in the unit of the
estimate and divided by the estimated path, is a guess of relative drift. It is a meter, not a measure: it sees what
two windows see differently, and nothing of what both see wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openloger.recording.windows import DisagreementLike
from openloger.shapes import Float64


@dataclass(frozen=True)
class DriftMeter:
    """What the windows of one video say about its drift; no ground truth in it."""

    overlaps: int  # pairs of neighbouring windows
    depth_relative: float  # mean over the overlaps
    rotation_deg: float  # root of the sum of squares
    translation: float  # root of the sum of squares, in the estimate's unit
    translation_percent: float | None  # of the estimated path; None where it does not move


def drift_meter(
    disagreements: Sequence[DisagreementLike], world_from_cam: Float64[np.ndarray, "frame 4 4"]
) -> DriftMeter | None:
    """Of all overlaps of a video and its estimated cameras; None where no windows overlap."""
    if not disagreements or len(world_from_cam) == 0:
        return None
    translation = float(np.sqrt(sum(one.translation**2 for one in disagreements)))
    path = float(np.linalg.norm(np.diff(world_from_cam[:, :3, 3], axis=0), axis=1).sum())
    return DriftMeter(
        overlaps=len(disagreements),
        depth_relative=float(np.mean([one.depth for one in disagreements])),
        rotation_deg=float(np.sqrt(sum(one.rotation_deg**2 for one in disagreements))),
        translation=translation,
        translation_percent=100 * translation / path if path > 0 else None,
    )
