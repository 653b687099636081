"""False alarms: worlds that no training has seen, run with the true camera known and judged as a user's video is.

    python benchmarks/false_alarms.py --seeds 2 --frames 40 --size 120 160

Prints what `docs/diagnostics.md` gives the thresholds by: each measure of each world, and every warning. Nothing is
wrong with these videos, so every warning but "windows disagree", which judges the network, is a false alarm.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import openloger
from openloger import Recording
from openloger.diagnostics import WindowMeasures
from openloger.geometry.camera_models import CameraModel

FAMILIES = ("rooms", "clutter", "street", "terrain")
HELD_OUT = 990_000  # seeds under a million are never trained on; validation takes the first few


def run(family: str, seed: int, frames: int, size: tuple[int, int], network: openloger.Network) -> Recording:
    """With the known camera, so that the network's own focal length is compared with it."""
    world = openloger.worlds.World(family, seed=seed, size=size, fps=10.0)
    lens = world.intrinsics
    known = CameraModel("pinhole", tuple(float(lens[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))), size)
    source = f"world:{family}:{seed}?frames={frames}&size={size[0]}x{size[1]}"
    options = openloger.RunOptions(camera=known)
    with tempfile.TemporaryDirectory() as folder:
        recording = openloger.reconstruct(source, Path(folder) / "out", network=network, options=options)
        _ = recording.windows, recording.findings  # read while it is there
        return recording


def line(measures: list[WindowMeasures], recording: Recording) -> str:
    """Of all windows: the worst of what is bounded on one side, else the median."""
    pictures = [one.picture for one in measures if one.picture is not None]
    cameras = [one.camera for one in measures if one.camera is not None]
    apart = [window.disagreement for window in recording.windows if window.disagreement is not None]
    parts = {
        "picture": max((peak.value for peak in pictures), default=0.0),
        "times": max((peak.value / max(peak.usual, 1e-6) for peak in pictures), default=0.0),
        "camera": max((peak.value for peak in cameras), default=0.0),
        "camera times": max((peak.value / max(peak.usual, 1e-6) for peak in cameras), default=0.0),
        "parallax": max((one.parallax for one in measures if one.parallax is not None), default=0.0),
        "seam": median([one.seam for one in measures if one.seam is not None] or [0.0]),
        "rim": min((one.rim for one in measures if one.rim is not None), default=0.0),
        "fisheye": median([one.fisheye for one in measures if one.fisheye is not None] or [0.0]),
        "focal": median([one.focal_ratio for one in measures if one.focal_ratio is not None] or [0.0]),
        "confidence": median([one.confidence for one in measures if one.confidence is not None] or [0.0]),
        "depth apart": median([one.depth for one in apart] or [0.0]),
        "degrees apart": median([one.rotation_deg for one in apart] or [0.0]),
    }
    return "  ".join(f"{name} {value:.3g}" for name, value in parts.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="compact")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--seeds", type=int, default=2, help="worlds of each family")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, nargs=2, default=(120, 160), metavar=("HEIGHT", "WIDTH"))
    given = parser.parse_args()
    network = openloger.load_network(given.network, device="cpu")
    for seed in range(HELD_OUT, HELD_OUT + given.seeds):
        for family in given.families:
            recording = run(family, seed, given.frames, tuple(given.size), network)
            measures = [window.measures for window in recording.windows if window.measures is not None]
            print(f"{family}:{seed}  {line(measures, recording)}", flush=True)
            for finding in recording.findings:
                print(f"    {finding.kind}: {finding.text}", flush=True)


if __name__ == "__main__":
    main()
