"""Packs sequences of any dataset for training; `packed.py` has the layout, and reads it.

A shard is written beside its place and put there whole, its table of names last: what a table lists is there. A run
that is interrupted loses the shard in hand, and the next one goes on with the sequences that no shard has; it removes
the draft that a kill left.
"""

from __future__ import annotations

import json
import math
import os
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from openloger.datasets.cut import covering_box, cut_depth, cut_intrinsics, cut_rgb
from openloger.datasets.packed import (
    FORMAT,
    PACK_FILE,
    PACKED,
    SHARDS,
    PackedEntry,
    PackSettings,
    crc32_of,
    encode_depth,
    read_settings,
    read_shard,
)
from openloger.datasets.sequence import DatasetFolder, Labelled, Sequence, frames_at
from openloger.errors import InputError, OpenlogerError
from openloger.outputs import check_place, one_at_a_time, remove_drafts, remove_folder, staged_file, write_output
from openloger.shapes import Float64

MADE_BY = "datasets pack"
_OTHER_PACK = "another run is packing into it"
MOST_PIXELS = 512_000  # a clip of 255,000 pixels at 1:1 is cut out of a picture of 16:9 without being enlarged
_PNG_LEVEL = 1  # of zlib: half the time of 6, and a twentieth more bytes
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How sequences are packed."""

    existing: Literal["refuse", "resume", "overwrite"] = "refuse"  # what to do with a pack that is there
    pixels: int = MOST_PIXELS  # of a picture at most; larger ones are resized
    quality: int = 95  # of JPEG, without subsampled colours
    shard_bytes: int = 500_000_000  # a shard is closed with the sequence that reaches it
    threads: int = 0  # that resize and encode; 0: one for each CPU
    on_progress: Callable[[PackProgress], None] = lambda progress: None  # called after each frame
    on_failure: Callable[[str, str], None] = lambda sequence, reason: None  # of a sequence that cannot be read

    def __post_init__(self) -> None:
        if self.pixels < 1 or self.shard_bytes < 1 or self.threads < 0:
            raise InputError("pack: pixels and the size of shards are 1 or more, threads 0 or more")
        if not 1 <= self.quality <= 100:
            raise InputError(f"pack: quality is {self.quality}; JPEG has 1 to 100")


@dataclass(frozen=True)
class PackProgress:
    """A moment of packing."""

    sequences: int  # done, those of earlier runs included
    total: int
    frames: int  # of this run


@dataclass(frozen=True)
class PackSummary:
    """The end of packing."""

    sequences: int  # in the pack
    before: int  # of them by earlier runs
    frames: int  # of this run
    bytes: int  # of this run's shards
    failed: tuple[str, ...]  # sequences that could not be read, of which nothing was kept


def pack_dataset(dataset: DatasetFolder, out: Path, options: PackOptions | None = None) -> PackSummary:
    """Pack the sequences of a dataset into the folder `out`.

    Raises InputError where `out` holds something that is not to be replaced or continued, or a pack of another dataset
    or of other settings, and where another run is packing into it.
    """
    options = options or PackOptions()
    if dataset.reader is PACKED:
        raise InputError(f"{dataset.folder} is packed already; pack the dataset that it was made from")
    settings = PackSettings(dataset.dataset, dataset.depth, options.pixels, options.quality)
    _prepare(out, settings, options.existing)
    with one_at_a_time(out / PACK_FILE, at=str(out), other=_OTHER_PACK):
        remove_drafts(out, "shard-*", made_by=MADE_BY)
        done = _packed_before(out)
        waiting = deque(name for name in dataset if name not in done)
        run = _Run(dataset, options, len(done), len(dataset))
        number = 0
        while waiting:
            while (out / _shard(number, ".json")).exists():
                number += 1
            run.bytes += _write_shard(out, number, waiting, run)
    return PackSummary(run.done, len(done), run.frames, run.bytes, tuple(run.failed))


@dataclass
class _Run:
    """What one run has done."""

    dataset: DatasetFolder
    options: PackOptions
    done: int
    total: int
    frames: int = 0
    bytes: int = 0
    failed: list[str] = field(default_factory=list)

    def report(self) -> None:
        self.options.on_progress(PackProgress(self.done, self.total, self.frames))

    def fail(self, name: str, error: OpenlogerError) -> None:
        self.failed.append(name)
        self.options.on_failure(name, str(error))


@dataclass(frozen=True)
class _EncodedFrame:
    """A frame as a shard has it."""

    jpeg: bytes
    png: bytes  # empty: there is no depth
    depth_range: tuple[float, float]
    intrinsics: Float64[np.ndarray, "3 3"]  # nan: not known, as the next
    world_from_cam: Float64[np.ndarray, "4 4"]
    timestamp_s: float


class _NothingToWriteError(Exception):
    """Leaves a shard that would have no sequence."""


def _shard(number: int, ending: str) -> str:
    return f"shard-{number:05d}{ending}"


def _prepare(out: Path, settings: PackSettings, existing: str) -> None:
    """Make `out` a pack of these settings."""
    has_pack = (out / PACK_FILE).is_file()
    if existing == "resume" and has_pack:
        before = read_settings(out)
        if before != settings:
            raise InputError(
                f"{out} was packed as {before}, not as {settings}: give the same, or choose another folder"
            )
        return
    check_place(out, made_by=MADE_BY, overwrite=existing == "overwrite", folder=True)
    if has_pack and existing == "overwrite":
        with one_at_a_time(out / PACK_FILE, at=str(out), other=_OTHER_PACK):
            pass  # no other run would lose its shards
        remove_folder(out, made_by=MADE_BY)
    content = json.dumps({"format": FORMAT, **asdict(settings)}, indent=1)
    write_output(out / PACK_FILE, content, made_by=MADE_BY)


def _packed_before(out: Path) -> set[str]:
    """The sequences that `out` has already."""
    names: set[str] = set()
    for path in sorted(out.glob(SHARDS)):
        shard = path.with_suffix(".tar")
        if not shard.is_file():
            raise InputError(f"{shard} is missing: put a copy of it back, or remove {path.name} too and pack it anew")
        names |= {entry.name for entry in read_shard(path)}
    return names


def _write_shard(out: Path, number: int, waiting: deque[str], run: _Run) -> int:
    """A shard of the sequences that are waiting, until it is full; its bytes."""
    path = out / _shard(number, ".tar")
    try:
        with staged_file(path, made_by=MADE_BY, overwrite=True) as draft:  # of ours alone, where its table is missing
            with draft.open("wb") as file:
                entries = _write_sequences(file, waiting, run)
                file.write(bytes(2 * _BLOCK))
            if not entries:
                raise _NothingToWriteError
        listed = [asdict(entry) for entry in entries]
        table = {"crc32": crc32_of(listed), "sequences": listed}
        write_output(out / _shard(number, ".json"), json.dumps(table, indent=1), made_by=MADE_BY)
    except _NothingToWriteError:
        return 0
    return path.stat().st_size


def _write_sequences(file: BinaryIO, waiting: deque[str], run: _Run) -> list[PackedEntry]:
    entries: list[PackedEntry] = []
    with ThreadPoolExecutor(run.options.threads or os.cpu_count() or 1) as threads:
        while waiting and file.tell() < run.options.shard_bytes:
            name, began = waiting.popleft(), file.tell()
            try:
                sequence = run.dataset[name]
                entries.append(_write_sequence(file, len(entries), sequence, name, threads, run))
            except OpenlogerError as error:
                file.seek(began)
                file.truncate()
                run.fail(name, error)
            else:
                run.done += 1
            run.report()
    return entries


def _write_sequence(
    file: BinaryIO, number: int, sequence: Sequence, name: str, threads: ThreadPoolExecutor, run: _Run
) -> PackedEntry:
    frames: list[_EncodedFrame] = []
    places: list[tuple[tuple[int, int], tuple[int, int]]] = []
    sums: list[tuple[int, int]] = []
    for frame in _encoded(sequence, threads, run.options):
        stem = f"{number:05d}/{len(frames):06d}"
        jpeg = _add(file, f"{stem}.jpg", frame.jpeg)
        png = _add(file, f"{stem}.depth.png", frame.png) if frame.png else 0
        places.append(((jpeg, len(frame.jpeg)), (png, len(frame.png))))
        sums.append((zlib.crc32(frame.jpeg), zlib.crc32(frame.png)))
        frames.append(_without_pictures(frame))
        run.frames += 1
        run.report()
    if not frames:
        raise InputError(f"{name} has no frame")
    table = BytesIO()
    np.savez(
        table,
        world_from_cam=np.stack([frame.world_from_cam for frame in frames]),
        intrinsics=np.stack([frame.intrinsics for frame in frames]),
        timestamp_s=np.array([frame.timestamp_s for frame in frames]),
        depth_range=np.array([frame.depth_range for frame in frames]),
        place=np.array(places, dtype=np.int64),
        crc32=np.array(sums, dtype=np.uint32),
    )
    content = table.getvalue()
    place = _add(file, f"{number:05d}/sequence.npz", content)
    return PackedEntry(name, len(frames), place, len(content), zlib.crc32(content))


def _encoded(sequence: Sequence, threads: ThreadPoolExecutor, options: PackOptions) -> Iterator[_EncodedFrame]:
    """The frames in order; a few are resized and encoded at once, while the next ones are decoded."""
    if sequence.length is None:
        raise InputError(f"{sequence.name} has no end")
    ahead: deque[Future[_EncodedFrame]] = deque()
    labelled = frames_at(sequence, range(sequence.length))
    while True:
        taken = list(islice(labelled, 1))
        ahead.extend(threads.submit(_encode, frame, options) for frame in taken)
        if not ahead:
            return
        if not taken or len(ahead) > 2 * (options.threads or os.cpu_count() or 1):
            yield ahead.popleft().result()


def _encode(frame: Labelled, options: PackOptions) -> _EncodedFrame:
    from PIL import Image

    rgb, depth, lens = frame.rgb, frame.depth, frame.intrinsics
    source, size = rgb.shape[:2], _bounded(rgb.shape[0], rgb.shape[1], options.pixels)
    box = covering_box(source, size)
    picture, png = BytesIO(), BytesIO()
    if size != source:
        rgb = cut_rgb(rgb, box, size)
        lens = None if lens is None else cut_intrinsics(lens, box, size)
    Image.fromarray(rgb).save(picture, "JPEG", quality=options.quality, subsampling=0)
    low = high = np.nan
    if depth is not None:
        known = depth if frame.valid is None else np.where(frame.valid, depth, np.float32(0))
        if known.shape != size:
            known = cut_depth(known, box, source, size)
        codes, low, high = encode_depth(known)
        if np.isfinite(low):
            Image.fromarray(codes).save(png, "PNG", compress_level=_PNG_LEVEL)
    return _EncodedFrame(
        picture.getvalue(),
        png.getvalue(),
        (low, high),
        np.full((3, 3), np.nan) if lens is None else lens,
        np.full((4, 4), np.nan) if frame.world_from_cam is None else frame.world_from_cam,
        frame.timestamp_s,
    )


def _bounded(height: int, width: int, pixels: int) -> tuple[int, int]:
    """The size itself, or the largest one of its aspect within the bound."""
    if height * width <= pixels:
        return height, width
    scale = math.sqrt(pixels / (height * width))
    return max(1, math.floor(height * scale)), max(1, math.floor(width * scale))


def _without_pictures(frame: _EncodedFrame) -> _EncodedFrame:
    return _EncodedFrame(b"", b"", frame.depth_range, frame.intrinsics, frame.world_from_cam, frame.timestamp_s)


def _add(file: BinaryIO, name: str, content: bytes) -> int:
    """A member of a tar archive; where its content begins."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    file.write(info.tobuf(tarfile.USTAR_FORMAT))
    first = file.tell()
    file.write(content)
    file.write(bytes(-len(content) % _BLOCK))
    return first
