"""A video with ground truth: `Sequence`, and `FileSequence`, which every reader of this room makes.

A world of `openloger.worlds` is a `Sequence` too: one protocol, and nobody imports anybody for it. `Reader` finds and
reads the sequences of one dataset; `DatasetFolder` holds those of a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from openloger.errors import InputError
from openloger.outputs import is_clutter
from openloger.shapes import Bool, Float32, Float64, UInt8
from openloger.values import Frame, FrameSource


@runtime_checkable
class FrameTruth(Protocol):
    """Ground truth of one frame; None where it is not known."""

    @property
    def index(self) -> int: ...
    @property
    def world_from_cam(self) -> Float64[np.ndarray, "4 4"] | None:
        """OpenCV axes."""
        ...

    @property
    def intrinsics(self) -> Float64[np.ndarray, "3 3"] | None:
        """In pixels of the picture; pixel (row i, column j) has its centre at (j + 0.5, i + 0.5)."""
        ...

    @property
    def depth(self) -> Float32[np.ndarray, "rows columns"] | None:
        """Along z, in world units; 0 where there is none. It may be coarser than the picture: the same view."""
        ...

    @property
    def valid(self) -> Bool[np.ndarray, "rows columns"] | None:
        """Where `depth` is known."""
        ...


@runtime_checkable
class Labelled(FrameTruth, Protocol):
    """One frame and what is true of it."""

    @property
    def rgb(self) -> UInt8[np.ndarray, "height width 3"]: ...
    @property
    def timestamp_s(self) -> float: ...
    @property
    def name(self) -> str: ...


@runtime_checkable
class Truth(Protocol):
    """Ground truth of a video's frames, by their index; pictures are not read."""

    @property
    def name(self) -> str: ...
    @property
    def length(self) -> int | None:
        """The number of frames; None where there is no end."""
        ...

    def world_from_cam(self, index: int) -> Float64[np.ndarray, "4 4"] | None:
        """A frame's camera, without reading its picture."""
        ...

    def __getitem__(self, index: int) -> FrameTruth:
        """A frame by its index; raises IndexError where there is none."""
        ...


@runtime_checkable
class Sequence(Truth, Protocol):
    """A `FrameSource` with ground truth: `sequence[frame.index]` is what is true of a frame that it gave."""

    def __getitem__(self, index: int) -> Labelled: ...
    def frames(self, first: int = 0) -> Iterator[Frame | Labelled]: ...
    def __iter__(self) -> Iterator[Frame | Labelled]: ...


