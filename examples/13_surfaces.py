"""Surfaces for other programs: a mesh, an initial cloud of Gaussians, and a point cloud for surveying.

python examples/13_surfaces.py --video walk.mp4      (pip install 'openloger[mesh,las]')
"""

from pathlib import Path

import tyro

import openloger
from openloger.export import PointSelection, export_recording


def main(video: str = "world:rooms:3?frames=40", out: Path = Path("out/surfaces")) -> None:
    """Reconstruct a video, and write its surfaces three ways.

    Args:
        video: A video, a folder of pictures, or a procedural world.
        out: Where the recording and the files go.
    """
    recording = openloger.reconstruct(video, out / "recording", options=openloger.RunOptions(existing="overwrite"))

    # Only what the network is sure enough of, and nothing where depth leaps.
    selection = PointSelection(confidence_min=0.2)
    for to, name in (("mesh", "mesh.glb"), ("splat", "splats.ply"), ("laz", "points.laz")):
        (path,) = export_recording(recording, to, out / name, selection=selection, overwrite=True)
        print(f"{to}: {path}, {path.stat().st_size / 1e6:.1f} MB, in {recording.unit}")


if __name__ == "__main__":
    tyro.cli(main)
