"""Random numbers without a state: every value is a hash of (seed, integer coordinates).

The same coordinates give the same value in any order, in any batch and on any machine, because the hash is made of
32-bit integer arithmetic alone. The mixer is the finaliser of the "lowbias32" family (two rounds of xor-shift and odd
multiplication).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
_MASK = 0xFFFFFFFF
STEP = 0x9E3779B9  # the golden ratio in 32 bits: keeps neighbouring coordinates apart

Item = TypeVar("Item")


def _mix(value: np.ndarray) -> np.ndarray:
    value = value ^ (value >> np.uint32(16))
    value = value * np.uint32(_MULTIPLIERS[0])
    value = value ^ (value >> np.uint32(15))
    value = value * np.uint32(_MULTIPLIERS[1])
    return value ^ (value >> np.uint32(16))


def _mix_number(value: int) -> int:
    value ^= value >> 16
    value = value * _MULTIPLIERS[0] & _MASK
    value ^= value >> 15
    value = value * _MULTIPLIERS[1] & _MASK
    return value ^ (value >> 16)


def hash_number(seed: int, *coordinates: int) -> int:
    """32-bit hash of a seed and integer coordinates, as a Python number; negative coordinates wrap."""
    state = _mix_number(((seed ^ (seed >> 32)) + STEP) & _MASK)
    for coordinate in coordinates:
        state = _mix_number((state + STEP & _MASK) ^ _mix_number(coordinate * STEP & _MASK))
    return state


def uniform_number(seed: int, *coordinates: int) -> float:
    """In [0, 1), a function of the seed and the coordinates."""
    return hash_number(seed, *coordinates) * 2.0**-32


def hash32(seed: int, *coordinates: np.ndarray | int) -> np.ndarray:
    """`hash_number` for arrays of coordinates, which broadcast: uint32."""
    state = _mix(np.array([((seed ^ (seed >> 32)) + STEP) & _MASK], dtype=np.uint32))
    for coordinate in coordinates:
        wrapped = np.atleast_1d(np.asarray(coordinate, dtype=np.int64)).astype(np.uint32)
        state = _mix((state + np.uint32(STEP)) ^ _mix(wrapped * np.uint32(STEP)))
    return state


def uniform(seed: int, *coordinates: np.ndarray | int) -> np.ndarray:
    """`uniform_number` for arrays of coordinates: float64."""
    return hash32(seed, *coordinates).astype(np.float64) * 2.0**-32


def smooth_noise(seed: int, channel: int, time: float) -> float:
    """One-dimensional noise in [-1, 1] with continuous slope: quintic steps between random values at the integers."""
    first = math.floor(time)
    low, high = uniform_number(seed, channel, first), uniform_number(seed, channel, first + 1)
    part = time - first
    weight = part**3 * (part * (part * 6.0 - 15.0) + 10.0)
    return 2.0 * (low + (high - low) * weight) - 1.0


class Dice:
    """A run of random numbers for building one thing: the stream of uniforms that belongs to (seed, coordinates)."""

    _BLOCK = 128

    def __init__(self, seed: int, *coordinates: int) -> None:
        self._key = hash_number(seed, *coordinates)
        self._drawn = 0
        self._values: list[float] = []

    def _next(self) -> float:
        position = self._drawn % self._BLOCK
        if position == 0:
            self._values = uniform(self._key, np.arange(self._drawn, self._drawn + self._BLOCK)).tolist()
        self._drawn += 1
        return self._values[position]

    def uniform(self, low: float | int = 0.0, high: float | int = 1.0) -> float:
        return low + (high - low) * self._next()

    def integer(self, count: int) -> int:
        """One of 0 … count − 1."""
        return int(self._next() * count)

    def chance(self, probability: float) -> bool:
        return self._next() < probability

    def choice(self, items: Sequence[Item]) -> Item:
        return items[self.integer(len(items))]

    def sign(self) -> float:
        return 1.0 if self._next() < 0.5 else -1.0
