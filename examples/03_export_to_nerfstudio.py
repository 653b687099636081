"""Cameras, full-size pictures and a first cloud for Gaussian splatting: nerfstudio's format, COLMAP's, and Gaussians.

python examples/03_export_to_nerfstudio.py --video walk.mp4
ns-train splatfacto --data out/splat/nerfstudio
"""

import json
from pathlib import Path

import tyro

import openloger
from openloger.export import PointSelection, SourceFrames, export_recording


def main(video: str = "world:street:3?frames=40", out: Path = Path("out/splat")) -> None:
    """Reconstruct a video, and write what other programs train on.

    Args:
        video: A video, a folder of pictures, or a procedural world.
        out: Where the recording, both folders and the Gaussians go.
    """
    # A camera has one lens: its focal length is fitted to all frames together instead of to each.
    options = openloger.RunOptions(existing="overwrite", lens="fixed")
    recording = openloger.reconstruct(video, out / "recording", options=options)

    # A splat wants few, good points: one in a cube of 0.02 units, none where depth leaps. Every other frame will do.
    selection = PointSelection(voxel=0.02, frame_stride=2)
    for to in ("nerfstudio", "colmap"):
        # The video's own pictures, larger than the network saw them; `SourceFrames("moved.mp4")` where it has moved.
        full = SourceFrames()
        written = export_recording(recording, to, out / to, selection=selection, images=full, overwrite=True)
        print(f"{to}: {', '.join(path.name for path in written)} in {out / to}")
    export_recording(recording, "splat", out / "splats.ply", selection=selection, overwrite=True)
    print(f"splat: {out / 'splats.ply'}, to begin a training from")

    transforms = json.loads((out / "nerfstudio" / "transforms.json").read_text(encoding="utf-8"))
    width, height, focal_px = (transforms[key] for key in ("w", "h", "fl_x"))
    print(f"{len(transforms['frames'])} cameras of {width}×{height} pixels, focal length {focal_px:.1f} pixels")

    # Depth is stored in whole steps. nerfstudio takes them for millimetres unless it is told:
    step = transforms["depth_unit_scale_factor"]
    print(f"depth is in steps of {step:g}: --pipeline.datamanager.dataparser.depth-unit-scale-factor {step:g}")


if __name__ == "__main__":
    tyro.cli(main)
