"""Worlds as data: pictures, depth and cameras that are exact, of any frame of an endless video, with no download.

Depth and cameras say where every pixel of one frame is in another. This takes a later frame's colours back to an
earlier view: what the two share looks the same, what only one of them saw is black. Also the place where our
conventions (OpenCV axes, `a_from_b`, pixel centres) can be seen at work.

python examples/07_labelled_worlds.py --family rooms --seed 4
"""

from pathlib import Path

import numpy as np
import torch
import tyro

from openloger.geometry import SE3, project, unproject
from openloger.worlds import Sample, World


def main(family: str = "rooms", seed: int = 4, later: int = 6, out: Path = Path("out/labelled.png")) -> None:
    """Draw a frame, a later frame's colours moved onto it, and their difference.

    Args:
        family: rooms, street, terrain or clutter.
        seed: Which world of the family.
        later: How many frames later the second frame is.
        out: The picture.
    """
    from PIL import Image

    scene = World(family, seed=seed, size=(160, 224), fps=10)  # scene[i] is frame i, for any i
    here, there = scene[0], scene[later]
    moved, seen = colours_from(there, here)
    difference = np.abs(moved.astype(int) - here.rgb.astype(int)) * seen[..., None]

    out.parent.mkdir(parents=True, exist_ok=True)
    row = np.concatenate([here.rgb, there.rgb, moved, difference.astype(np.uint8)], axis=1)
    Image.fromarray(row).save(out)
    print(f"{100 * seen.mean():.0f} % of frame 0 is seen in frame {later}; colours differ by")
    print(f"{np.median(difference[seen]):.0f} of 255 in the median; look at {out}")


def colours_from(there: Sample, here: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Colours of frame `there` at every pixel of frame `here`, and the pixels that show the same surface."""
    points_cam = unproject(torch.from_numpy(here.depth).double(), torch.from_numpy(here.intrinsics))
    world_from_here = SE3.from_matrix(torch.from_numpy(here.world_from_cam))
    world_from_there = SE3.from_matrix(torch.from_numpy(there.world_from_cam))
    points_there = (world_from_there.inverse() @ world_from_here).apply(points_cam)  # (height, width, 3)

    x, y = project(points_there, torch.from_numpy(there.intrinsics)).unbind(-1)
    height, width = there.depth.shape
    column, row = (x.floor().clamp(0, width - 1).long().numpy(), y.floor().clamp(0, height - 1).long().numpy())
    inside = ((x >= 0) & (x < width) & (y >= 0) & (y < height) & (points_there[..., 2] > 0)).numpy()
    same_depth = np.abs(points_there[..., 2].numpy() - there.depth[row, column]) < 0.05 * there.depth[row, column]
    seen = here.valid & inside & same_depth
    return np.where(seen[..., None], there.rgb[row, column], 0), seen


if __name__ == "__main__":
    tyro.cli(main)
