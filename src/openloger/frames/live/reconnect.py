"""A source that may break off and come back: one run of slots over as many connections as it takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from openloger.errors import InputError
from openloger.frames.lazy import CutShortError, LazyFrame
from openloger.frames.live.clock import Clock

FIRST_WAIT_S, MOST_WAIT_S = 0.5, 15.0  # before a new attempt; each wait is twice as long as the one before
ENDED = "the connection was ended"
logger = logging.getLogger("openloger")


class SourceLostError(Exception):
    """A source gives no more although it has not ended; the text is the reason."""


@runtime_checkable
class Connection(Protocol):
    """A source that is open."""

    @property
    def finite(self) -> bool:
        """True where the source has an end of its own, after which reconnecting is useless."""
        ...

    def slots(self) -> Generator[LazyFrame, None, None]:
        """Numbered from 0, timed by their capture; raises CutShortError where it breaks off."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Reconnecting:
    """Connects again when a connection is lost: after half a second, then after twice as long each time.

    It gives up when no frame came for `limit_s` seconds since the loss; 0 is at once. Frames are numbered on, and their
    times keep the gap.
    """

    name: str
    connect: Callable[[], Connection]  # raises InputError
    limit_s: float
    clock: Clock

    def slots(self, first: int, stop: threading.Event) -> Generator[LazyFrame, None, None]:
        """Numbered from `first`, until the source ends or `stop` is set.

        Raises InputError where the first connection cannot be made, SourceLostError where it gives up.
        """
        connection: Connection | None = self.connect()
        attempts = _Attempts(self.limit_s, self.clock)
        following = first
        while connection is not None:
            base = following
            with closing(connection):
                try:
                    for slot in connection.slots():
                        attempts.succeed()
                        following = base + slot.index + 1
                        yield replace(slot, index=following - 1, name=f"frame_{following - 1:06d}")
                        if stop.is_set():
                            return
                    if connection.finite:
                        return
                    reason = ENDED
                except CutShortError as cut:
                    if connection.finite:
                        raise SourceLostError(str(cut)) from cut  # it would begin at its beginning again
                    reason = str(cut)
            connection = None if stop.is_set() else self._again(reason, attempts, stop)

    def _again(self, reason: str, attempts: _Attempts, stop: threading.Event) -> Connection | None:
        """The next connection; None where `stop` was set first."""
        if self.limit_s > 0 and not attempts.seconds:  # logged once a loss
            logger.warning("%s: %s; trying to connect again for %g s", self.name, reason, self.limit_s)
        attempts.lose(reason)
        while attempts.wait(stop):
            try:
                connection = self.connect()
            except InputError as error:
                cause = str(error).removeprefix(f"{self.name}: ").partition(";")[0]
                attempts.reason = f"{reason}, and then {cause}"
                continue
            logger.info("%s: connected again after %.1f s", self.name, attempts.seconds)
            return connection
        return None


@dataclass
class _Attempts:
    """The time since a source was lost and the delay before the next attempt; a received frame resets both."""

    limit_s: float
    clock: Clock
    reason: str = ""
    _lost_s: float | None = field(default=None, init=False)
    _wait_s: float = field(default=FIRST_WAIT_S, init=False)

    @property
    def seconds(self) -> float:
        return 0.0 if self._lost_s is None else self.clock.now_s() - self._lost_s

    def lose(self, reason: str) -> None:
        self.reason = reason
        self._lost_s = self.clock.now_s() if self._lost_s is None else self._lost_s

    def succeed(self) -> None:
        self._lost_s, self._wait_s = None, FIRST_WAIT_S

    def wait(self, stop: threading.Event) -> bool:
        """Waits for the next attempt, and returns whether to make it; raises SourceLostError when the time is up."""
        left_s = self.limit_s - self.seconds
        if left_s <= 0:
            raise SourceLostError(self.reason)
        stopped = self.clock.wait(stop, min(self._wait_s, left_s))
        self._wait_s = min(2 * self._wait_s, MOST_WAIT_S)
        return not stopped
