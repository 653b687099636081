"""The buffer between the thread that captures frames and the network, with its policy when full."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

Keep = Literal["latest", "all"]
ItemT = TypeVar("ItemT")


class ClosedError(Exception):
    """Nothing more will come."""


class FrameBuffer(Generic[ItemT]):
    """Room for `capacity` items between one thread that puts and one that takes, in order.

    `keep` is the policy when the buffer is full:
    - "all": whoever puts it waits until one is taken;
    - "latest": the waiting items are thinned evenly in time. Of all but the newest, the one goes whose neighbours are
      nearest to each other, the older of two that are alike; `dropped` counts them. So a slow network gets evenly
      spaced frames, and what came last is always there.
    """

    def __init__(self, capacity: int, *, keep: Keep, time_of: Callable[[ItemT], float]) -> None:
        assert capacity > 0
        self.dropped = 0
        self._capacity, self._keep, self._time_of = capacity, keep, time_of
        self._items: list[ItemT] = []
        self._last_taken_s: float | None = None
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: ItemT) -> bool:
        """Add an item; False where the buffer is closed."""
        with self._changed:
            if self._keep == "all":
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return False
            self._items.append(item)
            if len(self._items) > self._capacity:
                self._thin()
            self._changed.notify_all()
            return True

    def take(self, patience_s: float | None = None) -> ItemT:
        """The oldest item, as soon as there is one; items left are given even when the buffer is closed.

        Raises ClosedError after the last, or the error given to `close`; TimeoutError where nothing came.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._items, patience_s):
                raise TimeoutError
            if not self._items:
                raise self._error or ClosedError
            item = self._items.pop(0)
            self._last_taken_s = self._time_of(item)
            self._changed.notify_all()
            return item

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more is let in. The first to close it decides how it ends."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()

    def _thin(self) -> None:
        times_s = [self._time_of(item) for item in self._items]
        before_s = [times_s[0] if self._last_taken_s is None else self._last_taken_s, *times_s]
        gaps_s = [later - earlier for earlier, later in zip(before_s, times_s[1:], strict=False)]
        del self._items[gaps_s.index(min(gaps_s))]
        self.dropped += 1
