"""The result of an alignment, and the rules by which one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from openloger.errors import InputError
from openloger.geometry import Sim3
from openloger.recording import CorrectionStep, Recording
from openloger.shapes import Float64

PLAUSIBLE_DEPTH_M = (0.05, 2000.0)  # of the middle pixel of a video; beyond it, a unit was mistaken
UNITS_M = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254, "km": 1000.0}


@dataclass(frozen=True, eq=False)
class Alignment:
    """A correction that is not written yet, and how well it fits what it came from."""

    step: CorrectionStep
    scale: float  # new lengths over old ones; with a correction along the path, of its middle
    used: int  # measurements that agree with the result
    given: int
    residual: float | None  # root mean square over those that agree; None: nothing is left to check by
    unit: str  # of the residual
    notes: tuple[str, ...] = ()  # what the data could not decide, and what was taken instead

    @property
    def text(self) -> str:
        """One line."""
        left = "" if self.residual is None else f", residual {self.residual:.3g} {self.unit}"
        return f"{self.step.method}: scale × {self.scale:.4g}; {self.used} of {self.given} used{left}"


def single_step(
    method: str,
    after_from_before: Sim3,
    *,
    is_metric: bool,
    is_upright: bool,
    details: dict[str, Any],
) -> CorrectionStep:
    """One similarity for all frames."""
    return CorrectionStep(method, (0,), batched(after_from_before), is_metric, is_upright, None, details)


def batched(moved: Sim3) -> Sim3:
    """With an axis of nodes, of length 1."""
    double = moved.to(torch.float64)
    return Sim3(double.scale.reshape(1), double.rotation.reshape(1, 3, 3), double.translation.reshape(1, 3))


def scaling(factor: float) -> Sim3:
    """x ↦ factor · x."""
    rigid = Sim3.identity(dtype=torch.float64)
    return Sim3(rigid.scale * factor, rigid.rotation, rigid.translation)


def metres_per_unit(unit: str) -> float:
    """Of a name, or a number of metres. Raises InputError for what is neither."""
    if unit in UNITS_M:
        return UNITS_M[unit]
    try:
        metres = float(unit)
    except ValueError:
        metres = 0.0
    if not (np.isfinite(metres) and metres > 0):
        raise InputError(f"unit {unit!r} is none of {', '.join(UNITS_M)}, nor a number of metres")
    return metres


def check_unit(recording: Recording, scale: float, *, unit: str | None, option: str, source: object) -> None:
    """Raises InputError where a scene would be so large or small that a unit was mistaken; not where one is given."""
    middle = scale * middle_depth(recording)
    low, high = PLAUSIBLE_DEPTH_M
    if unit is None and not low <= middle <= high:
        raise InputError(
            f"{source}: taken as metres, the scene is {middle:.3g} m away in the middle; give its unit "
            f"({option} mm, cm, ft, …), or {option} m if that is right"
        )


def middle_depth(recording: Recording) -> float:
    """The median depth of a few frames."""
    numbers = np.unique(np.linspace(0, len(recording) - 1, 8).round().astype(int))
    values = [depth[np.isfinite(depth) & (depth > 0)] for depth in map(recording.depth, numbers.tolist())]
    joined = np.concatenate(values)
    return float(np.median(joined)) if len(joined) else 1.0


def check_frames(recording: Recording) -> None:
    """Raises InputError for a recording without frames."""
    if len(recording) == 0:
        raise InputError(f"{recording.path} has no frames yet; there is nothing to align")


def deviation(values: Float64[np.ndarray, " value"]) -> float:
    """The standard deviation that the median distance from the median gives."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
