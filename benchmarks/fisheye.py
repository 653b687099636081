"""Whether a fisheye that fills the picture is told from a pinhole: `fisheye_error` of one window of worlds and clips.

python benchmarks/fisheye.py [--worlds rooms:990002 street:990002] [--degrees 90 120 150 180] [--clips a.mp4 b.mp4]

A world is seen by its own pinhole camera, then by equidistant lenses, whose pictures are put together from faces that
the ray-caster renders. Eight frames, every third one. `docs/diagnostics.md` has the numbers.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch
from rig import CUBE, turned

import openloger
from openloger.network import Network, Window
from openloger.worlds import World
from openloger.worlds.world import render

SIZE, FACE = (128, 160), 200  # pixels
FACE_FOCAL_PX = FACE / 2 / math.tan(math.radians(46))  # a little more than a quarter, for interpolation
FRAMES, STRIDE = 8, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="*", default=["rooms:990002", "street:990002"])
    parser.add_argument(
        "--degrees", nargs="*", type=float, default=[90.0, 120.0, 150.0, 180.0], help="over the diagonal"
    )
    parser.add_argument("--clips", nargs="*", default=[])
    given = parser.parse_args()
    network = openloger.load_network("compact", device="cpu", dtype="float32")
    assert isinstance(network, Network), "it is no exported one"
    for name in given.worlds:
        family, seed = name.split(":")
        world = World(family, seed=int(seed), size=SIZE, fps=10.0)
        indices = range(0, FRAMES * STRIDE, STRIDE)
        seen = np.stack([world[index].rgb for index in indices])
        print(f"{name} pinhole: {error(network, seen):.3f}", flush=True)
        for degrees in given.degrees:
            print(
                f"{name} fisheye {degrees:g}: {error(network, through_fisheye(world, indices, degrees)):.3f}",
                flush=True,
            )
    for path in given.clips:
        for first in (0, 30, 60, 90, 110):
            frames = openloger.open_frames(path, start=first, stop=first + FRAMES * STRIDE, stride=STRIDE, size=SIZE)
            print(f"{path} from {first}: {error(network, np.stack([frame.rgb for frame in frames])):.3f}", flush=True)


@torch.inference_mode()
def error(network: Network, rgb: np.ndarray) -> float:
    """Of pictures (frame, height, width, 3) as one window."""
    images = torch.from_numpy(rgb).permute(0, 3, 1, 2)[None].float() / 255
    prediction, _ = network(Window(images, FRAMES, 0, rigid=False, judges_lens=True))
    assert prediction.fisheye_error is not None, "it was asked for"
    return prediction.fisheye_error.item()


def through_fisheye(world: World, indices: range, degrees: float) -> np.ndarray:
    """The world's frames through an equidistant lens with so many degrees over the diagonal."""
    height, width = SIZE
    focal_px = math.hypot(height, width) / 2 / math.radians(degrees / 2)
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = ((side.double() - of / 2) / focal_px for side, of in ((columns, width), (rows, height)))
    angle = torch.hypot(x, y).clamp_min(1e-9)
    rays = torch.stack([x * angle.sin() / angle, y * angle.sin() / angle, angle.cos()], -1)
    rotations = CUBE.rig_from_view
    nearest = (rays @ rotations[:, :, 2].mT).argmax(-1)
    lens = np.array([[FACE_FOCAL_PX, 0, FACE / 2], [0, FACE_FOCAL_PX, FACE / 2], [0, 0, 1]])
    pictures = np.zeros((len(indices), height, width, 3), np.uint8)
    for face in nearest.unique().tolist():
        view, shown = turned(world, rotations[face].numpy(), (FACE, FACE), lens), nearest == face
        place = rays[shown] @ rotations[face]
        place = (place[:, :2] / place[:, 2:] * FACE_FOCAL_PX * 2 / FACE)[None, None]
        for number, index in enumerate(indices):
            rgb = render([(view, index)]).rgb[0].permute(2, 0, 1)[None].double()
            sampled = torch.nn.functional.grid_sample(rgb, place, padding_mode="border", align_corners=False)
            pictures[number, shown.numpy()] = sampled[0, :, 0].T.round().byte().numpy()
    return pictures


if __name__ == "__main__":
    main()
