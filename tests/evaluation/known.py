"""A recording with a known answer: a wall seen from a path, estimated exactly but for the world's frame and scale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from paths import cameras, moved
from placed_windows import placed_window

from openloger.recording import Recording, RecordingMeta, create_recording, open_recording
from openloger.values import Disagreement, Frame, PlacedWindow

HEIGHT, WIDTH, FRAMES = 24, 32, 30
WINDOW, OVERLAP = 12, 3
INTRINSICS = np.array([[28.0, 0, 16], [0, 28, 12], [0, 0, 1]])
SCALE = 0.25  # of the estimate's unit
TURN, SHIFT = np.array([0.3, -0.8, 0.5]), np.array([3.0, -2.0, 7.0])


def true_cameras(count: int = FRAMES) -> np.ndarray:
    at = np.linspace(0, 3, count)
    centres = np.stack([at, 0.4 * np.sin(2 * at), 0.1 * at**2], axis=1)
    return cameras(centres, np.stack([0.05 * np.sin(at), 0.1 * np.cos(at), np.zeros(count)], axis=1))


def true_depth(camera: np.ndarray, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Along z to the wall 0.2 x − 0.1 y + z = 8 of the world."""
    x = ((np.arange(width) + 0.5) / width * WIDTH - INTRINSICS[0, 2]) / INTRINSICS[0, 0]
    y = ((np.arange(height) + 0.5) / height * HEIGHT - INTRINSICS[1, 2]) / INTRINSICS[1, 1]
    rays = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1) @ camera[:3, :3].T
    normal = np.array([0.2, -0.1, 1.0])
    return ((8 - normal @ camera[:3, 3]) / (rays @ normal)).astype(np.float32)


def estimated_cameras(count: int = FRAMES) -> np.ndarray:
    return moved(true_cameras(count), SCALE, TURN, SHIFT)


def picture(index: int) -> Frame:
    rgb = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Frame(rgb, index, index / 10, f"{index:06d}")


def placed(
    count: int = FRAMES, *, depth_factor: float = 1.0, indices: list[int] | None = None
) -> Iterator[PlacedWindow]:
    """Windows as a stream would give them; `indices` are the frames' numbers in the video."""
    indices = list(range(count)) if indices is None else indices
    truth, estimated = true_cameras(count), estimated_cameras(count)
    x = (np.arange(WIDTH) + 0.5 - INTRINSICS[0, 2]) / INTRINSICS[0, 0]
    y = (np.arange(HEIGHT) + 0.5 - INTRINSICS[1, 2]) / INTRINSICS[1, 1]
    rays = np.stack([*np.meshgrid(x, y), np.ones((HEIGHT, WIDTH))], axis=-1)
    number, first = 0, 0
    while True:
        rows = list(range(first, min(first + WINDOW, len(indices))))
        last = rows[-1] == len(indices) - 1
        of = [indices[row] for row in rows]
        depth = np.stack([depth_factor * SCALE * true_depth(truth[index]) for index in of])
        yield placed_window(
            number=number,
            frames=tuple(picture(index) for index in of),
            world_from_cam=torch.from_numpy(estimated[of]),
            points_cam=torch.from_numpy((depth[..., None] * rays).astype(np.float32)),
            confidence=torch.rand(len(rows), HEIGHT, WIDTH, generator=torch.Generator().manual_seed(number)),
            disagreement=None if number == 0 else Disagreement(0.02, 0.1, 0.01),
            final_count=len(rows) - (0 if last else OVERLAP),
            last=last,
        )
        if last:
            return
        number, first = number + 1, first + WINDOW - OVERLAP


def recording(path: Path, **changes: object) -> Recording:
    meta = RecordingMeta(
        height=HEIGHT,
        width=WIDTH,
        source="wall.mp4",
        network="pocket",
        weights_hash=None,
        settings={"window": WINDOW, "overlap": OVERLAP},
        depth_dtype="float32",
    )
    writer = create_recording(path, meta)
    for window in placed(**changes):  # type: ignore[arg-type]
        writer.append(window)
    writer.finish()
    writer.close()
    return open_recording(path)


def write_cameras(path: Path, matrices: np.ndarray) -> Path:
    np.savetxt(path, matrices.reshape(len(matrices), 16), fmt="%.9f")
    return path


def write_truth(folder: Path, *, pictures: bool = False) -> Path:
    """A plain folder: cameras, intrinsics, and every third frame's depth at three times the size."""
    folder.mkdir(parents=True)
    truth = true_cameras()
    write_cameras(folder / "world_from_cam.txt", truth)
    np.savetxt(folder / "intrinsics.txt", np.diag([3.0, 3.0, 1.0]) @ INTRINSICS)
    (folder / "depth").mkdir()
    for number in range(0, FRAMES, 3):
        np.save(folder / "depth" / f"{number:06d}.npy", true_depth(truth[number], 3 * HEIGHT, 3 * WIDTH))
    if pictures:
        from PIL import Image

        (folder / "rgb").mkdir()
        for number in range(FRAMES):
            big = np.kron(picture(number).rgb, np.ones((3, 3, 1), dtype=np.uint8))
            Image.fromarray(big).save(folder / "rgb" / f"{number:06d}.png")
    return folder


def write_sparse_depth(path: Path) -> Path:
    """Entry (i, j) is pixel (4i + 2, 4j + 2) of a picture of 4·24 × 4·32 pixels, every tenth frame, millimetres."""
    truth, frames = true_cameras(), np.arange(0, FRAMES, 10)
    maps = [1000 * true_depth(truth[number], 4 * HEIGHT, 4 * WIDTH)[2::4, 2::4] for number in frames]
    np.savez(path, frame=frames, depth_mm=np.stack(maps).round().astype(np.uint16))
    return path
