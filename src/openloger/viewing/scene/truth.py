"""The true path laid over the recording's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from openloger.geometry import umeyama
from openloger.recording import Recording
from openloger.shapes import Float64

TrueCameras: TypeAlias = Callable[[Recording], Float64[np.ndarray, "frame 4 4"]]
"""The true world_from_cam of each frame of a recording; NaN where it is not known."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """The true path in the recording's world."""

    path: Float64[np.ndarray, "frame 3"]  # NaN where it is not known
    error: float  # root mean square distance of the camera centres, in the truth's unit
    scale: float  # units of the recording in a unit of the truth
    matched: int  # frames


def overlay(
    world_from_cam: Float64[np.ndarray, "frame 4 4"], true_world_from_cam: Float64[np.ndarray, "frame 4 4"]
) -> Overlay:
    """Aligned by the similarity that fits the camera centres best.

    Raises InputError where fewer than three frames have a truth, or their centres lie on a line.
    """
    centres, true_centres = world_from_cam[:, :3, 3], true_world_from_cam[:, :3, 3]
    known = np.isfinite(true_centres).all(1)
    ours_from_true = umeyama(torch.from_numpy(true_centres[known]), torch.from_numpy(centres[known]))
    path = np.full(centres.shape, np.nan)
    path[known] = ours_from_true.apply(torch.from_numpy(true_centres[known])).numpy()
    scale = float(ours_from_true.scale)
    error = float(np.sqrt(np.square(path[known] - centres[known]).sum(1).mean())) / scale
    return Overlay(path, error, scale, int(known.sum()))
