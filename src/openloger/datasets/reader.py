"""Readers of datasets, and the sequences of a dataset in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from openloger.datasets.sequence import Sequence
from openloger.errors import InputError
from openloger.outputs import is_clutter


@dataclass(frozen=True)
class Reader:
    """Finds and reads the sequences of one dataset."""

    title: str
    layout: str  # one sequence of it, for messages
    find: Callable[[Path], list[str]]  # names of the sequences in a folder, in order
    read: Callable[[Path, str], Sequence]  # raises InputError where something is missing or damaged


@dataclass(frozen=True)
class DatasetFolder:
    """The sequences of a dataset by their names, like a mapping; each is opened when it is asked for."""

    dataset: str
    folder: Path
    reader: Reader
    names: tuple[str, ...]

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


def found_below(folder: Path, *patterns: str, up: int = 1) -> list[str]:
    """The folders, relative to `folder`, that lie `up` levels above the files that match; "." is `folder` itself. What
    archivers leave behind (`__MACOSX`) is no sequence."""
    found = {path.relative_to(folder) for pattern in patterns for path in folder.glob(pattern)}
    return sorted({path.parents[up - 1].as_posix() for path in found if not any(map(is_clutter, path.parts))})


def called(folder: Path, name: str) -> str:
    """The name of a sequence, or of the folder where the folder itself is the sequence."""
    return folder.resolve().name if name == "." else name
