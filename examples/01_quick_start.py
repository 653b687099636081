"""A video into a recording, and the recording into a point cloud.

python examples/01_quick_start.py --video walk.mp4
"""

from pathlib import Path

import numpy as np
import tyro

import openloger


def main(video: str = "world:street:3?frames=60", out: Path = Path("out/quick-start")) -> None:
    """Reconstruct a video and write a cloud that any viewer of point clouds opens.

    Args:
        video: A video, a folder of pictures, or a procedural world, which needs no download.
        out: Where the recording and the cloud go.
    """
    again = openloger.RunOptions(existing="overwrite")  # what an earlier run of this example left
    recording = openloger.reconstruct(video, out / "recording", options=again)

    centres = recording.world_from_cam[:, :3, 3]  # where the camera was, frame by frame
    length = np.linalg.norm(np.diff(centres, axis=0), axis=1).sum()
    print(f"{recording}: the camera went {length:.2f} units")

    first = recording.frame(0)
    print(f"{first.name}: depth {np.median(first.depth):.2f} in the median, points {first.points_world.shape}")

    selection = openloger.export.PointSelection(pixel_stride=2)  # every fourth pixel
    (cloud,) = openloger.export_recording(recording, "ply", out / "cloud.ply", selection=selection, overwrite=True)
    print(f"the cloud is in {cloud}")


if __name__ == "__main__":
    tyro.cli(main)
