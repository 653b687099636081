"""Options that several commands share, the name of a recording that was given none, and a file of true cameras."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openloger.datasets import Truth, is_timed, read_timed_truth, read_truth
from openloger.errors import InputError
from openloger.frames.lenses import read_camera
from openloger.frames.masks import Masks
from openloger.geometry.camera_models import CameraModel
from openloger.pipeline.options import RunOptions
from openloger.recording import Recording
from openloger.recording.meta import is_recording
from openloger.shapes import Float64


@dataclass(frozen=True)
class WindowArguments:
    """Windows and their placement; by default as the network was made for."""

    window: int | None = None
    """Frames in a window."""
    overlap: int | None = None
    """Frames that neighbouring windows share."""
    placement: str = "auto"
    """none, se3, sim3, sim3:MODE (median_all, trimmed_mean, trimmed_mean_all), or auto."""
    reset_every: int | None = None
    """Reset the fast weights every N windows; 0 for never. By default only in long videos, where configured."""
    keyframes: Literal["all", "auto"] | None = None
    """Frames that windows are made of: all, or auto for those that moved; every frame is reconstructed either way. By
    default auto for compact, all for the other networks."""

    def windowing(self) -> dict[str, Any]:
        """As `pipeline.reconstruct` takes them."""
        return {name: getattr(self, name) for name in WindowArguments.__dataclass_fields__}


@dataclass(frozen=True)
class StorageArguments:
    """Storage of cameras and depth."""

    lens: Literal["varying", "fixed"] = "varying"
    """fixed: one focal length and principal point for the whole video."""
    camera: str | None = None
    """The lens, where it is known: pinhole:fx,fy,cx,cy or opencv:fx,fy,cx,cy,k1,k2,p1,p2[,k3] or
    opencv_fisheye:fx,fy,cx,cy,k1,k2,k3,k4 in pixels of the source, COLMAP's cameras.txt, or a YAML file of OpenCV,
    ROS or Kalibr; equirect:yaw,pitch[,fov] takes that view of 360° video, equirect:rig[,views[,fov]] views all around
    as one rig. Frames are undistorted by it."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy: the same as --camera pinhole:fx,fy,cx,cy."""
    mask: tuple[str, ...] = ()
    """What takes no part and gives no points: a folder or video of masks, one a frame, white where it is used; sky or
    moving (what moves by itself), where the network predicts them."""
    mask_static: Path | None = None
    """A picture that masks every frame: a bonnet, a watermark, a drone's legs."""
    depth_dtype: Literal["float16", "float32"] = "float16"
    """The precision in which depth is stored."""

    def options(self, *, resume: bool, overwrite: bool) -> RunOptions:
        """The options of a run; raises InputError where it is both to go on and to start over."""
        if resume and overwrite:
            raise InputError("--resume and --overwrite cannot both be given: go on, or start over")
        if self.camera is not None and self.intrinsics is not None:
            raise InputError("--camera and --intrinsics cannot both be given: the second is a form of the first")
        camera = None if self.intrinsics is None else CameraModel("pinhole", self.intrinsics)
        Masks.parse(self.mask, self.mask_static)
        return RunOptions(
            existing="resume" if resume else "overwrite" if overwrite else "refuse",
            lens=self.lens,
            camera=read_camera(self.camera) if self.camera is not None else camera,
            mask=self.mask,
            mask_static=self.mask_static,
            depth_dtype=self.depth_dtype,
        )


@dataclass(frozen=True)
class MemoryArguments:
    """The memory that a run may take."""

    max_memory: float | None = None
    """GB (10⁹ bytes) of the card's memory, or on a CPU of the process's, in a batch of each worker's: windows are
    planned so that it suffices."""

    @property
    def max_memory_gb(self) -> float | None:
        """Raises InputError for what is no amount of memory."""
        if self.max_memory is not None and not 0 < self.max_memory < math.inf:
            raise InputError(f"--max-memory {self.max_memory:g}: give a positive number of GB")
        return self.max_memory


def default_out(source: str) -> Path:
    """The recording's folder where none is given: in the working directory, named as the source.

    `clips/walk.mp4` gives `walk`; where that is something else than a recording, `walk-recording`. Raises InputError
    for standard input, which has no name.
    """
    if source == "-":
        raise InputError("standard input has no name; give the recording's folder with -o FOLDER")
    path = Path(source)
    if any(letter in path.name for letter in "*?[") and not path.exists():
        path = path.parent  # a glob
    named = path if path.name not in ("", "..") else path.resolve()
    stem = named.name if path.is_dir() else named.stem
    if source.startswith("world:"):
        stem = "-".join(re.findall(r"\w+", source.partition("?")[0]))
    folder = Path(stem or "recording")
    return folder if is_recording(folder) or not folder.exists() else Path(f"{stem}-recording")


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
