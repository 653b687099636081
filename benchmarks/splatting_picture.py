"""The picture of the page on splatting, drawn from what `openloger export` writes.

python benchmarks/splatting_picture.py FOLDER [--video examples/data/lab.mp4] [--out docs/images]

A frame as the network saw it; the same frame at full size with the points of the COLMAP model that are listed in it;
and the initial Gaussians, drawn from its camera as 3DGS draws them. FOLDER keeps the files; what is there is taken.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pycolmap
from PIL import Image

import openloger
from openloger.export import PointSelection, SourceFrames, export_recording
from openloger.export.splat import SH_DEGREE_0

mpl.use("Agg")
import matplotlib.pyplot as plt

FRAMES, STRIDE = 48, 2
SHOWN = 12  # of the recording's frames
SPREAD = 0.3  # square pixels that 3DGS's rasteriser adds to every Gaussian
HALF = 5  # pixels: the reach of a Gaussian in the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--video", type=Path, default=Path("examples/data/lab.mp4"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    recorded, model, splats = folder / "recording", folder / "colmap", folder / "splats.ply"
    if not recorded.exists():
        frames = openloger.open_frames(arguments.video, stop=FRAMES, stride=STRIDE)
        openloger.reconstruct(frames, recorded, options=openloger.RunOptions(lens="fixed"))
    recording = openloger.open_recording(recorded)
    if not model.exists():
        selection = PointSelection(pixel_stride=4, max_points=6000)
        export_recording(recording, "colmap", model, selection=selection, images=SourceFrames(arguments.video))
    if not splats.exists():
        export_recording(recording, "splat", splats, selection=PointSelection(frame_stride=4))
    reconstruction = pycolmap.Reconstruction(str(model / "sparse" / "0"))
    image = reconstruction.images[SHOWN + 1]
    full = np.asarray(Image.open(model / "images" / image.name))

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.3), layout="constrained")
    seen = recording.frame(SHOWN).rgb
    axes[0].imshow(seen)
    axes[0].set_title(f"as the network saw it, {seen.shape[1]}×{seen.shape[0]}", fontsize=10)
    xy = np.stack([point.xy for point in image.points2D])
    lengths = np.array([reconstruction.points3D[point.point3D_id].track.length() for point in image.points2D])
    axes[1].imshow(full)
    dots = axes[1].scatter(*xy.T, s=5, c=lengths, cmap="viridis", linewidths=0)
    figure.colorbar(dots, ax=axes[1], shrink=0.8).set_label("frames in the point's track", fontsize=8)
    axes[1].set(xlim=(0, full.shape[1]), ylim=(full.shape[0], 0))
    axes[1].set_title(f"--pictures full, {full.shape[1]}×{full.shape[0]}, and COLMAP's points", fontsize=10)
    axes[2].imshow(drawn(splats, image, reconstruction.cameras[image.camera_id]))
    axes[2].set_title("--to splat, before any training", fontsize=10)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100)
    Image.open(picture).convert("RGB").save(arguments.out / "splatting.png", optimize=True)


def drawn(file: Path, image: pycolmap.Image, camera: pycolmap.Camera) -> np.ndarray:
    """Gaussians of a PLY from a camera of the model: projected covariances, blended front over back."""
    head, _, body = file.read_bytes().partition(b"end_header\n")
    names = [line.split()[2] for line in head.decode().splitlines() if line.startswith("property")]
    table = np.frombuffer(body, [(name, "<f4") for name in names])
    position, scale, wxyz, colour = (
        np.stack([table[name] for name in chosen], 1).astype(np.float64)
        for chosen in (
            ("x", "y", "z"),
            ("scale_0", "scale_1", "scale_2"),
            ("rot_0", "rot_1", "rot_2", "rot_3"),
            ("f_dc_0", "f_dc_1", "f_dc_2"),
        )
    )
    cam_from_world = image.cam_from_world().matrix()
    cam = position @ cam_from_world[:, :3].T + cam_from_world[:, 3]
    fx, fy, cx, cy = camera.params
    axes = np.einsum("ij,njk->nik", cam_from_world[:, :3], rotations(wxyz)) * np.exp(scale)[:, None]
    depth, zero = cam[:, 2], np.zeros(len(cam))
    rows = [[fx / depth, zero, -fx * cam[:, 0] / depth**2], [zero, fy / depth, -fy * cam[:, 1] / depth**2]]
    flat = np.moveaxis(np.array(rows), -1, 0) @ axes
    sharpness = np.linalg.inv(flat @ flat.transpose(0, 2, 1) + SPREAD * np.eye(2))
    at = np.stack([fx * cam[:, 0] / depth + cx, fy * cam[:, 1] / depth + cy], 1)
    inside = (depth > 0) & (at > HALF).all(1) & (at < np.array([camera.width, camera.height]) - HALF - 1).all(1)
    rgb, opacity = np.clip(0.5 + SH_DEGREE_0 * colour, 0, 1), 1 / (1 + np.exp(-table["opacity"].astype(np.float64)))
    canvas, offset = np.zeros((camera.height, camera.width, 3)), np.arange(-HALF, HALF + 1) + 0.5
    for number in np.flatnonzero(inside)[np.argsort(-depth[inside])]:
        column, row = at[number].astype(int)
        x, y = column + offset - at[number, 0], row + offset[:, None] - at[number, 1]
        (a, b), (_, d) = sharpness[number]
        alpha = (opacity[number] * np.exp(-0.5 * (a * x * x + 2 * b * x * y + d * y * y)))[..., None]
        under = canvas[row - HALF : row + HALF + 1, column - HALF : column + HALF + 1]
        under += alpha * (rgb[number] - under)
    return canvas


def rotations(wxyz: np.ndarray) -> np.ndarray:
    w, x, y, z = (wxyz / np.linalg.norm(wxyz, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


if __name__ == "__main__":
    main()
