"""A file of true cameras, as `view` and `report` take it: those of `evaluate recording`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from openloger.datasets import Truth, is_timed, read_timed_truth, read_truth
from openloger.errors import InputError
from openloger.recording import Recording
from openloger.shapes import Float64

CAMERAS_FILE = "world_from_cam.txt"


def true_cameras(path: Path) -> Callable[[Recording], Float64[np.ndarray, "frame 4 4"]]:
    """Gives the true camera of each frame of a recording by its number in the source, or its time; NaN: none.

    Raises InputError, as does what it gives, where the file is missing, damaged, or of another video.
    """
    file = path / CAMERAS_FILE if path.is_dir() else path
    if not file.exists():
        raise InputError(f"there is no ground truth {file}; give a file of cameras, or the folder that holds one")
    is_by_time = is_timed(file)
    by_frame = None if is_by_time else read_truth(file)

    def of(recording: Recording) -> Float64[np.ndarray, "frame 4 4"]:
        numbers = recording.source_index
        truth = by_frame or read_timed_truth(file, recording.timestamps_s, numbers)
        return np.array([_camera(truth, number) for number in numbers.tolist()]).reshape(-1, 4, 4)

    return of


def _camera(truth: Truth, number: int) -> np.ndarray:
    if truth.length is not None and number >= truth.length:
        return np.full((4, 4), np.nan)
    matrix = truth.world_from_cam(number)
    return np.full((4, 4), np.nan) if matrix is None else matrix
