"""The contents of a recording's folder: one table of arrays, and the names of the few files beside them.

    meta.json        what made it; written first, never changed
    meta.copy.json   the same bytes, for the day on which the disk has damaged those: nothing can be read without them
    arrays.zarr/     a zarr v3 group with one array a quantity, chunked on the frame axis (`array_layouts`)
    names.jsonl      one JSON object a frame: its name
    windows.jsonl    one JSON object a window
    correction.json  similarities along the frames that are applied on reading; there may be none (`correction`)
    loops.json       what `close-loops` has verified, while it runs and after it was cut (`unfinished`)
    committed.json   how many frames and windows count; replaced last and whole, so it is true at any moment
    state.safetensors  where the stream stood after some commit; whoever runs the stream writes it
    writer.lock      locked by the one who writes; never replaced

Arrays and .jsonl files may be longer than what is committed. What lies beyond is unfinished and never shown. Every
chunk, every line and every JSON document has a CRC-32C, except in recordings of format 1, whose names are JSON strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FORMAT = "openloger recording"
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)

META_FILE = "meta.json"
META_COPY_FILE = "meta.copy.json"
ARRAYS_FOLDER = "arrays.zarr"
NAMES_FILE = "names.jsonl"
WINDOWS_FILE = "windows.jsonl"
COMMITTED_FILE = "committed.json"
STATE_FILE = "state.safetensors"
CORRECTION_FILE = "correction.json"
LOOPS_FILE = "loops.json"
LOCK_FILE = "writer.lock"
FILES = (
    NAMES_FILE,
    WINDOWS_FILE,
    CORRECTION_FILE,
    LOOPS_FILE,
    COMMITTED_FILE,
    STATE_FILE,
    META_COPY_FILE,
    META_FILE,
)

DepthDtype = Literal["float16", "float32"]

FLOAT16_DEPTH_MIN = 2.0**-14  # below it float16 loses digits
FLOAT16_DEPTH_MAX = 65504.0  # above it float16 is infinite

IMAGE_CHUNK_FRAMES = 16
NUMBER_CHUNK_FRAMES = 256
GROWTH_FRAMES = 1024  # arrays grow by this many frames at once; a multiple of both chunks


@dataclass(frozen=True)
class ArrayLayout:
    """One array: its values for one frame, how many frames a chunk holds, and how bytes are shuffled before zstd."""

    name: str
    dtype: str
    axes: tuple[str, ...]  # the axes of one frame's values
    frame_shape: tuple[int, ...]
    chunk_frames: int
    shuffle: Literal["shuffle", "bitshuffle"]
    meaning: str

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        return self.chunk_frames, *self.frame_shape


def has_checksums(format_version: int) -> bool:
    """Whether chunks and lines of recordings of this format have checksums."""
    return format_version >= 2


def array_layouts(height: int, width: int, *, depth_dtype: DepthDtype) -> tuple[ArrayLayout, ...]:
    """The arrays of a recording whose frames are `height` by `width` pixels.

    Bits are shuffled for 8-bit pictures (a fifth smaller than with bytes shuffled, which does nothing to them), bytes
    for floats.
    """
    image, size = ("height", "width"), (height, width)
    bits, byte = "bitshuffle", "shuffle"
    few, many = IMAGE_CHUNK_FRAMES, NUMBER_CHUNK_FRAMES
    return (
        ArrayLayout("depth", depth_dtype, image, size, few, byte, "along z, in units of world_from_cam; 0: masked"),
        ArrayLayout("confidence", "uint8", image, size, few, bits, "0..255 for 0..1"),
        ArrayLayout("rgb", "uint8", (*image, "channel"), (*size, 3), few, bits, "sRGB, at the network's size"),
        ArrayLayout("world_from_cam", "float64", ("row", "column"), (4, 4), many, byte, "OpenCV axes"),
        ArrayLayout("intrinsics", "float64", ("row", "column"), (3, 3), many, byte, "pixels; centres at + 0.5"),
        ArrayLayout("residual_px", "float32", (), (), many, byte, "how far intrinsics and depth miss the points"),
        ArrayLayout("timestamp_s", "float64", (), (), many, byte, "seconds"),
        ArrayLayout("source_index", "int64", (), (), many, byte, "the frame's number in the source"),
    )


ARRAY_NAMES = tuple(layout.name for layout in array_layouts(1, 1, depth_dtype="float16"))
