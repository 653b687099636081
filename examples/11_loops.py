"""Loops: a path that comes back to a place, before and after it is closed.

python examples/11_loops.py                                  # reconstructs a street of 1,000 frames: some minutes
python examples/11_loops.py --video walk.mp4
python examples/11_loops.py --recording walk
"""

from pathlib import Path

import numpy as np
import tyro

import openloger
from openloger.corrections import apply, close_loops, undo
from openloger.errors import InputError


def main(
    video: str = "world:street:7027?frames=1000&size=96x128&fps=10",
    recording: Path | None = None,
    network: str | None = None,
    out: Path = Path("out/loops"),
) -> None:
    """Close the loops of a video, or of a recording.

    Args:
        video: A video that comes back to a place and sees it from the same side.
        recording: A recording of one, in place of the video.
        network: The network that verifies; by default the one that made the recording.
        out: Where the recording of the video goes.
    """
    if recording is None:
        options = openloger.RunOptions(existing="overwrite")
        opened = openloger.reconstruct(video, out / "recording", options=options)
    else:
        opened = openloger.open_recording(recording)

    # Places that look alike are seen by the network together; what geometry confirms, more than once, is closed. If
    # this is interrupted, the next call goes on from the pairs that were verified.
    try:
        found = close_loops(opened, network=network)
    except InputError as nothing:
        print(nothing)
        return
    print(found.text, *found.notes, sep="\n  ")

    # The correction lies beside the recording; all that reads it has it, and it can be taken away again.
    before = opened.world_from_cam[:, :3, 3].copy()
    apply(opened, found)
    moved = np.linalg.norm(opened.world_from_cam[:, :3, 3] - before, axis=1)
    print(f"{len(found.step.details['closures'])} closures move the cameras by up to {moved.max():.3g} {opened.unit}")
    undo(opened)
    is_as_before = np.array_equal(opened.world_from_cam[:, :3, 3], before)
    print(f"taken away, the path is {'as before' if is_as_before else 'another'}")


if __name__ == "__main__":
    tyro.cli(main)
