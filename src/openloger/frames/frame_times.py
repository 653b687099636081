"""Times of a video's frames: in seconds, from 0 where a format begins anywhere, and never backwards."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

BEGIN_ANYWHERE = frozenset({"mpegts", "mpeg", "dv", "wtv"})  # formats whose clock is the transmitter's
logger = logging.getLogger("openloger")


@dataclass
class FrameTimes:
    """The time of one frame after the other.

    A frame without a time follows the one before it at `interval_s`. Where a time does not come after the one before
    (videos that were joined, a clock that was set anew), it and all that follow are moved to come `interval_s` after
    it. The first such place is logged.
    """

    interval_s: float
    name: str
    from_zero: bool = False
    last_s: float | None = field(default=None, init=False)
    _offset_s: float | None = field(default=None, init=False)
    _reported: bool = field(default=False, init=False)

    def next(self, stream_s: float | None) -> float:
        """The time of the next frame; `stream_s` is its time by the stream, None where it has none."""
        if stream_s is None:
            self.last_s = 0.0 if self.last_s is None else self.last_s + self.interval_s
            return self.last_s
        if self._offset_s is None:
            self._offset_s = -stream_s if self.from_zero else 0.0
            if self.last_s is not None and stream_s + self._offset_s <= self.last_s:  # after some without a time
                self._offset_s = self.last_s + self.interval_s - stream_s
        elif self.last_s is not None and stream_s + self._offset_s <= self.last_s:
            self._restart(stream_s)
        self.last_s = stream_s + self._offset_s
        return self.last_s

    def _restart(self, stream_s: float) -> None:
        assert self.last_s is not None
        if not self._reported:
            logger.warning(
                "%s: its times go back from %.3f s to %.3f s; they are counted on", self.name, self.last_s, stream_s
            )
            self._reported = True
        self._offset_s = self.last_s + self.interval_s - stream_s
