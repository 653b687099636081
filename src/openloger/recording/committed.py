"""The committed length of a recording: `committed.json`, replaced as a whole once everything it counts is on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from openloger.errors import RecordingError
from openloger.recording.files import write_json
from openloger.recording.layout import COMMITTED_FILE


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
        OSError: what the file system said; what counted before still does.
    """
    write_json(folder / COMMITTED_FILE, asdict(committed))


def read_committed(folder: Path) -> Committed:
    """The committed part now; nothing where no commit was made yet.

    Raises:
        RecordingError: the file cannot be read.
    """
    file = folder / COMMITTED_FILE
    try:
        value = json.loads(file.read_bytes())
        return Committed(int(value["frames"]), int(value["windows"]), bool(value["complete"]))
    except FileNotFoundError:
        return NOTHING
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordingError(f"{file}: cannot be read ({error!r}); the recording is damaged") from error
