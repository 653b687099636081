"""Opens video containers: what FFmpeg may read, by content, and how much it may allocate.

A path is handed over as `file:PATH`, so that no name is taken for a protocol (`concat:a|b`, `http:/…`). Formats are
named one by one: a playlist, a session description or a script is a list of other places to read from, and a video
that was given is none of these.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

from openloger.errors import InputError
from openloger.frames.files import MOST_PIXELS, open_regular

CONTAINERS = (
    "mov,matroska,avi,mpegts,mpeg,flv,live_flv,asf,ogg,mxf,nut,dv,gif,apng,ivf,rm,wtv,nsv,swf,dhav,pva,cine,r3d,roq,"
    "smjpeg,h261,h263,h264,hevc,vvc,av1,obu,vc1,vc1test,m4v,mjpeg,mjpeg_2000,mpjpeg,mpegvideo,dirac,dnxhd,avs2,avs3,"
    "cavsvideo,yuv4mpegpipe,jpeg_pipe,png_pipe,webp_pipe,webp_anim,gif_pipe,bmp_pipe,tiff_pipe,j2k_pipe,jpegxl_pipe,"
    "jpegxl_anim,wav,mp3,flac,aac"  # sound alone is called that
)
NETWORK_FORMATS = f"{CONTAINERS},hls,dash,rtsp,rtp,sdp"
NETWORK_PROTOCOLS = (
    "rtsp,rtsps,rtp,srtp,tcp,tls,udp,udplite,http,https,httpproxy,crypto,data,"
    "rtmp,rtmps,rtmpt,rtmpe,rtmpte,rtmpts,ffrtmphttp,ffrtmpcrypt,srt"
)
HEAD_BYTES = 1024
_LISTS = {  # what a list begins with
    rb"#EXTM3U": "an HLS playlist",
    rb"ffconcat version": "a list for FFmpeg's concat",
    rb"v=0\r?\n": "a session description (SDP)",
    rb"<SmoothStreamingMedia|<MPD": "a streaming manifest",
    rb"<\?xml[^>]*>\s*(<!--.*?-->\s*)*<(\w+:)?(MPD|SmoothStreamingMedia)": "a streaming manifest",
    rb"\[playlist\]|\[InternetShortcut\]|\[Reference\]|<asx": "a playlist",
}


def refuse_lists(head: bytes, name: str) -> None:
    """Raises InputError where a file that begins with `head` names other places to read from."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for mark, kind in _LISTS.items():
        if re.match(mark, text, re.DOTALL | re.IGNORECASE):
            raise InputError(
                f"{name} is {kind}, which names other files or addresses; give the video itself, or make one of it "
                "(ffmpeg -i LIST -c copy video.mp4)"
            )


def file_options() -> dict[str, str]:
    """Of a container that is read from a file or a pipe alone."""
    return {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}


def network_options() -> dict[str, str]:
    """Of one that comes by the network, and may lead to other places there, but not to this machine's files."""
    return {"format_whitelist": NETWORK_FORMATS, "protocol_whitelist": NETWORK_PROTOCOLS}


def decoder_options() -> dict[str, str]:
    """The limit of what decoders may allocate."""
    return {"max_pixels": str(MOST_PIXELS.value)}


def open_video_file(path: Path) -> Any:
    """The file as a PyAV container; raises InputError for what is no video."""
    from av.error import FFmpegError

    try:
        with open_regular(path) as file:
            refuse_lists(file.read(HEAD_BYTES), str(path))
        return _open(path)
    except FFmpegError as error:
        raise InputError(
            f"{path} is not a video, or was cut off before its index was written "
            f"({error.strerror}); give a video, a folder of pictures or a list"
        ) from error


def _open(path: Path) -> Any:
    import av

    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:  # PyAV takes no name that is not UTF-8
        file: str | _ClosedWhenUnused = _ClosedWhenUnused(open_regular(path))
    else:
        file = f"file:{name}"
    return av.open(file, container_options=file_options(), options=decoder_options(), metadata_errors="replace")


class _ClosedWhenUnused:
    """A file for PyAV, which closes none that it did not open."""

    def __init__(self, file: BufferedReader) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        weakref.finalize(self, file.close)


def open_forward(stream: Any, name: str, *, options: Mapping[str, str]) -> Any:
    """A buffered binary stream as a PyAV container that is read forward; raises InputError where that is no video."""
    import av
    from av.error import FFmpegError

    head = stream.peek(2)
    refuse_lists(head[:HEAD_BYTES], name)
    mjpeg = head[:2] == b"\xff\xd8"  # which nothing else in a bare run of JPEGs shows
    try:
        return av.open(
            _ForwardReader(stream),
            format="mjpeg" if mjpeg else None,
            container_options={**options, **file_options()},  # as `options`, PyAV before 18 crashes: streams come later
            metadata_errors="replace",
        )
    except FFmpegError as error:
        raise InputError(
            f"{name} is not a video that can be read as it comes ({error.strerror}); "
            "send MJPEG or MPEG-TS, as `ffmpeg -i … -f mpegts -` writes it"
        ) from error


class _ForwardReader:
    """All that PyAV may do with a pipe: read what is there, without waiting for a full buffer."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        return self._stream.read1(size)


def limit_decoder(stream: Any, name: str) -> None:
    """Lets a stream's decoder allocate no picture beyond `MOST_PIXELS`; raises InputError where it declares one."""
    codec = stream.codec_context
    MOST_PIXELS.check((codec.width or 0) * (codec.height or 0), name)
    if not codec.is_open:
        codec.options = {**codec.options, **decoder_options()}


_DEFAULT, _COVER_ART, _THUMBNAIL = 0x1, 0x400, 0x800  # AV_DISPOSITION_DEFAULT, _ATTACHED_PIC, _TIMED_THUMBNAILS


def video_stream(container: Any, name: str, *, threads: Literal["AUTO", "SLICE"] = "AUTO") -> Any:
    """The stream to decode; threads that work on whole frames ("AUTO") are faster, and as many frames late.

    It is one that the file marks as default, where it marks any; of several the largest, then the first.
    Raises InputError, and closes the container, where there is none.
    """
    try:
        found = [stream for stream in container.streams.video if stream.codec_context and not _is_cover(stream)]
        if not found:
            raise InputError(
                f"{name} has no video stream that can be decoded (a file that was cut off may lose it); give a video"
            )
        best = max(found, key=_rank)  # the first of equals
        limit_decoder(best, name)
    except InputError:
        container.close()
        raise
    best.thread_type = threads
    return best


def _rank(stream: Any) -> tuple[bool, int]:
    codec = stream.codec_context
    return bool(_disposition(stream) & _DEFAULT), (codec.width or 0) * (codec.height or 0)


def _is_cover(stream: Any) -> bool:
    return bool(_disposition(stream) & (_COVER_ART | _THUMBNAIL))


def _disposition(stream: Any) -> int:
    """PyAV has had it as an integer and as a flag."""
    return int(getattr(stream.disposition, "value", stream.disposition))
