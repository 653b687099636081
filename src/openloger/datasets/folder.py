"""A plain folder: pictures or a video, cameras, and depth where there is any. What `openloger worlds render` writes.

video.mp4 (any video), or rgb/000000.png … (or images/, or the pictures in the folder itself)
world_from_cam.txt   16 numbers a frame (or the first 12), row-major, OpenCV axes
depth/000000.npy     world units along z, 0 for none; or .png of 16 bits, in thousandths, 0 and 65535 for none; not
                     every frame needs one
depth_mm.npz         instead of depth/: `frame` (n), `depth_mm` (n, rows, columns), and `pixel_step`, 4 by default:
                     entry (i, j) is pixel (step·i + step // 2, step·j + step // 2) of the picture
intrinsics.txt       fx fy cx cy, or 3 × 3; one for the whole video or one a frame; (0, 0) is the picture's corner
timestamps.txt       seconds, a frame a line; other units that are certain are converted

A row of world_from_cam.txt that is not finite (NaN), or all zero, is a frame without a camera.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from openloger.datasets.cameras import (
    camera_matrix,
    check_intrinsics,
    known_camera,
    matrices_from_xyz_quaternion,
    rigid_matrices,
)
from openloger.datasets.files import (
    ARRAY_DAMAGE,
    is_data,
    natural,
    picture_source,
    read_depth_npy,
    read_depth_png,
    read_member,
    same_count,
)
from openloger.datasets.sequence import FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import read_rows, require
from openloger.datasets.times import check_order, nearest_in_time
from openloger.errors import InputError, in_a_line
from openloger.frames import open_frames
from openloger.frames.files import MOST_PIXELS
from openloger.frames.times import in_seconds
from openloger.shapes import Float32, Float64, Int
from openloger.values import FrameSource

CAMERAS_FILE = "world_from_cam.txt"
DEPTH_FILE = "depth_mm.npz"
VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"}
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
PICTURE_FOLDERS = ("rgb", "images", ".")
PIXEL_STEP = 4
NOMINAL_FPS = 30.0
WITHIN_S = 0.02
NO_DEPTH_PNG = 65535
MOST_STEP = 1024
TUM_COLUMNS = 8


def find(folder: Path) -> list[str]:
    return found_below(folder, CAMERAS_FILE, f"*/{CAMERAS_FILE}", f"*/*/{CAMERAS_FILE}")


def read(folder: Path, name: str) -> FileSequence:
    """One folder with its pictures."""
    sequence = require(folder / name, "a folder with a video and its cameras")
    depth = next((sequence / place for place in ("depth", DEPTH_FILE) if (sequence / place).exists()), None)
    source, times_s = _pictures(sequence)
    truth = read_truth(sequence / CAMERAS_FILE, depth=depth, name=called(folder, name), times_s=times_s)
    return FileSequence(truth.name, truth.labels, source)


def read_truth(
    cameras: Path,
    *,
    depth: Path | None = None,
    name: str | None = None,
    times_s: Float64[np.ndarray, " frame"] | None = None,
) -> FileSequence:
    """Cameras alone, or with depth, as a sequence without pictures: what `evaluate recording` measures against.

    `cameras` is a file of 12 or 16 numbers a line; intrinsics.txt and timestamps.txt are read from beside it. `depth`
    is a file like `depth_mm.npz` or a folder of depth maps. Raises InputError where something is missing or damaged.
    """
    rows = read_rows(cameras, columns=(12, 16), what="cameras, 16 numbers a line")
    world_from_cam = rigid_matrices(rows, cameras)
    if (cameras.parent / "timestamps.txt").exists():
        path = cameras.parent / "timestamps.txt"
        times_s = in_seconds(read_rows(path, columns=1, what="seconds, a frame a line")[:, 0], path)
        check_order(times_s, path)
    times_s = np.arange(len(rows)) / NOMINAL_FPS if times_s is None else times_s
    same_count(str(cameras.parent), cameras=len(rows), times=len(times_s))
    intrinsics = _intrinsics(cameras.parent / "intrinsics.txt", len(rows))
    maps = {} if depth is None else _depth_maps(depth, len(rows))
    labels = (
        Label(float(times_s[number]), known_camera(world_from_cam[number]), intrinsics[number], maps.get(number))
        for number in range(len(rows))
    )
    return FileSequence(str(cameras) if name is None else name, tuple(labels), None)


def is_timed(cameras: Path) -> bool:
    """Whether a file of cameras has times (8 numbers a line) and not a matrix a line."""
    return read_rows(cameras, columns=(8, 12, 16), what="cameras").shape[1] == TUM_COLUMNS


def read_timed_truth(
    cameras: Path, times_s: Float64[np.ndarray, " frame"], index: Int[np.ndarray, " frame"]
) -> FileSequence:
    """Cameras with times (seconds tx ty tz qx qy qz qw, TUM's form) for the frames of these times and numbers.

    A frame takes the camera nearest in time, within 20 ms; the others have none, nor have those whose camera is NaN or
    has a zero quaternion. Other units of time are converted (`frames.times.in_seconds`). Raises InputError where no
    frame has a time of a camera: the two clocks are not the same then.
    """
    rows = read_rows(cameras, columns=8, what="seconds tx ty tz qx qy qz qw")
    rows[:, 0] = in_seconds(rows[:, 0], cameras)
    given = matrices_from_xyz_quaternion(rows[:, 1:])
    chosen = nearest_in_time(times_s, rows[:, 0], within_s=WITHIN_S)
    if len(times_s) and (chosen < 0).all():
        raise InputError(
            f"{cameras}: no camera within {WITHIN_S:g} s of a frame; its times are {rows[0, 0]:.3f} to "
            f"{rows[-1, 0]:.3f} s, the frames' {times_s[0]:.3f} to {times_s[-1]:.3f} s: these are two clocks"
        )
    labels = [Label(float("nan"))] * (int(index.max(initial=-1)) + 1)
    for number, time_s, row in zip(index, times_s, chosen, strict=True):
        labels[number] = Label(float(time_s), known_camera(given[row]) if row >= 0 else None)
    return FileSequence(str(cameras), tuple(labels), None)


@dataclass(eq=False)
class SparseDepth:
    """Depth in millimetres on every `step`-th pixel of some frames; the file is read once, on first use."""

    path: Path
    _depth_mm: np.ndarray | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def numbers(self) -> list[int]:
        """The frames that have depth; raises InputError where the file is not what it should be."""
        frame = self._load("frame")
        if frame.ndim != 1 or frame.dtype.kind not in "iu":
            raise InputError(f"{self.path}: `frame` must be whole numbers of frames, not {frame.dtype} {frame.shape}")
        return frame.tolist()

    def map(self, row: int) -> Float32[np.ndarray, "height width"]:
        """At the picture's size, 0 between the pixels that are known."""
        with self._lock:
            if self._depth_mm is None:
                self._depth_mm = self._load("depth_mm")
        depth_mm, step = self._depth_mm, self.step()
        if depth_mm.ndim != 3 or len(depth_mm) != len(self.numbers()) or depth_mm.dtype.kind not in "fiu":
            found = f"{depth_mm.dtype} {depth_mm.shape}"
            raise InputError(f"{self.path}: `depth_mm` is {found}; it must be (frames, rows, columns) of numbers")
        rows, columns = depth_mm.shape[1:]
        MOST_PIXELS.check(rows * columns * step**2, f"{self.path}: a frame")
        depth = np.zeros((rows * step, columns * step), dtype=np.float32)
        depth[step // 2 :: step, step // 2 :: step] = depth_mm[row] / np.float32(1000)
        return np.where(np.isfinite(depth), depth, np.float32(0))

    def step(self) -> int:
        step = self._load("pixel_step", default=PIXEL_STEP)
        if step.size != 1 or step.dtype.kind not in "iu" or not 1 <= int(step.reshape(())) <= MOST_STEP:
            raise InputError(f"{self.path}: `pixel_step` must be one whole number from 1 to {MOST_STEP}")
        return int(step.reshape(()))

    def _load(self, key: str, default: int | None = None) -> np.ndarray:
        try:
            with require(self.path, "depth").open("rb") as file, np.load(file, allow_pickle=False) as archive:
                if key not in archive and default is None:
                    raise InputError(f"{self.path} has no array {key!r}; it must have `frame` and `depth_mm`")
                return read_member(archive, key, self.path) if key in archive else np.asarray(default)
        except InputError:
            raise
        except ARRAY_DAMAGE as error:
            raise InputError(f"{self.path} is not an .npz of depth: {in_a_line(error)}") from error


def _depth_maps(path: Path, count: int) -> dict[int, partial[np.ndarray]]:
    """Readers of the depth of the frames that have one."""
    if path.is_dir():
        files = natural(one for one in path.iterdir() if one.suffix in {".npy", ".png"} and one.stem.isdecimal())
        maps = {
            int(one.stem): partial(read_depth_npy, one)
            if one.suffix == ".npy"
            else partial(read_depth_png, one, per_unit=1000.0, none=NO_DEPTH_PNG)
            for one in files
        }
    else:
        sparse = SparseDepth(require(path, "depth"))
        maps = {number: partial(sparse.map, row) for row, number in enumerate(sparse.numbers())}
    if not maps:
        raise InputError(f"{path} holds no depth; it must be an .npz, or a folder of 000000.npy or 000000.png")
    if max(maps) >= count or min(maps) < 0:
        raise InputError(f"{path} has depth of frame {max(maps)}, and there are cameras of frames 0 to {count - 1}")
    return maps


def _intrinsics(path: Path, count: int) -> list[np.ndarray | None]:
    if not path.exists():
        return [None] * count
    rows = read_rows(path, columns=(3, 4, 9), what="fx fy cx cy, or 3 × 3")
    if rows.shape[1] == 3 and len(rows) % 3:
        raise InputError(f"{path} has {len(rows)} lines of 3 numbers, which are no 3 × 3 matrices; check its end")
    if rows.shape[1] == 3:
        rows = rows.reshape(-1, 9)
    if rows.shape[1] == 9:
        rows = rows[:, [0, 4, 2, 5]]
    if len(rows) not in (1, count):
        raise InputError(f"{path} has {len(rows)} cameras; give one, or one for each of the {count} frames")
    matrices = [check_intrinsics(path, camera_matrix(*row)) for row in rows.tolist()]
    return list(matrices) if len(matrices) == count else [matrices[0]] * count


def _pictures(folder: Path) -> tuple[FrameSource, np.ndarray | None]:
    """The source, and its own times where it has any."""
    videos = natural(path for path in folder.iterdir() if path.suffix.lower() in VIDEOS and is_data(path))
    if len(videos) > 1:
        raise InputError(f"{folder} has {len(videos)} videos ({', '.join(path.name for path in videos)}); leave one")
    if videos:
        from openloger.frames.selection import Selection
        from openloger.frames.video import VideoFile

        by_the_clock = Selection(fps=1e9)  # a choice by time makes the outline read the times
        times_s = [place.timestamp_s for place in VideoFile(videos[0]).outline(by_the_clock)]
        return open_frames(videos[0]), np.array(times_s, dtype=np.float64)
    for place in PICTURE_FOLDERS:
        found = _pictures_in(folder / place)
        if found:
            return picture_source(found), None
    raise InputError(f"{folder} has no video, and no pictures in rgb/, images/ or itself")


def _pictures_in(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return natural(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and is_data(path))


FOLDER = Reader(
    title="a plain folder",
    layout="{video.mp4 or rgb/000000.png, world_from_cam.txt} and, where known, depth/ or depth_mm.npz, intrinsics.txt",
    find=find,
    read=read,
)
