"""The committed length of a recording: `committed.json`, replaced as a whole once everything it counts is on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openloger.errors import RecordingError
from openloger.recording.files import write_json
from openloger.recording.layout import COMMITTED_FILE, NAMES_FILE, WINDOWS_FILE
from openloger.recording.lines import is_whole, sealed
from openloger.runtime.platform import read_bytes


@dataclass(frozen=True)
class Committed:
    """The part of a recording that may be read."""

    frames: int
    windows: int
    complete: bool  # the source was taken in to its end


NOTHING = Committed(frames=0, windows=0, complete=False)


def write_committed(folder: Path, committed: Committed) -> None:
    """Make it count, in one step.

    Raises:
        OSError: of the file system; the count before still holds.
    """
    write_json(folder / COMMITTED_FILE, sealed(asdict(committed)))


def read_committed(folder: Path) -> Committed:
    """The committed part now; nothing where no commit was made yet.

    Raises:
        RecordingError: the file cannot be read.
    """
    file = folder / COMMITTED_FILE
    try:
        value: Any = json.loads(read_bytes(file))
        counts, complete = (value["frames"], value["windows"]), value["complete"]
        if not (is_whole(value) and isinstance(complete, bool)):
            raise ValueError("its checksum does not match")
        if not all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**63 for count in counts):
            raise ValueError(f"frames and windows are {counts}")
        return Committed(*counts, complete=complete)
    except FileNotFoundError:
        return NOTHING
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RecordingError(
            f"{file}: cannot be read ({error}); put it back from a copy, or write {_likely(folder)} there"
        ) from error


def _likely(folder: Path) -> str:
    """The counts that a damaged file must have had, going by the lines beside it."""
    counts = []
    for name in (NAMES_FILE, WINDOWS_FILE):
        lines = read_bytes(folder / name).count(b"\n") if (folder / name).is_file() else 0
        counts.append(lines)
    return json.dumps(asdict(Committed(counts[0], counts[1], complete=False)))
