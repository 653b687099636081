"""The reconstruction on disk: a folder that is appended to, resumed, and read while it is written.

`layout` describes its contents. Frames count once `committed.json` counts them; a kill, a full disk or a lost network
share costs at most the window in hand.
"""

from openloger.recording.background import BackgroundWriter
from openloger.recording.correction import (
    Correction,
    CorrectionStep,
    add_correction,
    check_correctable,
    undo_correction,
)
from openloger.recording.create import create_recording, resume_recording
from openloger.recording.meta import RecordingMeta
from openloger.recording.reader import RecordedFrame, Recording, open_recording
from openloger.recording.unfinished import UnfinishedPass
from openloger.recording.windows import Cost, RecordedWindow
from openloger.recording.writer import RecordingWriter

__all__ = [
    "BackgroundWriter",
    "Correction",
    "CorrectionStep",
    "Cost",
    "RecordedFrame",
    "RecordedWindow",
    "Recording",
    "RecordingMeta",
    "RecordingWriter",
    "UnfinishedPass",
    "add_correction",
    "check_correctable",
    "create_recording",
    "open_recording",
    "resume_recording",
    "undo_correction",
]
