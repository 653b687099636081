"""What a mask is worth: clips with a bonnet painted over them, with its mask and without, and as they are.

python benchmarks/masks.py [CLIP ...] [--frames 100] [--picture docs/images/masks.png]

CLIP is a folder with video.mp4 and world_from_cam.txt, and depth_mm.npz where depth is measured, too. The bonnet is a
patterned shape over the lower part of every frame, which stands still in the picture as a car's or a drone's own parts
do. Times are of the process's processors, so that other work on the machine does not count. The picture is of the clip
in examples/data, which may be shown.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import openloger
from openloger.evaluation import evaluate_recording
from openloger.export.selection import PointSelection, select_points
from openloger.frames.through import FramesThrough

WAYS = ("as it is", "bonnet", "bonnet, masked")
LAB = Path(__file__).parents[1] / "examples" / "data" / "lab.mp4"
HEIGHT = 0.35  # of the picture, in its middle


@dataclass(frozen=True)
class Measure:
    """One run against the truth."""

    path_m: float  # root of the mean squared distance, after a similarity
    rotation_deg: float  # over ten frames
    depth_abs_rel: float | None
    cpu_ms: float  # a frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="*", metavar="CLIP")
    parser.add_argument("--network", default="compact")
    parser.add_argument("--frames", type=int, help="of each clip, the first ones; by default all")
    parser.add_argument("--picture", type=Path, help="where it is drawn")
    arguments = parser.parse_args()
    network = openloger.load_network(arguments.network)
    print(
        "| clip | | path, m | rotation over ten frames | depth AbsRel | processor a frame |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for clip in arguments.clips:
            for way in WAYS:
                one = measured(clip, way, network, Path(folder), stop=arguments.frames)
                depth = "" if one.depth_abs_rel is None else f"{one.depth_abs_rel:.3f}"
                path = f"{one.path_m:.3f} | {one.rotation_deg:.2f}°"
                print(f"| {clip.name} | {way} | {path} | {depth} | {one.cpu_ms:.0f} ms |", flush=True)
        if arguments.picture is not None:
            masked = [run(LAB, way, network, Path(folder), stop=arguments.frames)[0] for way in WAYS[1:]]
            draw(masked, arguments.picture)


def bonnet(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Its picture, and the mask that is False where it covers the frame."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, 1 - (np.arange(height) + 0.5) / height)
    covered = y < HEIGHT * (1 - 0.5 * x**2)
    noise = np.random.default_rng(0).integers(30, 220, (9, 16, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height))), ~covered


def run(
    video: Path, way: str, network: openloger.Network, folder: Path, *, stop: int | None
) -> tuple[openloger.Recording, float]:
    """The recording, and milliseconds of the processors a frame."""
    source, name = openloger.open_frames(video, stop=stop), f"{video.parent.name}-{video.stem}"
    height, width = next(iter(source)).rgb.shape[:2]
    picture, mask = bonnet(height, width)
    mask_file = folder / f"{name}-mask.png"
    Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(mask_file)

    def painted(frames: Iterator[openloger.Frame]) -> Iterator[openloger.Frame]:
        for frame in frames:
            yield replace(frame, rgb=np.where(mask[..., None], frame.rgb, picture))

    began_s = time.process_time()
    recording = openloger.reconstruct(
        source if way == WAYS[0] else FramesThrough(source, painted),
        folder / f"{name}-{WAYS.index(way)}",
        network=network,
        options=openloger.RunOptions(mask_static=mask_file if way == WAYS[2] else None),
    )
    return recording, 1000 * (time.process_time() - began_s) / len(recording)


def measured(clip: Path, way: str, network: openloger.Network, folder: Path, *, stop: int | None) -> Measure:
    recording, cpu_ms = run(clip / "video.mp4", way, network, folder, stop=stop)
    numbers = evaluate_recording(recording, clip).numbers()
    return Measure(
        float(numbers["ate_rmse"] or 0.0),
        float(numbers["rpe_rotation_deg_rmse"] or 0.0),
        numbers.get("depth_abs_rel_sequence"),
        cpu_ms,
    )


def draw(recordings: list[openloger.Recording], out: Path) -> None:
    """A frame of each as the network gets it, its depth, and the points and the path from above."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 5.6), layout="constrained")
    for row, recording in zip(axes, recordings, strict=True):
        middle = recording.frame(len(recording) // 2)
        shown = middle.depth > 0
        row[0].imshow(middle.rgb)
        row[1].imshow(np.where(shown, 1 / np.where(shown, middle.depth, 1), np.nan), cmap="magma")
        chunks = list(select_points(recording, PointSelection(frame_stride=4, pixel_stride=2)))
        points = np.concatenate([chunk.points_world for chunk in chunks])
        rgb = np.concatenate([chunk.rgb for chunk in chunks]) / 255
        path = recording.world_from_cam[:, :3, 3]
        row[2].scatter(points[:, 0], points[:, 2], s=0.3, c=rgb, linewidths=0)
        row[2].plot(path[:, 0], path[:, 2], color="tab:red", linewidth=1.5)
        low, high = np.percentile(points[:, [0, 2]], [2, 98], axis=0)
        row[2].set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        for axis in row:
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(axes[0], ("a frame", "its depth", "points and path, from above"), strict=True):
        axis.set_title(title, fontsize=10)
    for axis, label in zip(axes[:, 0], ("without a mask", "with --mask-static"), strict=True):
        axis.set_ylabel(label, fontsize=10)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    Image.open(drawn).convert("RGB").quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main()
