"""Hashing of 64-bit words, many at a time."""

from __future__ import annotations

import numpy as np


def mix64(words: np.ndarray) -> np.ndarray:
    """The bijection of uint64 words that ends splitmix64 (Steele, Lea, Flood 2014): every bit reaches every bit."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
