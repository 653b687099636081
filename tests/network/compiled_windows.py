"""Compiles the toy network and prints how far its windows are from the plain one's; a process without shape checks.

python compiled_windows.py BACKEND PRECISION
"""

import copy
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from network.reference import chain, distance, small_images, toy_network
from openloger.network.compilation import compile_regions
from openloger.transformer.layers import Linear

PARTS = ("world_from_cam", "points_cam", "confidence_logit")


def main(backend: str, precision: str) -> None:
    images = small_images(frames=11, height=42, width=56)  # three windows: without a memory, with one, and a last
    network = toy_network(pi3x=precision == "float32").set_precision(getattr(torch, precision))
    linear, x = Linear(24, 40), torch.randn(7, 24)
    with torch.inference_mode():
        plain, _ = chain(network, images)
        compiled, _ = chain(compile_regions(copy.deepcopy(network), backend=backend), images)
        linear_apart = distance(torch.compile(linear, backend=backend)(x), linear(x))
    apart = max(
        distance(getattr(one, part), getattr(other, part))
        for one, other in zip(compiled, plain, strict=True)
        for part in PARTS
    )
    counted = torch._dynamo.utils.counters
    print(
        json.dumps(
            {
                "apart": max(apart, linear_apart),
                "breaks": sum(counted["graph_break"].values()),
                "graphs": counted["stats"]["unique_graphs"],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
