"""How far what compiled kernels render is from what they render as they are, for `test_world_kernels.py`: in a process
without the tests' checks of shapes, which torch cannot trace.

    python compiled_kernels.py BACKEND HEIGHT WIDTH FAMILY...
"""

import json
import sys

import torch

from openloger.worlds import World, kernels
from openloger.worlds.raycast import RenderedFrames
from openloger.worlds.raycast_fast import render_fast
from openloger.worlds.world import make_shot


def differing(one: RenderedFrames, other: RenderedFrames) -> dict[str, float]:
    """The largest difference of each kind of picture, of depth relative; the shares of differing colours and masks."""
    rgb, normal = ((getattr(one, name).float() - getattr(other, name).float()).abs() for name in ("rgb", "normal"))
    depth = (one.depth - other.depth).abs() / one.depth.clamp(min=1e-3)
    masks = (one.valid != other.valid) | (one.moving != other.moving)
    return {
        "rgb": float(rgb.max()),
        "normal": float(normal.max()),
        "depth": float(depth.max()),
        "colours": float((rgb > 0).float().mean()),
        "masks": float(masks.float().mean()),
    }


def main(backend: str, height: int, width: int, families: list[str]) -> None:
    """Print the differences of each family."""
    torch.set_num_threads(1)
    found = {}
    for family in families:
        shot = make_shot([(World(family, seed=3, size=(height, width), fps=2), frame) for frame in (1, 9)])
        found[family] = differing(render_fast(shot), render_fast(shot, kernels.compiled(backend)))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
