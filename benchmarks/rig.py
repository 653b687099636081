"""360° video of rendered worlds, as a rig of views and as one direction: path, rotations, depth, and a picture.

python benchmarks/rig.py [--worlds rooms:5 street:1] [--frames 90] [--cameras equirect:rig] [--picture FILE]

Panoramas of 480×960 are put together from six faces that the worlds' ray-caster renders. Depth is compared with each
view's own rendering, after one scale for all views and frames.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import openloger
from openloger.export.selection import PointSelection, select_points
from openloger.frames.lenses.undistort import undistorted
from openloger.geometry import pixel_grid, project, umeyama
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import CameraRig
from openloger.worlds import World
from openloger.worlds.world import render

PANORAMA, FACE = (480, 960), 320  # pixels
FACE_FOV_DEG = 92.0  # a little more than a quarter, for interpolation
MEASURED = 12  # instants, whose depth is compared
CUBE = CameraRig(
    tuple(
        CameraModel("equirect", (*view, 90.0))
        for view in [(0.0, 0.0), (90.0, 0.0), (180.0, 0.0), (270.0, 0.0), (0.0, 90.0), (0.0, -90.0)]
    )
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=["rooms:5", "street:1"])
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--networks", nargs="+", default=["compact"])
    parser.add_argument("--cameras", nargs="+", default=["equirect:rig", "equirect:0,0"])
    parser.add_argument(
        "--out", type=Path, default=Path("out/rig"), help="of panoramas, which are kept, and recordings"
    )
    parser.add_argument("--picture", type=Path, help="where to, of the first world with the first camera")
    arguments = parser.parse_args()
    for name in arguments.worlds:
        family, seed = name.split(":")
        world = World(family, seed=int(seed))
        folder = arguments.out / f"{family}-{seed}"
        save_panoramas(world, folder / "panoramas", arguments.frames)
        for network in arguments.networks:
            for number, camera in enumerate(arguments.cameras):
                options = openloger.RunOptions(camera=camera, existing="resume")
                frames = openloger.open_frames(str(folder / "panoramas"), stop=arguments.frames)
                recording = openloger.reconstruct(
                    frames, folder / f"{network}-{number}", network=network, options=options
                )
                print(f"{name}, {network}, {camera}: {measured(recording, world)}", flush=True)
    if arguments.picture is not None:
        family, seed = arguments.worlds[0].split(":")
        folder = arguments.out / f"{family}-{seed}"
        draw(openloger.open_recording(folder / f"{arguments.networks[0]}-0"), folder / "panoramas", arguments.picture)


def save_panoramas(world: World, folder: Path, count: int) -> None:
    """Those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [index for index in range(count) if not (folder / f"{index:06d}.png").exists()]
    for index, rgb in zip(wanted, panoramas(world, wanted), strict=True):
        Image.fromarray(rgb).save(folder / f"{index:06d}.png")


def panoramas(world: World, frames: list[int]) -> Iterator[np.ndarray]:
    rotations, focal_px = CUBE.rig_from_view, FACE / 2 / np.tan(np.radians(FACE_FOV_DEG / 2))
    lens = np.array([[focal_px, 0, FACE / 2], [0, focal_px, FACE / 2], [0, 0, 1]])
    faces = [turned(world, rotation.numpy(), (FACE, FACE), lens) for rotation in rotations]
    rays = CameraModel("equirect").unproject(pixel_grid(*PANORAMA, dtype=torch.float64), size=PANORAMA)
    nearest = (rays @ rotations[:, :, 2].mT).argmax(-1)
    for index in frames:
        rgb = torch.zeros(*PANORAMA, 3, dtype=torch.uint8)
        for number, face in enumerate(faces):
            picture = render([(face, index)]).rgb[0].permute(2, 0, 1)[None].double()
            seen = project(rays[nearest == number] @ rotations[number], torch.from_numpy(lens))
            place = (seen / FACE * 2 - 1)[None, None]
            sampled = torch.nn.functional.grid_sample(picture, place, padding_mode="border", align_corners=False)
            rgb[nearest == number] = sampled[0, :, 0].T.round().byte()
        yield rgb.numpy()


def turned(world: World, rotation: np.ndarray, size: tuple[int, int], intrinsics: np.ndarray) -> World:
    """The same world, as seen in another direction from where its camera is."""
    other, turn = copy.copy(world), np.eye(4)
    turn[:3, :3] = rotation
    other.size, other.intrinsics = size, intrinsics
    other.world_from_cam = lambda index: world.world_from_cam(index) @ turn
    return other


