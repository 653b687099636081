"""Pictures of a ROS bag: ROS 1 (.bag), ROS 2 (a folder with metadata.yaml, or .db3) and MCAP, read where they lie."""

from __future__ import annotations

import io
import struct
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import InputError, in_a_line
from openloger.frames.files import check_regular
from openloger.frames.lazy import CutShortError, LazyFrame, UndecodableError
from openloger.frames.pixels import read_picture
from openloger.frames.selection import FrameStamp, Selection
from openloger.shapes import UInt8
from openloger.version import install_command

BAG_SUFFIXES = frozenset({".bag", ".db3", ".mcap"})
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_ENCODINGS: dict[str, tuple[int, tuple[int, int, int]]] = {  # bytes a pixel, and which are red, green and blue
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "8uc3": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8uc1": (1, (0, 0, 0)),
    "mono16": (2, (1, 1, 1)),  # the upper byte
}
_NANOSECONDS = 1e-9


def is_bag(path: Path) -> bool:
    """Whether a path is a bag, by its name, or by the file that makes a folder one."""
    return path.suffix.lower() in BAG_SUFFIXES or (path / "metadata.yaml").is_file()


@dataclass(frozen=True)
class BagPictures:
    """The pictures of one topic in the order of the bag, at the times when they were taken (their header's)."""

    path: Path
    topic: str
    count: int

    is_only: bool  # the bag has no other topic of pictures

    @property
    def name(self) -> str:
        return str(self.path) if self.is_only else f"{self.path}#{self.topic}"

    @property
    def files(self) -> tuple[Path, ...]:
        """The bag itself, or the files of its folder."""
        return _files(self.path)

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        with _opened(self.path) as reader:
            connections = [one for one in reader.connections if one.topic == self.topic]
            for index, (connection, time_ns, raw) in enumerate(_messages(reader, connections)):
                if index >= first:
                    yield _slot(index, _NANOSECONDS * time_ns, reader, raw, connection.msgtype)

    def outline(self, choice: Selection) -> Iterable[FrameStamp] | None:
        return None if choice.fps is not None else (FrameStamp(index) for index in range(self.count))


def bag_pictures(path: Path, topic: str | None = None) -> BagPictures:
    """Of the bag's only topic of pictures, or of the one named.

    Raises InputError where rosbags is not installed, the bag cannot be read, or it is not clear which topic.
    """
    with _opened(path) as reader:
        counts: dict[str, int] = {}
        for one in reader.connections:
            if one.msgtype in (_IMAGE, _COMPRESSED):
                counts[one.topic] = counts.get(one.topic, 0) + one.msgcount
    listed = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
    if not counts:
        raise InputError(f"{path} has no topic of pictures ({_IMAGE} or {_COMPRESSED})")
    if topic is None and len(counts) > 1:
        raise InputError(f"{path} has several topics of pictures: {listed}; name one (--topic, or {path}#TOPIC)")
    if topic is not None and topic not in counts:
        raise InputError(f"{path} has no pictures on topic {topic!r}; it has {listed}")
    chosen = topic or next(iter(counts))
    return BagPictures(path, chosen, counts[chosen], len(counts) == 1)


def _messages(reader: Any, connections: list[Any]) -> Generator[tuple[Any, int, bytes], None, None]:
    """(connection, time in ns, bytes); raises CutShortError where the bag is damaged."""
    found = 0
    try:
        for message in reader.messages(connections=connections):
            yield message
            found += 1
    except _damage() as error:
        raise CutShortError(f"the bag is damaged ({in_a_line(error)})", index=found) from error


def _slot(index: int, received_s: float, reader: Any, raw: bytes, kind: str) -> LazyFrame:
    """A message's picture; one that is damaged has the time at which it was received, and no picture."""
    name = f"frame_{index:06d}"
    try:
        message = reader.deserialize(raw, kind)
        stamp_s = message.header.stamp.sec + _NANOSECONDS * message.header.stamp.nanosec
    except _damage() as error:
        return LazyFrame(index, received_s, name, partial(_damaged, in_a_line(error)))
    return LazyFrame(index, stamp_s or received_s, name, partial(_rgb, message, kind))  # never stamped: 0


def _damaged(reason: str) -> UInt8[np.ndarray, "height width 3"]:
    raise UndecodableError(f"the message is damaged ({reason})")


@cache
def _damage() -> tuple[type[Exception], ...]:
    """What rosbags, which checks little, and the libraries below it raise for bytes that are wrong."""
    import apsw
    from rosbags.highlevel import AnyReaderError
    from rosbags.rosbag1 import ReaderError as BagError
    from rosbags.rosbag2 import ReaderError as FolderError
    from rosbags.rosbag2.reader import zstd
    from rosbags.serde import SerdeError
    from rosbags.typesys import TypesysError

    own = (AnyReaderError, BagError, FolderError, SerdeError, TypesysError, zstd.ZstdError, apsw.Error)
    python = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError)
    return (*own, *python, RuntimeError, TypeError, ValueError, struct.error)


def _files(path: Path) -> tuple[Path, ...]:
    return tuple(sorted(path.iterdir())) if path.is_dir() else (path,)


@contextmanager
def _opened(path: Path) -> Generator[Any, None, None]:
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise InputError(f"ROS bags need the package rosbags: {install_command('ros')}") from error
    for file in _files(path):
        check_regular(file)
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.LATEST))
        reader.open()
    except _damage() as error:
        raise InputError(f"{path} cannot be read as a ROS bag: {in_a_line(error)}") from error
    try:
        yield reader
    finally:
        reader.close()


def _rgb(message: Any, kind: str) -> UInt8[np.ndarray, "height width 3"]:
    """Raises UndecodableError for a picture that is damaged, or of an encoding that is no picture in colour or grey."""
    if kind == _COMPRESSED:
        return read_picture(io.BytesIO(bytes(message.data)), name=str(message.format))
    encoding = str(message.encoding).lower()
    if encoding not in _ENCODINGS:
        raise UndecodableError(f"encoding {message.encoding!r} is none of {', '.join(_ENCODINGS)}")
    stored, channels = _ENCODINGS[encoding]
    height, width, step = message.height, message.width, message.step
    data = np.asarray(message.data, np.uint8)
    if len(data) < height * step or step < stored * width:
        raise UndecodableError(f"it has {len(data)} bytes, too few for {width}×{height} pixels of {stored}")
    samples = data[: height * step].reshape(height, step)[:, : stored * width].reshape(height, width, stored)
    if encoding == "mono16" and message.is_bigendian:
        channels = (0, 0, 0)
    return np.ascontiguousarray(samples[..., list(channels)])
