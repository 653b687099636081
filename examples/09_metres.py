"""Metres: a recording measured by the height of its cameras, or by depth that is known of a few frames.

python examples/09_metres.py
python examples/09_metres.py --video walk.mp4 --camera-height 1.6
"""

from pathlib import Path

import numpy as np
import tyro

import openloger
from openloger.corrections import align_by_camera_height, align_by_depth, apply, undo


def main(
    video: str = "world:street:3?frames=32", camera_height: float | None = None, out: Path = Path("out/metres")
) -> None:
    """Reconstruct a video, and give it metres.

    Args:
        video: A video, a folder of pictures, or a procedural world.
        camera_height: Metres above the ground; by default a world's true depth is taken.
        out: Where the recording goes.
    """
    options = openloger.RunOptions(existing="overwrite")
    recording = openloger.reconstruct(video, out / "recording", options=options)
    print(f"as recorded: {length(recording):.3g} {recording.unit}")

    if camera_height is not None:
        found = align_by_camera_height(recording, camera_height)
    else:
        # Depth of every fourth frame, here the truth: maps named by the frame's number, 0 where nothing is known.
        world = openloger.worlds.World("street", seed=3, frames=len(recording))
        (out / "depth").mkdir(exist_ok=True)
        for number in range(0, len(recording), 4):
            np.save(out / "depth" / f"{number:06d}.npy", world[number].depth)
        found = align_by_depth(recording, out / "depth")
    print(found.text, *found.notes, sep="\n  ")

    # The correction lies beside the recording; all that reads it has it, and it can be taken away again.
    apply(recording, found)
    print(f"corrected: {length(recording):.3g} {recording.unit}, depth up to {recording.depth(0).max():.3g} m")
    undo(recording)
    print(f"taken away: {length(recording):.3g} {recording.unit}")


def length(recording: openloger.Recording) -> float:
    """Of the camera's path."""
    return float(np.linalg.norm(np.diff(recording.world_from_cam[:, :3, 3], axis=0), axis=1).sum())


if __name__ == "__main__":
    tyro.cli(main)
