"""Places of a recording that look alike: a descriptor a window, and the pairs that are worth verifying.

Descriptors come from the network's own features (`network/places.py`). What all places of a recording share is taken
off them first: each number gets mean 0 and deviation 1 over the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from openloger.network import Network
from openloger.recording import Recording
from openloger.runtime.progress import Progress, Stopwatch
from openloger.shapes import Bool, Float32, Int, UInt8

MOST_PLACES = 4000  # more are thinned evenly: memory is 4 bytes a pair
_TOGETHER = 16  # pictures that are encoded at once


@dataclass(frozen=True, eq=False)
class Places:
    """First frames of windows, and what they look like."""

    frames: Int[np.ndarray, " place"]  # numbers of the recording, increasing
    stops: Int[np.ndarray, " place"]  # frames up to here belong to the place
    descriptor: Float32[np.ndarray, "place number"]  # of unit length


@dataclass(frozen=True)
class PlacePair:
    """Two places that may be one, by their numbers."""

    first: int
    second: int  # the later one
    likeness: float  # cosine of their descriptors


def recorded_places(
    recording: Recording, network: Network, *, kept: bool, on_progress: Callable[[Progress], None]
) -> Places:
    """Of every window, from the descriptors in the recording where it has them, else of its pictures.

    Those in the recording are used where they are `kept` by the same network.
    """
    windows = [window for window in recording.windows if window.final_count > 0]
    windows = [windows[at] for at in np.unique(np.linspace(0, len(windows) - 1, MOST_PLACES).round().astype(int))]
    found = {row: window.place_descriptor for row, window in enumerate(windows) if kept and window.place is not None}
    missing = [row for row in range(len(windows)) if row not in found]
    watch = Stopwatch(total=len(missing))
    for begin in range(0, len(missing), _TOGETHER):
        rows = missing[begin : begin + _TOGETHER]
        pictures = np.stack([recording.rgb(windows[row].first_frame) for row in rows])
        found |= dict(zip(rows, _described(network, pictures), strict=True))
        on_progress(watch.advance(len(rows)))
    frames = np.array([window.first_frame for window in windows])
    stops = np.array([window.first_frame + window.final_count for window in windows])
    return Places(frames, stops, _whitened(np.stack([found[row] for row in range(len(windows))])))


def _described(network: Network, pictures: UInt8[np.ndarray, "frame height width 3"]) -> np.ndarray:
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float() / 255
    return network.place_descriptors(images).float().cpu().numpy()


def _whitened(values: Float32[np.ndarray, "place number"]) -> Float32[np.ndarray, "place number"]:
    unit = values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-9)
    centred = (unit - unit.mean(0)) / unit.std(0).clip(1e-6)
    return (centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-9)).astype(np.float32)


def likely_pairs(
    places: Places, may_meet: Bool[np.ndarray, "place place"], *, least_likeness: float, apart: int
) -> Iterator[PlacePair]:
    """Pairs that may meet with `apart` places between them, the most alike first; of pairs less than `apart` places
    from one that was given, in both, none is."""
    count = len(places.frames)
    alike = places.descriptor @ places.descriptor.T
    alike[~may_meet] = -1.0
    alike[np.tri(count, k=apart, dtype=bool)] = -1.0  # the later one first, or too near
    while True:
        first, second = divmod(int(alike.argmax()), count)
        likeness = float(alike[first, second])
        if likeness < least_likeness:
            return
        yield PlacePair(first, second, likeness)
        around = slice(max(first - apart + 1, 0), first + apart), slice(max(second - apart + 1, 0), second + apart)
        alike[around] = -1.0
