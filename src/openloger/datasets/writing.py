"""Writing a plain folder, the one that `folder.py` reads: pictures or a video, cameras, depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from openloger.errors import InputError
from openloger.shapes import Float32, Float64, UInt8

QUALITY = "16"  # x264's constant rate factor: visually lossless


@runtime_checkable
class WritableFrame(Protocol):
    """A picture with its camera and depth, such as a world's sample."""

    @property
    def rgb(self) -> UInt8[np.ndarray, "height width 3"]: ...
    @property
    def depth(self) -> Float32[np.ndarray, "height width"]: ...
    @property
    def world_from_cam(self) -> Float64[np.ndarray, "4 4"]: ...
    @property
    def intrinsics(self) -> Float64[np.ndarray, "3 3"]: ...
    @property
    def timestamp_s(self) -> float: ...


class VideoWriter:
    """An H.264 file, frame by frame. A context manager; leaving it closes the file."""

    def __init__(self, path: Path, *, fps: float) -> None:
        import av

        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        self._stream.options = {"crf": QUALITY}
        self._stream.pix_fmt = "yuv420p"

    def write(self, rgb: UInt8[np.ndarray, "height width 3"]) -> None:
        """Add a picture; a last odd row or column is left out, which the format cannot hold."""
        import av

        height, width = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
        if not self._stream.codec_context.is_open:
            self._stream.height, self._stream.width = height, width
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb[:height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._container.mux(self._stream.encode())
        self._container.close()


def write_folder(
    frames: Iterable[WritableFrame],
    folder: Path,
    *,
    fps: float,
    pictures: Literal["mp4", "png"] = "mp4",
    depth: bool = True,
    on_frame: Callable[[int], None] = lambda count: None,
) -> int:
    """Write labelled frames into `folder` as they come, and return their number.

    `depth/000000.npy` is float16 in the frames' unit, 0 for none. `on_frame` gets the count after every frame.
    Raises InputError where the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; choose another folder, or empty it")
    (folder / "depth").mkdir(parents=True) if depth else folder.mkdir(parents=True, exist_ok=True)
    put = _picture_writer(folder, pictures, fps)
    count = 0
    with put, (folder / "world_from_cam.txt").open("w") as cameras, (folder / "timestamps.txt").open("w") as times:
        for frame in frames:
            if count == 0:
                np.savetxt(folder / "intrinsics.txt", frame.intrinsics, fmt="%.9g")
            put.write(frame.rgb)
            cameras.write(" ".join(f"{value:.17g}" for value in frame.world_from_cam.flat) + "\n")
            times.write(f"{frame.timestamp_s:.9f}\n")
            if depth:
                np.save(folder / "depth" / f"{count:06d}.npy", frame.depth.astype(np.float16))
            count += 1
            on_frame(count)
    return count


class _PngWriter:
    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        folder.mkdir()

    def write(self, rgb: np.ndarray) -> None:
        from PIL import Image

        Image.fromarray(rgb).save(self._folder / f"{self._count:06d}.png")
        self._count += 1

    def __enter__(self) -> _PngWriter:
        return self

    def __exit__(self, *error: object) -> None: ...


def _picture_writer(folder: Path, pictures: str, fps: float) -> VideoWriter | _PngWriter:
    return VideoWriter(folder / "video.mp4", fps=fps) if pictures == "mp4" else _PngWriter(folder / "rgb")
