"""A set of voxels that grows a frame at a time: 13 to 27 bytes for each voxel seen, half as much again as it grows.

A voxel is remembered by a 64-bit mix of its three integer coordinates, in an open-addressing table that is searched
for a whole frame at once. Two voxels share a key with probability 2⁻⁶⁴, so with n voxels a new one is mistaken for a
seen one with probability n · 2⁻⁶⁴: below one point in 10¹¹ for 10⁸ voxels.
"""

from __future__ import annotations

import numpy as np

from openloger.export.sampling import mix64
from openloger.shapes import Bool, Float, Int

_FULLEST = 0.6  # of the table; linear probing slows down beyond it
_BATCH = 1 << 18  # keys moved at a time when the table grows


def voxel_keys(points: Float[np.ndarray, "point 3"], size: float) -> Int[np.ndarray, " point"]:
    """The key of the voxel, a cube of edge `size` in the points' unit, that each point lies in; never 0."""
    cells = np.clip(np.floor(points / size), -(2.0**62), 2.0**62).astype(np.int64).view(np.uint64)
    key = mix64(mix64(mix64(cells[:, 0]) + cells[:, 1]) + cells[:, 2])
    return np.maximum(key, np.uint64(1)).view(np.int64)


class VoxelSet:
    """Grows by `add`; there is no way to take a voxel out."""

    def __init__(self) -> None:
        self._table = np.zeros(1 << 12, np.int64)  # 0: nothing here
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """The size of the table."""
        return self._table.nbytes

    def add(self, keys: Int[np.ndarray, " point"]) -> Bool[np.ndarray, " point"]:
        """Takes in `voxel_keys`; True where a voxel is met for the first time, once for each voxel."""
        distinct, first_at = np.unique(keys, return_index=True)
        self._make_room(len(distinct))
        is_new = _insert(self._table, distinct)
        self._count += int(is_new.sum())
        first = np.zeros(len(keys), np.bool_)
        first[first_at[is_new]] = True
        return first

    def _make_room(self, more: int) -> None:
        size = len(self._table)
        while self._count + more > _FULLEST * size:
            size *= 2
        if size == len(self._table):
            return
        old, self._table = self._table, np.zeros(size, np.int64)
        for start in range(0, len(old), _BATCH):
            batch = old[start : start + _BATCH]
            _insert(self._table, batch[batch != 0])


def _insert(table: Int[np.ndarray, " slot"], keys: Int[np.ndarray, " key"]) -> Bool[np.ndarray, " key"]:
    """Puts distinct keys into the table; True where one was not there before. Linear probing, all keys at once."""
    last_slot = len(table) - 1
    slots = keys & last_slot
    is_new = np.zeros(len(keys), np.bool_)
    waiting = np.arange(len(keys))
    while len(waiting):
        key, slot = keys[waiting], slots[waiting]
        was_empty = table[slot] == 0
        table[slot[was_empty]] = key[was_empty]  # of several keys that want one slot, one gets it
        settled = table[slot] == key
        is_new[waiting[settled & was_empty]] = True
        waiting = waiting[~settled]
        slots[waiting] = (slots[waiting] + 1) & last_slot
    return is_new
