"""Even sampling of a stream of known length, exactly as many as wanted, in constant memory, by a 64-bit hash."""

from __future__ import annotations

import numpy as np

from openloger.shapes import Int


def thin(start: int, stop: int, *, total: int, wanted: int) -> Int[np.ndarray, " kept"]:
    """Which of the items [start, stop) of `total` are kept, counted from `start`, ascending.

    The items fall into `wanted` runs, run k being [⌊k · total / wanted⌋, ⌊(k + 1) · total / wanted⌋), and each run
    keeps one item, chosen by a hash of k: a fixed place in each run would draw stripes along the pixel rows.
    So the choice does not depend on how the stream is cut into chunks.
    """
    if wanted >= total:
        return np.arange(stop - start)
    runs = np.arange(start * wanted // total, min(-(-stop * wanted // total) + 1, wanted), dtype=np.int64)
    first, end = runs * total // wanted, (runs + 1) * total // wanted
    fraction = (mix64(runs.astype(np.uint64)) >> np.uint64(32)) * 2.0**-32  # 0 <= fraction < 1
    chosen = first + (fraction * (end - first)).astype(np.int64)
    return chosen[(chosen >= start) & (chosen < stop)] - start


def mix64(words: np.ndarray) -> np.ndarray:
    """The bijection of uint64 words that ends splitmix64 (Steele, Lea, Flood 2014): every bit reaches every bit."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
