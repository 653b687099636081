"""Reads a video container: packets, decoded pictures in order of time, the display rotation, and truncation.

Decoders cannot be relied on to report damage: some raise, some mark the picture as corrupt, and some (HEVC, VP9) drop
it silently. So the time of every packet is kept until a picture of that time is decoded; a packet that a later picture
overtakes is a lost frame. This holds for codecs with one picture in each packet and containers with exact times;
elsewhere a loss is detected by the decoder's error alone.

A container counts as truncated only where what it records as a fact is missing. The duration of a transport or program
stream, of FLV and of raw streams is an estimate; a fragmented MP4 counts its first fragment alone; edit lists remove
frames. So a frame count is compared only where the missing time agrees with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openloger.errors import counted
from openloger.frames.lazy import NOMINAL_FPS, CutShortError
from openloger.frames.selection import ROUNDING_S
from openloger.shapes import UInt8

SLACK_FRAMES = 1.5
STEADY_STEPS = 10
logger = logging.getLogger("openloger")


@dataclass
class PacketsRead:
    """Packets read from a container so far."""

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
class GapDetector:
    """Logs a gap in the times of a steady video: frames that its container lost never reach the decoder.

    A gap may be intended (screen recorders leave out frames), so it is logged once and is no error.
    """

    name: str
    last_s: float = float("nan")
    step_s: float = float("nan")
    steady: int = 0  # steps in a row that were alike
    reported: bool = False

    def update(self, index: int, timestamp_s: float) -> None:
        """Takes note of the time of frame `index`."""
        step_s, self.last_s = timestamp_s - self.last_s, timestamp_s
        if abs(step_s - self.step_s) <= 0.1 * self.step_s + ROUNDING_S:
            self.steady += 1
            return
        if self.steady >= STEADY_STEPS and step_s > SLACK_FRAMES * self.step_s and not self.reported:
            self.reported = True
            passed, usual = f"{step_s:.3f} s pass before frame {index}", f"{self.step_s:.3f} s"
            logger.warning("%s: %s where %s is usual; some frames may be missing there", self.name, passed, usual)
        self.step_s, self.steady = step_s, 0


def frame_interval_s(stream: Any) -> float:
    """Seconds between two frames, as the container has it."""
    return 1 / float(stream.average_rate or NOMINAL_FPS)


def truncation_reason(container: Any, stream: Any, seen: PacketsRead) -> str | None:
    """The reason for which a container that was read to its end counts as truncated; None where it does not."""
    if seen.error is not None:
        return f"it cannot be read any further ({seen.error})"
    promised_s = _promised_end_s(container.format.name.split(","), stream)
    if promised_s is None or seen.end_s >= promised_s - SLACK_FRAMES * frame_interval_s(stream):
        return None
    if not stream.frames:
        return f"the file is cut off: it promises {promised_s:.2f} s of video and ends at {max(seen.end_s, 0):.2f} s"
    if seen.packets < stream.frames:
        return f"the file is cut off: it promises {counted(stream.frames, 'frame')} and holds {seen.packets}"
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


def upright(
    rgb: UInt8[np.ndarray, "height width 3"], matrix: tuple[int, int, int, int] | None
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """The picture as it is meant to be seen.

    `matrix` = (a, b, c, d) of ISO 14496-12: the pixel (x, y) is shown at (a·x + c·y, b·x + d·y), up to a shift. Quarter
    turns and mirrorings are applied; an angle in between goes to the nearest of them.
    """
    if matrix is None:
        return rgb
    a, b, c, d = matrix
    if abs(b) > abs(a):
        rgb, x_sign, y_sign = rgb.swapaxes(0, 1), c, b
    else:
        x_sign, y_sign = a, d
    return np.ascontiguousarray(rgb[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1])


def display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """The (a, b, c, d) of a PyAV frame, where it carries one."""
    from av.sidedata import sidedata

    # `frame.side_data` keeps what it makes, a circle: the frame would stay, with all it holds, until circles are sought
    container: Any = sidedata.SideDataContainer
    found = container(frame).get("DISPLAYMATRIX")
    if found is None:
        return None
    a, b, _, c, d, *_ = np.frombuffer(bytes(found), np.int32).tolist()
    return a, b, c, d


ONE_PICTURE_A_PACKET = frozenset(  # decoders, which differ between builds of FFmpeg
    {"av1", "ffv1", "h264", "hevc", "libaom-av1", "libdav1d", "libvpx-vp9"}
    | {"mjpeg", "mpeg4", "png", "prores", "vp9", "vvc"}
)
UNCODED = "wrapped_avframe"  # whole pictures of a filter graph (lavfi), none of them marked as a key frame
DAMAGED = "its data is damaged"
END_OF_JPEG = b"\xff\xd9"


@dataclass(frozen=True)
class Picture:
    """One frame of a video: a decoded PyAV frame, or why there is none."""

    pts: int | None  # in the stream's time base
    image: Any | None
    reason: str = ""


@dataclass
class _Ledger:
    """The times of the packets whose pictures are still to come."""

    sound: bool
    pending: list[int] = field(default_factory=list)
    first_pts: int | None = None
    last_dts: int | None = None
    fault: str = DAMAGED  # the reason to give for the next loss
    failures: list[str] = field(default_factory=list)  # packets whose losses their times have not shown yet

    def enter(self, packet: Any) -> Iterator[Picture]:
        """Takes note of a packet; gives the losses that its time would hide."""
        pts, dts = packet.pts, packet.dts
        if pts is None or (dts is not None and self.last_dts is not None and dts < self.last_dts):
            yield from self.step_back()
        self.last_dts = dts if dts is not None else self.last_dts
        if pts is None or not self.sound:
            return
        self.first_pts = pts if self.first_pts is None else self.first_pts
        if pts >= self.first_pts and not packet.is_discard:
            self.pending.append(pts)

    def step_back(self) -> Iterator[Picture]:
        """From here on times show no loss (two streams were joined, …); those that were still to be shown are given."""
        self.sound = False
        self.pending.clear()
        yield from (Picture(None, None, reason) for reason in self.failures)
        self.failures.clear()

    def settle(self, image: Any) -> Iterator[Picture]:
        """The frames settled by a decoded picture: those that it overtook, and its own."""
        pts = image.pts
        if self.first_pts is not None and pts is not None and pts < self.first_pts and self.sound:
            return  # shown before the first key frame: it rests on pictures that the file does not have
        if self.sound and (pts not in self.pending or image.interlaced_frame):
            yield from self.step_back()
        yield from self.lost(before=pts)
        yield Picture(pts, None, DAMAGED) if image.is_corrupt else Picture(pts, image)

    def fail(self, reason: str) -> Iterator[Picture]:
        """The decoder gave up on a packet; the times, where they are sound, show which one."""
        self.fault = reason
        if self.sound:
            self.failures.append(reason)
        else:
            yield Picture(None, None, reason)

    def lost(self, before: int | None = None) -> Iterator[Picture]:
        """The frames whose pictures will not come any more."""
        overdue = sorted(pts for pts in self.pending if before is None or pts < before)
        self.pending = [pts for pts in self.pending if before is not None and pts > before]
        for pts in overdue:
            yield Picture(pts, None, self.fault)
        del self.failures[: len(overdue)]
        if overdue:
            self.fault = DAMAGED


def pictures(container: Any, stream: Any) -> Generator[Picture, None, None]:
    """The pictures of an open PyAV container, in order; the n-th is frame n, be it good or lost.

    Raises CutShortError after the last one, where the container had promised more.
    """
    count = 0
    for picture in (decoding := _Decoding(container, stream)).run():
        yield picture
        count += 1
    if decoding.broken is not None:
        raise CutShortError(decoding.broken, index=count)


class _Decoding:
    """One pass over a container."""

    def __init__(self, container: Any, stream: Any) -> None:
        codec = stream.codec_context.name
        packed = codec == "mpeg4" and container.format.name == "avi"  # may hold two pictures in one packet
        self.container, self.stream = container, stream
        self.ledger = _Ledger(sound=codec in ONE_PICTURE_A_PACKET and not packed)
        self.broken: str | None = None
        self._writes_ends = False

    def run(self) -> Iterator[Picture]:
        seen, ledger = PacketsRead(), self.ledger
        for packet in packets(self.container, self.stream, seen):
            yield from ledger.enter(packet)
            if packet.is_corrupt or self._breaks_off(packet):
                # Known to be incomplete: decoded, it could only spoil the pictures around it.
                yield from ledger.fail("its data is incomplete")
            else:
                yield from self._decode(packet.decode)
        self.broken = truncation_reason(self.container, self.stream, seen)
        yield from self._decode(lambda: self.stream.codec_context.decode(None))
        if self.broken is None:
            yield from ledger.lost()

    def _breaks_off(self, packet: Any) -> bool:
        """True for a bare JPEG without the end mark that those before it had; its decoder fills the rest with grey."""
        if self.container.format.name != "mjpeg":
            return False
        ended = END_OF_JPEG in bytes(packet)[-64:]
        self._writes_ends |= ended
        return self._writes_ends and not ended

    def _decode(self, decode: Callable[[], list[Any]]) -> Iterator[Picture]:
        from av.error import FFmpegError

        try:
            images = decode()
        except FFmpegError as error:
            yield from self.ledger.fail(error.strerror or DAMAGED)
            return
        for image in images:
            yield from self.ledger.settle(image)


def packets(container: Any, stream: Any, seen: PacketsRead) -> Iterator[Any]:
    """The packets of `stream` from its first key frame on; notes all of them in `seen`, and what ended them early."""
    from av.error import FFmpegError

    started = stream.codec_context.name == UNCODED
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except FFmpegError as error:
            seen.error = error.strerror or type(error).__name__  # its text may hold an address with a password
            return
        if not packet.size:  # the demuxer's end mark, or an AVI's "as before"; a decoder would take it for the end
            continue
        seen.add(packet, stream)
        if not started and packet.is_keyframe:
            started = True
            if seen.packets > 1:
                logger.warning("%d packets before the video's first key frame cannot be decoded", seen.packets - 1)
        if started:
            yield packet
