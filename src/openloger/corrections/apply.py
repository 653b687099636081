"""Writing a correction beside a recording, and taking the last one away."""

from __future__ import annotations

from openloger.corrections.result import Alignment
from openloger.recording import CorrectionStep, Recording, add_correction, undo_correction


def apply(recording: Recording, alignment: Alignment) -> None:
    """Write it; `recording`, and every one that is opened later, is corrected from then on.

    Raises RecordingError where the disk refuses, a run is writing to the recording, or another command has corrected it
    since it was opened: an alignment fits the cameras that it was computed from.
    """
    before = () if recording.correction is None else recording.correction.steps
    add_correction(recording.path, alignment.step, behind=before)
    recording.refresh()


def undo(recording: Recording) -> CorrectionStep:
    """Take the last correction away, and give it.

    Raises RecordingError where there is none.
    """
    step = undo_correction(recording.path)
    recording.refresh()
    return step
