"""Lenses: a wide lens that bends straight lines, undistorted as its frames stream.

python examples/12_lenses.py
python examples/12_lenses.py --video ride.mp4 --camera opencv:1094,1094,960,540,-0.28,0.07,0,0
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image

import openloger
from openloger.geometry.camera_models import CameraModel


def main(video: str | None = None, camera: str | None = None, frames: int = 16, out: Path = Path("out/lenses")) -> None:
    """Reconstruct a video of a known lens, and put a frame as filmed beside its undistorted view.

    Args:
        video: A video or a folder of pictures; by default a procedural world, seen through a lens made up here.
        camera: Its lens: opencv:…, opencv_fisheye:…, COLMAP's cameras.txt, or a calibration in YAML.
        frames: The number of frames of the world.
        out: Where the recording and the picture go.
    """
    if (video is None) != (camera is None):
        raise SystemExit("give both --video and --camera, or neither")
    if video is None or camera is None:
        world = openloger.worlds.World("rooms", seed=5, size=(240, 320), frames=frames)
        focal_px = float(round(1.3 * world.intrinsics[0, 0]))  # bent pictures show less than the world's camera sees
        lens = CameraModel("opencv", (focal_px, focal_px, 160.0, 120.0, -0.35, 0.08, 0.0, 0.0))
        camera = lens.text
        shown = list(through(lens, world))
    else:
        shown = list(openloger.open_frames(video))

    model = openloger.read_camera(camera)
    view = next(iter(openloger.undistorted(openloger.open_frames(shown), model)))
    out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([shown[0].rgb, view.rgb], axis=1)).save(out / "view.png")
    print(f"{out / 'view.png'}: as filmed, and as the network gets it")

    # On the command line it is --camera, with the same text or a calibration's file.
    options = openloger.RunOptions(camera=camera, existing="overwrite")
    recording = openloger.reconstruct(shown, out / "recording", options=options)
    of_frames = recording.intrinsics[:, 0, 0]
    print(f"{recording.meta.camera}: focal length {of_frames[0]:.1f} px of the {recording.meta.width} recorded")
    print("the same in all frames" if np.ptp(of_frames) == 0 else "not the same in all frames")


def through(camera: CameraModel, world: openloger.worlds.World) -> Iterable[openloger.Frame]:
    """A world's frames as this lens would film them: every pixel shows what the world's camera sees along its ray."""
    height, width = world.size
    row, column = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = camera.unproject(torch.stack([column, row], dim=-1).double(), size=(height, width))
    pixels = rays @ torch.from_numpy(world.intrinsics).T
    place = pixels[..., :2] / pixels[..., 2:] / torch.tensor([width, height]) * 2 - 1
    for frame in world:
        picture = torch.from_numpy(frame.rgb).permute(2, 0, 1)[None].double()
        bent = F.grid_sample(picture, place[None], padding_mode="border", align_corners=False)
        rgb = bent[0].permute(1, 2, 0).round().byte().numpy()
        yield openloger.Frame(rgb, frame.index, frame.timestamp_s, name=f"{frame.index:06d}")


if __name__ == "__main__":
    tyro.cli(main)
