"""Weights between those a stage began with and those it ended with.

A stage that is long on worlds forgets some of what carries over to real video; part of the way there keeps more of both
than either end (WiSE-FT, arXiv 2109.01903).
"""

from __future__ import annotations

from pathlib import Path

import torch

from openloger.errors import InputError, WeightsError
from openloger.network import Network, load_network


@torch.no_grad()
def blend(before: str | Path, after: str | Path, *, part: float) -> Network:
    """The network of `after` with before + part · (after − before) for weights; on the CPU, in float32.

    Both are what `openloger.load_network` takes for weights: our own files, folders or preset names. What only `after`
    has, such as memory layers that joined in between, is as it is there.

    Raises:
        InputError: `part` is not within 0..1.
        WeightsError: `before` has a weight that `after` has not, or of another shape.
    """
    if not 0 <= part <= 1:
        raise InputError(f"part is {part}; it is between 0, the weights before, and 1, those after")
    old, new = (load_network(str(path), device="cpu", dtype="float32") for path in (before, after))
    weights = new.state_dict()
    for name, start in old.state_dict().items():
        if name not in weights or weights[name].shape != start.shape:
            raise WeightsError(f"{before} has {name!r} of shape {tuple(start.shape)}, and {after} has no such weight")
        weights[name].lerp_(start, 1 - part)
    return new
