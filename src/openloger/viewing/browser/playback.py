"""The timeline's clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openloger.shapes import Float

_FALLBACK_FPS = 30.0  # of a single frame, or timestamps that stand still


@dataclass(frozen=True)
class PlaybackClock:
    """Where playing is, with the fraction of a frame that a slider does not show."""

    position: float = 0.0  # frames
    playing: bool = False

    @property
    def frame(self) -> int:
        return int(self.position)

    def at(self, frame: int) -> PlaybackClock:
        """Somebody moved the slider there; the fraction stays where it is that frame already."""
        return self if self.frame == frame else replace(self, position=float(frame))

    def stepped(self, frames: int, *, last: int) -> PlaybackClock:
        """So many frames on or back; whoever steps does not play."""
        return PlaybackClock(float(min(max(self.frame + frames, 0), last)))

    def toggled(self, *, last: int) -> PlaybackClock:
        """Played, from the beginning where it is at the end; or paused."""
        if self.playing:
            return replace(self, playing=False)
        return PlaybackClock(0.0 if self.frame >= last else self.position, playing=True)

    def advanced(self, seconds: float, *, fps: float, last: int, goes_on: bool) -> PlaybackClock:
        """So much later; it stops at the last frame, but waits there where the recording goes on."""
        if not self.playing:
            return self
        position = self.position + seconds * fps
        if position < last:
            return replace(self, position=position)
        return PlaybackClock(float(last), playing=goes_on)


def frame_rate(timestamps_s: Float[np.ndarray, " frame"]) -> float:
    """Frames a second, by the median step."""
    steps = np.diff(timestamps_s)
    step = float(np.median(steps)) if len(steps) else 0.0
    return 1 / step if step > 0 else _FALLBACK_FPS
