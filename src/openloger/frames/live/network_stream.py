"""Opening cameras and network streams (RTSP, HTTP, UDP) with PyAV; one line of reason where one cannot be opened."""

from __future__ import annotations

import errno
import socket
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from openloger.errors import InputError
from openloger.frames.demuxers import network_options, video_stream
from openloger.frames.lazy import CutShortError, LazyFrame
from openloger.frames.live.clock import CaptureClock, Clock
from openloger.frames.live.reconnect import ENDED
from openloger.frames.video import LIVE, container_slots

_TIMED_OUT = "Immediate exit requested"  # FFmpeg's words when it is interrupted, which its timeout does,
_ENDED = "Input/output error"  # and when the other side ends what had no stated length


@dataclass(frozen=True)
class Address:
    """An address, and the options PyAV opens it with."""

    name: str  # for messages and recordings: without a password
    url: str
    format: str | None = None  # a capture device's; None: recognised from what comes
    options: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = 10.0  # how long it may give nothing

    @property
    def host(self) -> str | None:
        """Of a network stream."""
        return urlsplit(self.url).hostname if self.format is None else None


@dataclass(frozen=True)
class OpenContainer:
    """A `Connection` to a camera or a network stream."""

    address: Address
    container: Any
    clock: Clock

    @property
    def finite(self) -> bool:
        """True for a finished video served over the network; HLS signals its own end."""
        known = self.container.size > 0 or self.container.duration is not None
        return self.address.format is None and (known or self.container.format.name.startswith("hls"))

    def slots(self) -> Generator[LazyFrame, None, None]:
        capture = CaptureClock(self.clock)
        try:
            for slot in container_slots(self.container, 0, name=self.address.name, threads="SLICE"):
                taken_s = capture.time_of(slot.timestamp_s if slot.timed else None)
                yield replace(slot, timestamp_s=taken_s, timed=True)
        except CutShortError as cut:
            if _TIMED_OUT in str(cut):
                raise CutShortError(f"nothing came for {self.address.patience_s:g} s", index=cut.index) from cut
            if _ENDED in str(cut):
                raise CutShortError(ENDED, index=cut.index) from cut
            raise

    def close(self) -> None:
        self.container.close()


def connect(address: Address, clock: Clock) -> OpenContainer:
    """Raises InputError that names what is wrong with the address, the device, or what comes from it."""
    import av
    from av.error import FFmpegError

    try:
        container = av.open(
            address.url,
            format=address.format,
            container_options={**_allowed(address), **LIVE, **address.options},
            timeout=address.patience_s,
            metadata_errors="replace",
        )
    except FFmpegError as error:
        raise InputError(_refusal(address, error)) from error
    video_stream(container, address.name)
    return OpenContainer(address, container, clock)


def _allowed(address: Address) -> dict[str, str]:
    """A device's format is given; what a network brings shows only when it comes."""
    return network_options() if address.format is None else {}


def _refusal(address: Address, error: Any) -> str:
    from av import error as av_error

    name, host, cause = address.name, address.host, error.strerror or type(error).__name__
    scheme = urlsplit(address.url).scheme
    if isinstance(error, av_error.ProtocolNotFoundError):
        return f"{name}: the installed PyAV was built without {scheme}; use another protocol, or a PyAV that has it"
    if address.format is not None:
        return _device_refusal(address, error)
    if isinstance(error, av_error.InvalidDataError):
        return f"{name}: what {host} sends is not a video; check the address"
    if isinstance(error, av_error.HTTPClientError):
        return f"{name}: {host} answers {cause!r}; check the path, and the user's name and password"
    if isinstance(error, av_error.HTTPServerError):
        return f"{name}: {host} answers {cause!r}; try again when it is in order"
    if isinstance(error, (av_error.ExitError, av_error.TimeoutError)):
        return f"{name}: nothing came from {host} for {address.patience_s:g} s; check that it sends there"
    if host is not None and not _resolves(host):
        return f"{name}: no host {host!r} can be found; check its name and the network"
    if error.errno == errno.EIO:  # FFmpeg's word for a connection that ended before it brought anything
        return f"{name}: no video comes from {host} ({cause}); check the address, and that it is sending"
    return f"{name}: {host} cannot be reached ({cause}); check the address, and that it is switched on"


def _device_refusal(address: Address, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"{address.name} may not be used ({error.strerror}); on Linux, join the group 'video'"
    if error.errno == errno.EBUSY:
        return f"{address.name} is in use by another program; close it there"
    return f"{address.name} cannot be opened ({error.strerror}); check that it is plugged in and is a camera"


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
