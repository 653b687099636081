"""The README's picture: what the model in the box makes of a rendered world, beside the truth.

python benchmarks/picture.py [--family rooms] [--seed 7] [--frames 60] [--fps 3] [--out docs/images/result.png]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

import openloger
from openloger.geometry import Sim3, umeyama


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="rooms")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--fps", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=Path("docs/images/result.png"))
    arguments = parser.parse_args()
    world = openloger.worlds.World(
        arguments.family, seed=arguments.seed, size=(128, 160), fps=arguments.fps, frames=arguments.frames
    )
    with tempfile.TemporaryDirectory() as folder:
        recording = openloger.reconstruct(world, Path(folder) / "recording")
        draw(world, recording, arguments.out)


def draw(world: openloger.worlds.World, recording: openloger.Recording, out: Path) -> None:
    """Three frames with their depth, predicted and true, and the path and the cloud from above."""
    count = len(recording)
    truth = np.stack([world.world_from_cam(i)[:3, 3] for i in range(count)])
    ours = recording.world_from_cam[:, :3, 3]
    aligned = umeyama(torch.from_numpy(ours), torch.from_numpy(truth))
    figure, axes = plt.subplot_mosaic("abcm;defm;ghim", figsize=(12, 5.4), width_ratios=(1, 1, 1, 2.2))
    for column, index in enumerate((count // 6, count // 2, count - count // 6)):
        sample, depth = world[index], recording.depth(index)
        low, high = np.log(np.percentile(sample.depth[sample.valid], [2, 98]))
        scale = np.median(sample.depth[sample.valid]) / np.median(depth)
        pictures = (sample.rgb, np.log(depth * scale), np.log(np.where(sample.valid, sample.depth, np.nan)))
        for axis, picture in zip("adg", pictures, strict=True):
            cell = axes[chr(ord(axis) + column)]
            cell.imshow(picture, cmap="turbo_r", vmin=low, vmax=high)
            cell.set_axis_off()
    for axis, title in (("a", "frames"), ("d", "depth, predicted"), ("g", "depth, true")):
        axes[axis].set_title(title, loc="left", fontsize=9)
    _from_above(axes["m"], recording, aligned, truth)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def _from_above(axis: plt.Axes, recording: openloger.Recording, aligned: Sim3, truth: np.ndarray) -> None:
    for index in range(0, len(recording), 2):
        points = aligned.apply(torch.from_numpy(recording.points_world(index)[::3, ::3].reshape(-1, 3)).double())
        axis.scatter(points[:, 0], points[:, 2], s=0.4, c=recording.rgb(index)[::3, ::3].reshape(-1, 3) / 255)
    ours = aligned.apply(torch.from_numpy(recording.world_from_cam[:, :3, 3])).numpy()
    axis.plot(truth[:, 0], truth[:, 2], color="black", lw=1.5, label="true path")
    axis.plot(ours[:, 0], ours[:, 2], color="tab:red", lw=1.5, label="path, aligned by a similarity")
    margin = 6.0
    axis.set_xlim(truth[:, 0].min() - margin, truth[:, 0].max() + margin)
    axis.set_ylim(truth[:, 2].min() - margin, truth[:, 2].max() + margin)
    axis.set_aspect("equal")
    axis.set_title("cloud and camera path from above, metres", loc="left", fontsize=9)
    axis.legend(fontsize=8, loc="upper right")


if __name__ == "__main__":
    main()
