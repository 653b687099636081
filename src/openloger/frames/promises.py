"""Whether a container held what it promised: how a video that was cut off is told from one that ends.

Only what a container writes down as a fact counts. The duration of a transport or program stream, of FLV and of raw
streams is an estimate of the reader's; a fragmented MP4 counts its first fragment alone; edit lists take frames out.
So a count is believed only where the time that is missing agrees with it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from openloger.frames.selection import ROUNDING_S
from openloger.frames.slots import NOMINAL_FPS

SLACK_FRAMES = 1.5
STEADY_STEPS = 10
logger = logging.getLogger("openloger")


@dataclass
class Seen:
    """What came out of a container so far."""

    packets: int = 0  # whole ones
    end_s: float = float("-inf")  # the end of the last of them, in presentation time
    error: str | None = None  # why no more could be read

    def add(self, packet: Any, stream: Any) -> None:
        """Takes note of one packet of `stream`."""
        if packet.is_corrupt:
            return
        self.packets += 1
        if packet.pts is not None:
            duration_s = float(packet.duration * stream.time_base) if packet.duration else frame_interval_s(stream)
            self.end_s = max(self.end_s, float(packet.pts * stream.time_base) + duration_s)


@dataclass
class Rhythm:
    """Tells of a gap in the times of a steady video: what its container lost there, no decoder ever saw.

    A gap may as well be meant (screen recorders leave out frames), so it is logged once and is no error.
    """

    name: str
    last_s: float = float("nan")
    step_s: float = float("nan")
    steady: int = 0  # steps in a row that were alike
    told: bool = False

    def beat(self, index: int, timestamp_s: float) -> None:
        """Takes note of the time of frame `index`."""
        step_s, self.last_s = timestamp_s - self.last_s, timestamp_s
        if abs(step_s - self.step_s) <= 0.1 * self.step_s + ROUNDING_S:
            self.steady += 1
            return
        if self.steady >= STEADY_STEPS and step_s > SLACK_FRAMES * self.step_s and not self.told:
            self.told = True
            passed, usual = f"{step_s:.3f} s pass before frame {index}", f"{self.step_s:.3f} s"
            logger.warning("%s: %s where %s is usual; some frames may be missing there", self.name, passed, usual)
        self.step_s, self.steady = step_s, 0


def frame_interval_s(stream: Any) -> float:
    """Seconds between two frames, as the container has it."""
    return 1 / float(stream.average_rate or NOMINAL_FPS)


def broken_promise(container: Any, stream: Any, seen: Seen) -> str | None:
    """What is missing at the end of a container that was read to its end; None where nothing is."""
    if seen.error is not None:
        return f"it cannot be read any further ({seen.error})"
    promised_s = _promised_end_s(container.format.name.split(","), stream)
    if promised_s is None or seen.end_s >= promised_s - SLACK_FRAMES * frame_interval_s(stream):
        return None
    if not stream.frames:
        return f"the file is cut off: it promises {promised_s:.2f} s of video and ends at {max(seen.end_s, 0):.2f} s"
    if seen.packets < stream.frames:
        return f"the file is cut off: it promises {stream.frames} frames and holds {seen.packets}"
    return None


def _promised_end_s(formats: list[str], stream: Any) -> float | None:
    if "mov" in formats and stream.frames and stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if "avi" in formats and stream.frames:
        return stream.frames * frame_interval_s(stream)
    if "matroska" in formats:
        return _clock_s(stream.metadata.get("DURATION", ""))
    return None


def _clock_s(text: str) -> float | None:
    """Seconds of Matroska's "HH:MM:SS.nnnnnnnnn"."""
    parts = text.split(":")
    if len(parts) != 3:
        return None
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds
