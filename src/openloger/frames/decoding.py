"""From a container's packets to pictures in the order of their time, with none lost unnoticed.

Decoders are not to be trusted with damage: some raise, some mark the picture as corrupt, some (HEVC, VP9) say nothing
and give no picture. So the time of every packet that went in is kept until a picture of that time comes out; a packet
that a later picture overtakes is a lost frame. This holds for codecs with one picture in each packet and containers
with sound times; elsewhere the ledger steps back, and a loss is known by the decoder's error alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from openloger.frames.promises import Seen, broken_promise
from openloger.frames.slots import CutShortError

ONE_PICTURE_A_PACKET = frozenset(  # decoders, which differ between builds of FFmpeg
    {"av1", "ffv1", "h264", "hevc", "libaom-av1", "libdav1d", "libvpx-vp9"}
    | {"mjpeg", "mpeg4", "png", "prores", "vp9", "vvc"}
)
UNCODED = "wrapped_avframe"  # whole pictures of a filter graph (lavfi), none of them marked as a key frame
DAMAGED = "its data is damaged"
END_OF_JPEG = b"\xff\xd9"
logger = logging.getLogger("openloger")


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

    def enter(self, packet: Any) -> None:
        pts, dts = packet.pts, packet.dts
        if pts is None or (dts is not None and self.last_dts is not None and dts < self.last_dts):
            self.step_back()
        self.last_dts = dts if dts is not None else self.last_dts
        if pts is None or not self.sound:
            return
        self.first_pts = pts if self.first_pts is None else self.first_pts
        if pts >= self.first_pts and not packet.is_discard:
            self.pending.append(pts)

    def step_back(self) -> None:
        self.sound = False
        self.pending.clear()

    def settle(self, image: Any) -> Iterator[Picture]:
        """What a picture's coming decides: the frames that it overtook, and its own."""
        pts = image.pts
        if self.first_pts is not None and pts is not None and pts < self.first_pts and self.sound:
            return  # shown before the first key frame: it rests on pictures that the file does not have
        if self.sound and (pts not in self.pending or image.interlaced_frame):
            self.step_back()
        yield from self.lost(before=pts)
        yield Picture(pts, None, DAMAGED) if image.is_corrupt else Picture(pts, image)

    def fail(self, reason: str) -> Iterator[Picture]:
        """The decoder gave up on a packet; which one is told by the times, where they are sound."""
        self.fault = reason
        if not self.sound:
            yield Picture(None, None, reason)

    def lost(self, before: int | None = None) -> Iterator[Picture]:
        """The frames whose pictures will not come any more."""
        overdue = sorted(pts for pts in self.pending if before is None or pts < before)
        self.pending = [pts for pts in self.pending if before is not None and pts > before]
        for pts in overdue:
            yield Picture(pts, None, self.fault)
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
        seen, ledger = Seen(), self.ledger
        for packet in packets(self.container, self.stream, seen):
            ledger.enter(packet)
            if packet.is_corrupt or self._breaks_off(packet):
                # Known to be incomplete: decoded, it could only spoil the pictures around it.
                yield from ledger.fail("its data is incomplete")
            else:
                yield from self._decode(packet.decode)
        self.broken = broken_promise(self.container, self.stream, seen)
        yield from self._decode(lambda: self.stream.codec_context.decode(None))
        if self.broken is None:
            yield from ledger.lost()

    def _breaks_off(self, packet: Any) -> bool:
        """Whether a bare JPEG lacks the end mark that others before it had; its decoder takes that for grey."""
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


def packets(container: Any, stream: Any, seen: Seen) -> Iterator[Any]:
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
            seen.error = error.strerror or str(error)
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
