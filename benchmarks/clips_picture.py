"""The model card's picture: what the model in the box makes of real clips, a row each: the path over the true one, and
depth of three frames, over the true depth where there is one. The clips' own pictures are not shown.

python benchmarks/clips_picture.py kitchen=DIR street=DIR [--out docs/images/clips.png]

DIR holds video.mp4, world_from_cam.txt and, where there is one, depth_mm.npz.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import openloger
from openloger.evaluation import align


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, default=Path("docs/images/clips.png"))
    arguments = parser.parse_args()
    clips = [(name, Path(folder)) for name, _, folder in (clip.partition("=") for clip in arguments.clips)]
    for name, folder in clips:
        if not (folder / "video.mp4").is_file() or not (folder / "world_from_cam.txt").is_file():
            parser.error(f"{name}={folder}: give NAME=DIR of a folder with video.mp4 and world_from_cam.txt")
    figure, axes = plt.subplots(len(clips), 4, figsize=(12, 3.2 * len(clips)), squeeze=False)
    for row, (name, folder) in zip(axes, clips, strict=True):
        with tempfile.TemporaryDirectory() as out:
            draw(row, name, folder, openloger.reconstruct(folder / "video.mp4", Path(out) / "recording"))
    figure.tight_layout()
    figure.savefig(arguments.out, dpi=90)


def draw(row: np.ndarray, name: str, folder: Path, recording: openloger.Recording) -> None:
    """The path in the two directions in which the true one is longest; log depth, near is red."""
    truth = np.loadtxt(folder / "world_from_cam.txt").reshape(-1, 4, 4)
    ours = align(recording.world_from_cam, truth, how="sim3").world_from_cam[:, :3, 3]
    true_path = truth[:, :3, 3]
    across, along = true_path.var(axis=0).argsort()[1:]
    row[0].plot(true_path[:, along], true_path[:, across], color="black", label="true path")
    row[0].plot(ours[:, along], ours[:, across], color="tab:red", label="path, aligned by a similarity")
    row[0].set_aspect("equal", adjustable="datalim")
    row[0].set_title(f"{name}, metres", loc="left", fontsize=9)
    row[0].legend(fontsize=7)
    known = dict(np.load(folder / "depth_mm.npz")) if (folder / "depth_mm.npz").exists() else None
    shown = np.arange(len(recording)) if known is None else known["frame"]
    for axis, part in zip(row[1:], (0.15, 0.5, 0.85), strict=True):
        place = int(part * len(shown))
        pictures = [_log(recording.depth(int(shown[place])))]
        if known is not None:
            pictures.append(_log(_sized(known["depth_mm"][place], pictures[0].shape)))
        axis.imshow(np.concatenate([one - np.nanmedian(one) for one in pictures]), cmap="turbo_r", vmin=-1.2, vmax=1.2)
        axis.set_title(f"depth, frame {shown[place]}{'' if known is None else ', true below'}", fontsize=9)
        axis.set_axis_off()


def _log(depth: np.ndarray) -> np.ndarray:
    return np.log(np.where(depth > 0, depth, np.nan).astype(float))


def _sized(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The nearest pixels of an image at another size."""
    rows, columns = (
        ((np.arange(want) + 0.5) * have / want).astype(int) for want, have in zip(size, image.shape, strict=True)
    )
    return image[rows][:, columns]


if __name__ == "__main__":
    main()
