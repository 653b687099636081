"""The canvas of a layer of the texture atlas: its random numbers, its coordinates, and noise that tiles.

A layer is float32 (size, size, 4) in 0..1. Channels: red leads from a surface's first colour to its second, green to
its third (joints, dark features), blue is brightness around one half, alpha is gloss. In layers of prints (prints.py)
red, green and blue are the colours themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from openloger.worlds.random import Dice, hash_number, uniform


def _fade(part: np.ndarray) -> np.ndarray:
    return part**3 * (part * (part * 6.0 - 15.0) + 10.0)


@dataclass(frozen=True)
class Canvas:
    """One layer to paint: its random numbers and the texel coordinates in periods (u rightwards, v downwards)."""

    name: str
    variant: int
    size: int

    @cached_property
    def seed(self) -> int:
        return hash_number(self.variant, *self.name.encode())

    @cached_property
    def dice(self) -> Dice:
        return Dice(self.seed, 1)

    @cached_property
    def u(self) -> np.ndarray:
        return np.broadcast_to((np.arange(self.size) + 0.5) / self.size, (self.size, self.size))

    @cached_property
    def v(self) -> np.ndarray:
        return self.u.T

    def noise(self, channel: int, across: int, down: int | None = None) -> np.ndarray:
        """Value noise in 0..1 with `across` × `down` lattice cells in the period."""
        down = across if down is None else down
        lattice = uniform(self.seed, channel, np.arange(down)[:, None], np.arange(across)[None, :])
        return self._steps(down) @ lattice @ self._steps(across).T

    def _steps(self, cells: int) -> np.ndarray:
        """(size, cells): the weights that interpolate a periodic row of random values."""
        position = (np.arange(self.size) + 0.5) / self.size * cells
        first = np.floor(position).astype(int)
        weight = _fade(position - first)
        matrix = np.zeros((self.size, cells))
        rows = np.arange(self.size)
        np.add.at(matrix, (rows, first % cells), 1.0 - weight)
        np.add.at(matrix, (rows, (first + 1) % cells), weight)
        return matrix

    def octaves(self, channel: int, cells: int, count: int = 5, *, gain: float = 0.55, stretch: int = 1) -> np.ndarray:
        """Noise of doubling frequency, spread to about 0..1; `stretch` > 1 makes streaks along v."""
        total, weight, norm = np.zeros((self.size, self.size)), 1.0, 0.0
        for octave in range(count):
            across = cells << octave
            if across > self.size // 2:
                break
            total += weight * (self.noise(channel * 16 + octave, across, max(across // stretch, 1)) - 0.5)
            norm += weight * weight
            weight *= gain
        return np.clip(0.5 + total / np.sqrt(norm) * 1.4, 0.0, 1.0)

    def stack(self, red: np.ndarray | float, green: np.ndarray | float, blue: np.ndarray | float, gloss: float = 0.0):
        """The layer from its channels."""
        layers = [np.broadcast_to(channel, (self.size, self.size)) for channel in (red, green, blue, gloss)]
        return np.clip(np.stack(layers, axis=-1), 0.0, 1.0).astype(np.float32)


def soft_step(value: np.ndarray, edge: float, width: float) -> np.ndarray:
    return np.clip((value - edge) / width + 0.5, 0.0, 1.0)
