"""Which of a container's streams is the video."""

from __future__ import annotations

from typing import Any, Literal

from openloger.errors import InputError
from openloger.frames.demuxers import limit_decoder

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