@dataclass(frozen=True)
class Label:
    """Ground truth of one frame; the depth is read when it is first used."""

    timestamp_s: float
    world_from_cam: Float64[np.ndarray, "4 4"] | None = None
    intrinsics: Float64[np.ndarray, "3 3"] | None = None
    read_depth: Callable[[], Float32[np.ndarray, "rows columns"]] | None = None


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A frame on disk. Picture and depth are read on first use, and kept as long as this value is."""

    index: int
    name: str
    label: Label
    read_rgb: Callable[[], UInt8[np.ndarray, "height width 3"]] | None  # None: there is no picture

    @property
    def timestamp_s(self) -> float:
        return self.label.timestamp_s

    @property
    def world_from_cam(self) -> Float64[np.ndarray, "4 4"] | None:
        return self.label.world_from_cam

    @property
    def intrinsics(self) -> Float64[np.ndarray, "3 3"] | None:
        return self.label.intrinsics

    @property
    def rgb(self) -> UInt8[np.ndarray, "height width 3"]:
        return self._rgb

    @property
    def depth(self) -> Float32[np.ndarray, "rows columns"] | None:
        return self._depth

    @property
    def valid(self) -> Bool[np.ndarray, "rows columns"] | None:
        return None if self.depth is None else np.isfinite(self.depth) & (self.depth > 0)

    @cached_property
    def _rgb(self) -> np.ndarray:
        if self.read_rgb is None:
            raise InputError(f"frame {self.index} has ground truth and no picture; give the folder that has both")
        return self.read_rgb()

    @cached_property
    def _depth(self) -> np.ndarray | None:
        return None if self.label.read_depth is None else self.label.read_depth()


@dataclass(frozen=True, eq=False)
class FileSequence:
    """A `Sequence` on disk. `source` gives frames 0, 1, 2, … ; without it there is truth and no picture."""

    name: str
    labels: tuple[Label, ...]
    source: FrameSource | None

    @property
    def length(self) -> int:
        return len(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def world_from_cam(self, index: int) -> Float64[np.ndarray, "4 4"] | None:
        return self._label(index).world_from_cam

    def __getitem__(self, index: int) -> LabelledFrame:
        """A frame by its index; pictures of a video are decoded from the start, so read those with `frames`."""
        read_rgb = None if self.source is None else lambda: self._picture(index)
        return LabelledFrame(index, f"{index:06d}", self._label(index), read_rgb)

    def labelled(self, frame: Frame) -> LabelledFrame:
        """A frame that `frames` gave, with its truth; its picture is not read again."""
        return LabelledFrame(frame.index, f"{frame.index:06d}", self._label(frame.index), lambda: frame.rgb)

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """The frames from index `first` on.

        Raises BadFrameError for one that cannot be decoded, InputError where there are no pictures.
        """
        for frame in self._pictures().frames(first):
            if frame.index >= len(self.labels):
                raise InputError(
                    f"{self.name}: there are labels for {len(self)} frames and pictures of more; check what is missing"
                )
            yield Frame(frame.rgb, frame.index, self.labels[frame.index].timestamp_s, frame.name)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def _label(self, index: int) -> Label:
        if not 0 <= index < len(self.labels):
            raise IndexError(f"{self.name} has no frame {index}; it has {len(self.labels)}")
        return self.labels[index]

    def _pictures(self) -> FrameSource:
        if self.source is None:
            raise InputError(f"{self.name} has ground truth and no pictures; give the folder that has both")
        return self.source

    def _picture(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        return next(iter(self._pictures().frames(index))).rgb


def frames_at(sequence: Sequence, indices: range) -> Iterator[Labelled]:
    """The frames of these numbers, which increase, with their truth.

    Pictures that lie by themselves are read alone; a video is decoded through from the first of them on. Raises
    BadFrameError and InputError as `Sequence.frames` does.
    """
    many = len(range(indices.start, indices.stop))
    if not isinstance(sequence, FileSequence):
        for frame in islice(sequence.frames(indices.start), 0, many, indices.step):
            yield sequence[frame.index]
    elif getattr(sequence.source, "random_access", False):
        yield from (sequence[index] for index in indices)
    else:
        yield from map(sequence.labelled, islice(sequence.frames(indices.start), 0, many, indices.step))


def picture_size(frame: FrameTruth) -> tuple[int, int]:
    """Height and width of the pixels that `intrinsics` refers to; where there is no picture, those of the depth.

    Raises InputError where there is neither.
    """
    pictured = frame.read_rgb is not None if isinstance(frame, LabelledFrame) else isinstance(frame, Labelled)
    if pictured and isinstance(frame, Labelled):
        return frame.rgb.shape[0], frame.rgb.shape[1]
    if frame.depth is None:
        raise InputError(f"frame {frame.index} has neither picture nor depth: its size is not known")
    return frame.depth.shape[0], frame.depth.shape[1]


@dataclass(frozen=True)
class DepthKind:
    """What the depth of a dataset is good for."""

    clean: bool = False  # dense and exact, so that its surfaces have normals; a sensor's is not
    holes_are_sky: bool = False  # what has no depth is sky; else nothing is known of it
    metric: bool = False  # in metres


@dataclass(frozen=True)
class Reader:
    """Finds and reads the sequences of one dataset."""

    title: str
    layout: str  # one sequence of it, for messages
    find: Callable[[Path], list[str]]  # names of the sequences in a folder, in order
    read: Callable[[Path, str], Sequence]  # raises InputError where something is missing or damaged
    depth: DepthKind = DepthKind()
    depth_in: Callable[[Path], DepthKind] | None = None  # of a folder, where it differs from one to the other


@dataclass(frozen=True)
class DatasetFolder:
    """The sequences of a dataset by their names, like a mapping; each is opened on demand."""

    dataset: str
    folder: Path
    reader: Reader
    names: tuple[str, ...]

    @property
    def depth(self) -> DepthKind:
        """What its depth is good for."""
        return self.reader.depth if self.reader.depth_in is None else self.reader.depth_in(self.folder)

    def __getitem__(self, name: str) -> Sequence:
        """Raises InputError where it is not there, or something of it is missing or damaged."""
        if name not in self.names:
            raise InputError(f"{self.folder} has no sequence {name!r}; it has {', '.join(self.names)}")
        return self.reader.read(self.folder, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def items(self) -> Iterator[tuple[str, Sequence]]:
        return ((name, self[name]) for name in self.names)

    def chosen(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> DatasetFolder:
        """Only the sequences that `is_chosen`. Raises InputError where none is left."""
        names = tuple(name for name in self.names if is_chosen(name, include, exclude))
        if not names:
            some = ", ".join(self.names[:5])
            raise InputError(
                f"{self.dataset} in {self.folder}: none of its {len(self)} sequences ({some}, …) matches "
                f"include={list(include)} and not exclude={list(exclude)}"
            )
        return replace(self, names=names)


def is_chosen(sequence: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    """Whether a name matches one of `include`, as a shell does (* takes / too), and none of `exclude`."""
    kept, left_out = (any(fnmatchcase(sequence, one) for one in which) for which in (include, exclude))
    return kept and not left_out


def found_below(folder: Path, *patterns: str, up: int = 1) -> list[str]:
    """The folders, relative to `folder`, that lie `up` levels above the files that match; "." is `folder` itself. What
    archivers leave behind (`__MACOSX`) is no sequence."""
    found = {path.relative_to(folder) for pattern in patterns for path in folder.glob(pattern)}
    return sorted({path.parents[up - 1].as_posix() for path in found if not any(map(is_clutter, path.parts))})


def called(folder: Path, name: str) -> str:
    """The name of a sequence, or of the folder where the folder itself is the sequence."""
    return folder.resolve().name if name == "." else name
