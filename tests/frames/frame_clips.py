"""Tiny videos and pictures whose every frame carries its own number, so that a test reads which one it got."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from PIL import Image

from openloger.errors import BadFrameError
from openloger.values import Frame, FrameSource

HEIGHT, WIDTH = 96, 128
BITS = 8


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A moving soft texture under a row of black and white bars: `number` in binary, highest bit on the left."""
    rgb = _texture(height, width)[number % height :, 2 * number :][:height, :width].copy()
    for bit in range(BITS):
        columns = slice(bit * width // BITS, (bit + 1) * width // BITS)
        rgb[: height // 3, columns] = 255 if number >> (BITS - 1 - bit) & 1 else 0
    return rgb


@lru_cache
def _texture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(7).integers(0, 256, (24, 96, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((8 * width, 2 * height)))


def number_of(rgb: np.ndarray) -> int:
    """The number that a picture carries, at any size."""
    height, width = rgb.shape[:2]
    bars = rgb[: height // 4].mean(axis=(0, 2))
    centres = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(1 << (BITS - 1 - bit) for bit, centre in enumerate(centres) if bars[centre] > 127)


_encoded: dict[str, bytes] = {}  # encoding is slow, and many tests harm the same clip


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray] | int = 40,
    *,
    codec: str = "libx264",
    rate: int = 30,
    muxer: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
    pts_ms: Sequence[int] | None = None,
    stream_settings: dict[str, object] | None = None,
) -> Path:
    """A video of the given pictures, or of the first so-many numbered ones; `pts_ms` are their times."""
    key = repr((path.suffix, pictures, codec, rate, muxer, encoder, pts_ms, stream_settings))
    if isinstance(pictures, int) and key in _encoded:
        path.write_bytes(_encoded[key])
        return path
    shown = [numbered(number) for number in range(pictures)] if isinstance(pictures, int) else pictures
    settings = dict(stream_settings or {})
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = 12
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream.options = {**quiet, **(encoder or {})}
        if "rotation_deg" in settings:
            stream.set_display_rotation(settings.pop("rotation_deg"))
        if "aspect" in settings:
            stream.codec_context.sample_aspect_ratio = settings.pop("aspect")
        if pts_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, rgb in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            if pts_ms is not None:
                frame.pts, frame.time_base = pts_ms[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if isinstance(pictures, int):
        _encoded[key] = path.read_bytes()
    return path


def packet_places(path: Path) -> list[tuple[int, int, int]]:
    """(position in the file, bytes, number of the frame in presentation order) of each packet."""
    with av.open(str(path)) as container:
        found = [(packet.pos, packet.size, packet.pts) for packet in container.demux(video=0) if packet.size]
    order = sorted(pts for _, _, pts in found)
    return [(position, size, order.index(pts)) for position, size, pts in found]


def damage(path: Path, number: int) -> Path:
    """Overwrites the data of frame `number` with what no decoder takes for a picture."""
    position, size, _ = next(place for place in packet_places(path) if place[2] == number)
    data = bytearray(path.read_bytes())
    data[position + 4 : position + size] = bytes(np.random.default_rng(number).integers(0, 256, size - 4, np.uint8))
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    """Keeps the first `share` of the file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def read(source: FrameSource) -> tuple[list[Frame], BadFrameError | None]:
    """The frames that come, and the error that ends them."""
    frames: list[Frame] = []
    try:
        for frame in source:
            frames.append(frame)
    except BadFrameError as error:
        return frames, error
    return frames, None


def write_pictures(folder: Path, count: int = 5, *, suffix: str = ".png") -> list[Path]:
    """`frame0` … in a folder, unpadded, so that only a natural order is the right one."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"frame{number}{suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(numbered(number)).save(path)
    return paths
