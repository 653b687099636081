"""One recording against one truth: what `openloger evaluate recording` does."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openloger.datasets import Truth, is_timed, read_timed_truth, read_truth
from openloger.errors import InputError
from openloger.evaluation.gather import gather_recording
from openloger.evaluation.measure import Measured, MeasureSettings, json_ready, measure
from openloger.evaluation.provenance import file_hash
from openloger.recording import Recording
from openloger.version import versions

CAMERAS_FILE = "world_from_cam.txt"
DEPTH_PLACES = ("depth", "depth_mm.npz")


def evaluate_recording(
    recording: Recording,
    truth: str | os.PathLike[str] | Truth,
    *,
    depth: str | os.PathLike[str] | None = None,
    settings: MeasureSettings | None = None,
) -> Measured:
    """A recording measured against the truth of its video.

    `truth` is a file of cameras (16 or 12 numbers a frame of the source; or TUM's 8, matched by time), a plain folder
    that holds `world_from_cam.txt`, or any `Sequence`. `depth` is a folder of depth maps or an .npz like
    `depth_mm.npz`; in a folder it is found by itself. docs/datasets.md describes these files.

    Raises InputError where truth is missing or damaged, does not belong to this video, or matches fewer than three
    frames.
    """
    if isinstance(truth, str | os.PathLike):
        truth = _open_truth(Path(truth), None if depth is None else Path(depth), recording)
    elif depth is not None:
        raise InputError("depth beside a truth that is no file: give the depth in the sequence itself")
    settings = settings or MeasureSettings()
    gathered = gather_recording(recording, truth, settings.gather)
    if depth is not None and settings.gather.depth and not gathered.depth:
        raise InputError(f"{depth} has depth of none of the {gathered.frames} frames of {recording.path}")
    return measure(gathered, settings)


def made_with(recording: Recording, measured: Measured, **files: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Provenance of the numbers, for JSON. Each of `files` is hashed; of a folder, its file of cameras."""
    given = {name: Path(path) for name, path in files.items() if path is not None}
    hashed = {name: path / CAMERAS_FILE if path.is_dir() else path for name, path in given.items()}
    return json_ready(
        {
            "recording": str(recording.path),
            "complete": recording.complete,
            "source": recording.meta.source,
            "network": recording.meta.network,
            "weights_hash": recording.meta.weights_hash,
            "run_settings": dict(recording.meta.settings),
            "settings": asdict(measured.settings),
            "files": {name: str(path) for name, path in given.items()},
            "sha256": {name: file_hash(path) for name, path in hashed.items() if path.is_file()},
            "versions": versions(),
        }
    )


def summary(recording: Recording, measured: Measured, **files: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Everything for JSON: the numbers, flat, and how they were made."""
    return json_ready(measured.numbers()) | made_with(recording, measured, **files)


def _open_truth(path: Path, depth: Path | None, recording: Recording) -> Truth:
    if not path.exists():
        raise InputError(f"there is no ground truth {path}; give a file of cameras, or the folder that holds one")
    if path.is_dir():
        found = next((path / place for place in DEPTH_PLACES if (path / place).exists()), None)
        return read_truth(path / CAMERAS_FILE, depth=depth or found)
    if not is_timed(path):
        return read_truth(path, depth=depth)
    if depth is not None:
        raise InputError(f"{path} has times, and {depth} goes by frames; give cameras of 16 numbers a frame with it")
    return read_timed_truth(path, recording.timestamps_s, recording.source_index)
