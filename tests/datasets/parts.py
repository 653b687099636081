"""Parts of the datasets' folders for the tests: what they film, how it is written, and how it is compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from openloger.datasets import open_dataset

HEIGHT, WIDTH, FRAMES = 6, 8, 5
CAMERA = (7.0, 6.5, 3.25, 2.75)  # fx fy cx cy with the centre of the first pixel at (0, 0)


@dataclass(frozen=True)
class Made:
    """A folder, and what a reader must find in it."""

    folder: Path
    name: str
    world_from_cam: np.ndarray  # (frame, 4, 4)
    intrinsics: np.ndarray  # corner of the first pixel at (0, 0)
    depth: np.ndarray  # (frame, height, width), 0 for none
    rgb: np.ndarray  # (frame, height, width, 3)
    timestamps_s: np.ndarray


def rotation(axis_angle: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(axis_angle)
    x, y, z = axis_angle / angle
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K


def xyzw(R: np.ndarray) -> np.ndarray:
    w = np.sqrt(1 + np.trace(R)) / 2
    return np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 4 * w * w]) / (4 * w)


def cameras(count: int = FRAMES) -> np.ndarray:
    draw = np.random.default_rng(3)
    out = np.tile(np.eye(4), (count, 1, 1))
    for number in range(count):
        out[number, :3, :3] = rotation(draw.normal(size=3) * 0.2)
        out[number, :3, 3] = (0.3 * number, 0.1 * number**2, -0.05 * number)
    return out


def corner_camera(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    return np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]])


def pictures(height: int = HEIGHT, width: int = WIDTH, count: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def depths(height: int = HEIGHT, width: int = WIDTH, count: int = FRAMES) -> np.ndarray:
    """Whole centimetres, so that integer formats hold them; a corner without depth."""
    depth = np.random.default_rng(5).integers(200, 400, (count, height, width)) / 100
    depth[:, 0, :2] = 0
    return depth.astype(np.float32)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **({"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}))


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.12g}" for value in np.ravel(values))


def flat_pictures(count: int = FRAMES) -> np.ndarray:
    """One colour each, for JPEG's sake."""
    return np.repeat(np.repeat(pictures(1, 1, count), HEIGHT, axis=1), WIDTH, axis=2)


def hdf5(path: Path, key: str, array: np.ndarray) -> None:
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[key] = array


def exr(path: Path, array: np.ndarray) -> None:
    """As OpenCV writes a picture of one channel."""
    import OpenEXR

    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Y": np.ascontiguousarray(array, dtype=np.float32)}).write(str(path))


def read_all(dataset: str, truth: Made) -> list[tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None, bytes]]:
    sequence = open_dataset(dataset, truth.folder)[truth.name]
    pictures = [frame.rgb.tobytes() for frame in sequence]
    frames = [sequence[number] for number in range(len(pictures))]
    return [(f.world_from_cam, f.intrinsics, f.depth, rgb) for f, rgb in zip(frames, pictures, strict=True)]


def assert_same(a: list, b: list) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)
