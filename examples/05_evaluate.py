"""Evaluate a reconstruction against ground truth, beside trivial baselines.

A procedural world gives its truth for free. A folder of your own needs `world_from_cam.txt`; docs/datasets.md says how
it looks, and how ten public benchmarks are read.

python examples/05_evaluate.py --data my-labelled-video
"""

from pathlib import Path

import tyro

import openloger
from openloger.datasets import Sequence, open_dataset
from openloger.evaluation import evaluate_recording


def main(data: Path | None = None, out: Path = Path("out/evaluate"), frames: int = 60) -> None:
    """Reconstruct labelled video and measure it.

    Args:
        data: A folder with a video and its true cameras; without it, a procedural street.
        out: Where the recording goes.
        frames: How long the street is.
    """
    for name, sequence in labelled_video(data, frames).items():
        again = openloger.RunOptions(existing="overwrite")
        recording = openloger.reconstruct(sequence, out / name, options=again)
        measured = evaluate_recording(recording, sequence)
        number = measured.numbers()

        print(f"{name}: {number['matched']} of {number['frames']} frames have truth")
        print(f"  path: {number['ate_rmse']:.3f} off (RMSE) over {number['path_length']:.1f}")
        print(f"    a straight line at constant speed: {number['ate_rmse_of_straight_line']:.3f}")
        if measured.depth:
            print(f"  depth: {100 * measured.depth['sequence'].abs_rel:.0f} % off, after one scale for the video")
            print(f"    the same depth everywhere: {100 * (measured.guess.depth_abs_rel or 0):.0f} %")


def labelled_video(data: Path | None, frames: int) -> dict[str, Sequence]:
    """Videos with their truth, by name."""
    if data is not None:
        return dict(open_dataset("folder", data).items())
    # fps is the film's, not the camera's: six pictures a second move about a metre from one to the next
    return {"street": openloger.worlds.World("street", seed=3, size=(128, 160), fps=6, frames=frames)}


if __name__ == "__main__":
    tyro.cli(main)
