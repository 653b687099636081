"""The engine by hand: window after window, nothing on disk, and a run that is cut in two.

python examples/02_own_loop_with_stream.py --video walk.mp4
"""

import torch
import tyro

import openloger
from openloger.streaming import StreamState


def main(video: str = "world:rooms:3?frames=40", network: str = "pocket", cut_after: int = 2) -> None:
    """Stream a video through a network, stop after some windows, and go on elsewhere.

    Args:
        video: Anything that `openloger.open_frames` takes.
        network: A preset, or a file of weights.
        cut_after: How many windows the first half of the run has.
    """
    loaded = openloger.load_network(network)
    source = openloger.open_frames(video)

    path: list[torch.Tensor] = []
    stream = openloger.Stream(loaded, window=8, overlap=2)
    for placed in stream.run(source):
        tell(placed)
        path.append(placed.world_from_cam[: placed.final_count, :3, 3])
        if placed.number + 1 == cut_after:
            break

    # All that a run knows between two windows is one value: memory, placement, the frames in hand. It does not grow.
    saved = stream.state.to_bytes()
    print(f"cut; the state is {len(saved) / 1e6:.1f} MB, after any number of frames")

    stream = openloger.Stream(loaded, window=8, overlap=2)
    stream.state = StreamState.from_bytes(saved)
    for placed in stream.run(source):
        tell(placed)
        path.append(placed.world_from_cam[: placed.final_count, :3, 3])

    centres = torch.cat(path)
    print(f"{len(centres)} cameras; the path is {centres.diff(dim=0).norm(dim=1).sum():.2f} units long")


def tell(placed: openloger.PlacedWindow) -> None:
    """A line about a window: its frames, how well it fits the one before, and what it sees."""
    first, last = placed.frames[0].index, placed.frames[-1].index
    fit = placed.disagreement  # on the frames that both windows saw; needs no ground truth
    off = "the first" if fit is None else f"depth {100 * fit.depth:.1f} % off the one before"
    print(f"window {placed.number}: frames {first} to {last}, {off}; median depth {placed.depth.median():.2f}")


if __name__ == "__main__":
    tyro.cli(main)
