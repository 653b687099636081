"""Masks: what is under them has no influence on any number, and gives no points.

python examples/10_masks.py
python examples/10_masks.py --video drive.mp4 --mask bonnet.png
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

import openloger
from openloger.frames.mask_files import read_mask


def main(video: str = "world:street:3?frames=24", mask: Path | None = None, out: Path = Path("out/masks")) -> None:
    """Reconstruct a video with a mask, and once more with something else under it.

    Args:
        video: A video, a folder of pictures, or a procedural world.
        mask: A picture of the video's size, white where it is used; by default the lower quarter is hidden.
        out: Where the recordings go.
    """
    frames = list(openloger.open_frames(video))
    if mask is None:
        used = np.ones(frames[0].rgb.shape[:2], bool)
        used[3 * len(used) // 4 :] = False
    else:
        used = read_mask(mask)

    # A Frame takes its mask along; on the command line it is --mask-static PICTURE, or --mask FOLDER for one a frame.
    masked = [replace(frame, mask=used) for frame in frames]
    noise = np.random.default_rng(0)
    other = [
        replace(frame, rgb=np.where(used[..., None], frame.rgb, noise.integers(0, 256, frame.rgb.shape, np.uint8)))
        for frame in masked
    ]
    options = openloger.RunOptions(existing="overwrite")
    recording = openloger.reconstruct(masked, out / "recording", options=options)
    again = openloger.reconstruct(other, out / "other", options=options)

    first = recording.frame(
        0
    )  # a keyframe; of frames between keyframes some pixels more may be seen in neither of them
    print(f"{first.mask.mean():.0%} of a frame gives points: the depth of the rest is {first.depth[~first.mask].max()}")
    same = all(np.array_equal(recording.depth(number), again.depth(number)) for number in range(len(recording)))
    print(
        f"with noise under the mask: {'the same' if same else 'another'} depth and "
        f"{'the same' if np.array_equal(recording.world_from_cam, again.world_from_cam) else 'another'} path"
    )


if __name__ == "__main__":
    tyro.cli(main)
