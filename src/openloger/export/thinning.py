"""An even choice from a stream whose length is known: exactly as many as wanted, none of them remembered."""

from __future__ import annotations

import numpy as np

from openloger.export.mixing import mix64
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