def measured(recording: openloger.Recording, world: World) -> str:
    assert recording.meta.camera is not None, "a panorama's view has one"
    camera = openloger.read_camera(recording.meta.camera)
    rig = camera if isinstance(camera, CameraRig) else CameraRig((camera, *CUBE.views[4:]))  # of one, the first counts
    rotations = rig.rig_from_view[: recording.views].numpy()
    instants = recording.source_index[:: recording.views].tolist()
    true = np.stack([world.world_from_cam(index) for index in instants])
    cameras = recording.world_from_cam[:: recording.views]
    centres, true_centres = (torch.from_numpy(one[:, :3, 3]) for one in (cameras, true))
    path = float(true_centres.diff(dim=0).norm(dim=-1).sum())
    error = (umeyama(centres, true_centres).apply(centres) - true_centres).norm(dim=-1).square().mean().sqrt()
    turns = [_over_ten(one) for one in (cameras[:, :3, :3] @ rotations[0].T, true[:, :3, :3])]
    cosine = (np.trace(np.swapaxes(turns[0], 1, 2) @ turns[1], axis1=1, axis2=2) - 1) / 2
    depths: list[list[np.ndarray]] = [[] for _ in rotations]
    for instant in np.linspace(0, len(instants) - 1, MEASURED).astype(int).tolist():
        for view, rotation in enumerate(rotations):
            number = instant * recording.views + view
            own = turned(world, rotation, (recording.meta.height, recording.meta.width), recording.intrinsics[number])
            truth, found = render([(own, instants[instant])]).depth[0].numpy(), recording.depth(number)
            both = (truth > 0) & (found > 0)
            depths[view].append(np.stack([found[both], truth[both]]))
    found, truth = np.concatenate([pair for view in depths for pair in view], axis=1)
    scale = np.median(truth / found)
    pairs_of_views = [np.concatenate(view, axis=1) for view in depths]
    of_views = [round(float(np.median(true / own) / scale), 2) for own, true in pairs_of_views]
    return (
        f"{len(instants)} instants, path {path:.2f} m, ATE {100 * float(error) / path:.2f} %, "
        f"rotation over 10 {np.median(np.degrees(np.arccos(cosine.clip(-1, 1)))):.2f}°, "
        f"AbsRel {np.mean(np.abs(found * scale - truth) / truth):.3f}, views' scales {of_views}"
    )


def _over_ten(rotations: np.ndarray) -> np.ndarray:
    return np.swapaxes(rotations[:-10], 1, 2) @ rotations[10:]


def draw(recording: openloger.Recording, folder: Path, out: Path) -> None:
    """A panorama, its views, and the points below the camera from above, in their own colours and in the views'."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    assert recording.meta.camera is not None, "a rig's recording has one"
    camera = openloger.read_camera(recording.meta.camera)
    middle = recording.views * (len(recording) // recording.views // 2)
    frames = openloger.open_frames(str(folder), start=int(recording.source_index[middle]))
    chunks = list(select_points(recording, PointSelection(frame_stride=recording.views + 1, confidence_min=0.3)))
    points = np.concatenate([chunk.points_world for chunk in chunks])
    rgb = np.concatenate([chunk.rgb for chunk in chunks]) / 255
    view = np.concatenate([np.full(len(chunk), chunk.frame % recording.views) for chunk in chunks])
    low, high = np.percentile(points, [3, 97], axis=0)
    centres = recording.world_from_cam[:: recording.views, :3, 3]
    order = np.argsort(-points[:, 1])  # y is down: what is higher is drawn later
    shown = order[((points >= low) & (points <= high)).all(1)[order] & (points[order, 1] > centres[:, 1].mean())]
    figure, axes = plt.subplot_mosaic("pp;vv;ac", figsize=(11, 8.6), height_ratios=(2.4, 0.8, 2.4))
    axes["p"].imshow(next(iter(frames)).rgb)
    views = islice(undistorted(frames, camera), recording.views)
    axes["v"].imshow(np.concatenate([view.rgb for view in views], axis=1))
    for name, colours in (("a", rgb), ("c", mpl.colormaps["tab10"](view)[:, :3])):
        axes[name].scatter(points[shown, 0], points[shown, 2], c=colours[shown], s=0.15, linewidths=0)
        axes[name].plot(centres[:, 0], centres[:, 2], "k", linewidth=2)
        axes[name].set_aspect("equal")
    for axis in axes.values():
        axis.set_axis_off()
    titles = {"p": "panorama", "v": "views", "a": "points from above, and the path", "c": "by view"}
    for name, title in titles.items():
        axes[name].set_title(title, loc="left", fontsize=9)
    figure.tight_layout(pad=0.5)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main()
