"""Colours for formats that want light, not code values."""

from __future__ import annotations

import numpy as np

from openloger.shapes import Float32, UInt8


def linear_from_srgb(rgb: UInt8[np.ndarray, "*axes"]) -> Float32[np.ndarray, "*axes"]:
    """IEC 61966-2-1's curve; 0..255 to 0..1."""
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)[rgb]
