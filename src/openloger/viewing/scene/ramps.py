"""Colours for numbers from 0 to 1. Both ramps are legible on dark and on white, and to most colour-blind eyes."""

from __future__ import annotations

import numpy as np

from openloger.shapes import Float, UInt8

# Evenly spaced sRGB colours, with straight lines between them.
SPECTRUM = (
    (58, 66, 176),
    (47, 128, 214),
    (38, 184, 186),
    (110, 208, 120),
    (214, 212, 84),
    (246, 160, 60),
    (222, 72, 52),
)
GLOW = ((18, 10, 46), (72, 20, 104), (144, 38, 104), (208, 68, 70), (244, 124, 36), (250, 190, 70), (252, 248, 190))
UNKNOWN = (120, 120, 128)  # for what is not a number


def ramp(
    values: Float[np.ndarray, "*axes"], colours: tuple[tuple[int, int, int], ...] = SPECTRUM
) -> UInt8[np.ndarray, "*axes 3"]:
    """The colour of each value; below 0 as 0, above 1 as 1, NaN as `UNKNOWN`."""
    table = np.array(colours, np.float64)
    known = np.isfinite(values)
    at = np.clip(np.where(known, values, 0), 0, 1) * (len(table) - 1)
    low = np.minimum(at.astype(np.int64), len(table) - 2)
    share = (at - low)[..., None]
    mixed = np.rint(table[low] * (1 - share) + table[low + 1] * share)
    return np.where(known[..., None], mixed, UNKNOWN).astype(np.uint8)


def spread(values: Float[np.ndarray, "*axes"], low: float, high: float) -> Float[np.ndarray, "*axes"]:
    """From `low`..`high` to 0..1; 0.5 where the two are equal."""
    if not high > low:
        return np.where(np.isfinite(values), 0.5, np.nan)
    return (values - low) / (high - low)


def depth_picture(depth: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """Near is bright, far is dark, evenly in 1 / depth between its 2nd and 98th percentile; grey: none."""
    valid = np.isfinite(depth) & (depth > 0)
    if not valid.any():
        return ramp(np.full(depth.shape, np.nan), GLOW)
    nearness = np.where(valid, 1 / np.where(valid, depth, 1), np.nan).astype(np.float64)
    low, high = np.nanpercentile(nearness, [2, 98])
    return ramp(spread(nearness, float(low), float(high)), GLOW)


def confidence_picture(confidence: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """0 is blue, 1 is red."""
    return ramp(confidence.astype(np.float64), SPECTRUM)
