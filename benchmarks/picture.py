"""The README's picture: what the model in the box makes of a video: frames, depth and the cloud.

python benchmarks/picture.py [VIDEO] [--recording FOLDER] [--out docs/images/result.png]
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
from openloger.viewing.report.turntable import turntable
from openloger.viewing.scene.snapshot import load_snapshot

POINTS = 400_000
CLOUD = (720, 1080)  # height, width in pixels
FRAMES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", default=Path("examples/data/lab.mp4"))
    parser.add_argument("--recording", type=Path, help="of the video, where it has been reconstructed already")
    parser.add_argument("--out", type=Path, default=Path("docs/images/result.png"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.recording is None:
            recording = openloger.reconstruct(arguments.video, Path(folder) / "recording")
        else:
            recording = openloger.Recording(arguments.recording)
        draw(recording, arguments.out)


def draw(recording: openloger.Recording, out: Path) -> None:
    """Frames over their depth (near is red), and the cloud with the camera's path from behind and above."""
    figure, axes = plt.subplot_mosaic("adm;bem;cfm", figsize=(12, 4.6), width_ratios=(1, 1, 3.2))
    for row, share in enumerate(np.linspace(0.1, 0.9, FRAMES)):
        index = int(share * (len(recording) - 1))
        axes["abc"[row]].imshow(recording.rgb(index))
        axes["def"[row]].imshow(np.log(recording.depth(index)), cmap="turbo_r")
    (cloud,) = turntable(load_snapshot(recording, budget=POINTS), turns=1, size=CLOUD)
    axes["m"].imshow(cloud)
    for axis in axes.values():
        axis.set_axis_off()
    for name, title in (("a", "video"), ("d", "depth"), ("m", "cloud and camera path")):
        axes[name].set_title(title, loc="left", fontsize=9)
    figure.tight_layout(pad=0.5)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
