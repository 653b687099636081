"""The pictures of the pages on surfaces and on ROS bags, each drawn from the files that are written.

python benchmarks/surfaces_picture.py FOLDER [--video examples/data/lab.mp4] [--out docs/images]

Mesh and LAS are of a procedural room with its true depth, so that what is seen is the export and not the network. The
bag is of the video: it is written, and reconstructed. FOLDER keeps the files; what is there already is taken.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import laspy
import matplotlib as mpl
import numpy as np
import trimesh
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

import openloger
from openloger.benchmarking.inputs import WorldReconstruction
from openloger.export import PointSelection, export_recording
from openloger.viewing.report.turntable import FOV, paint
from openloger.viewing.scene.cameras import Viewpoint, nearest_view
from openloger.viewing.scene.display import DisplayCloud, depth_picture
from openloger.worlds import World

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

TOPIC, MESSAGE = "/camera/color/image_raw/compressed", "sensor_msgs/msg/CompressedImage"
FRAMES, WORLD_SIZE = 40, (144, 192)
VOXEL = 0.03  # metres
SAMPLES = 1_200_000  # of the mesh's surface
SIZE = (480, 640)  # height and width of a view
UP, LIGHT = np.array([0.0, -1.0, 0.0]), np.array([0.35, -0.8, -0.5])  # in the world's axes; the light's way back
WHITE = (255, 255, 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--video", type=Path, default=Path("examples/data/lab.mp4"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    world = World("rooms", seed=3, size=WORLD_SIZE, fps=6.0, frames=FRAMES)
    truth = WorldReconstruction.without_error(world)
    bag, recorded, mesh, cloud = folder / "lab", folder / "recording", folder / "room.ply", folder / "room.laz"
    if not mesh.exists():
        export_recording(truth, "mesh", mesh, selection=PointSelection(voxel=VOXEL))
    draw_mesh(mesh, truth, arguments.out / "mesh.png")
    if not cloud.exists():
        export_recording(truth, "laz", cloud, selection=PointSelection(voxel=VOXEL))
    draw_cloud(cloud, arguments.out / "las.png")
    if not bag.exists():
        write_bag(bag, arguments.video)
    if not recorded.exists():
        openloger.reconstruct(str(bag), recorded)
    draw_bag(openloger.open_recording(recorded), arguments.out / "ros.png")


def write_bag(path: Path, video: Path) -> None:
    """A ROS 2 bag (MCAP) with the video's frames as compressed pictures."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, MESSAGE, typestore=store)
        for frame in openloger.open_frames(video):
            jpeg = io.BytesIO()
            Image.fromarray(frame.rgb).save(jpeg, "JPEG", quality=92)
            time_ns = 1_700_000_000 * 10**9 + round(frame.timestamp_s * 1e9)
            stamp = types["builtin_interfaces/msg/Time"](sec=time_ns // 10**9, nanosec=time_ns % 10**9)
            header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
            message = types[MESSAGE](header=header, format="jpeg", data=np.frombuffer(jpeg.getvalue(), np.uint8))
            writer.write(connection, time_ns, store.serialize_cdr(message, MESSAGE))


def draw_mesh(file: Path, truth: WorldReconstruction, out: Path) -> None:
    """In its colours, and its shape alone in the light; walls are open where they are seen from behind."""
    mesh: Any = trimesh.load(file, process=False)
    position, face, *_ = trimesh.sample.sample_surface(mesh, SAMPLES, seed=0)
    normal = mesh.face_normals[face]
    colours = np.asarray(mesh.visual.vertex_colors)[mesh.faces[face], :3].mean(1)
    brightness = 0.45 + 0.55 * np.clip(normal @ LIGHT / np.linalg.norm(LIGHT), 0, 1)[:, None]
    seen_from = above_and_behind(position, truth.world_from_cam)
    front = ((seen_from.position - position) * normal).sum(1) > 0
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.3), layout="constrained")
    shades = (("in its colours", colours), ("its shape", np.array([215, 212, 205]) * brightness))
    for axis, (title, rgb) in zip(axes, shades, strict=True):
        cloud = DisplayCloud(0, position[front].astype(np.float32), rgb[front].astype(np.uint8), 0.5 * VOXEL)
        axis.imshow(paint([cloud], seen_from, UP, size=SIZE, fov=FOV, background=WHITE))
        axis.set_title(title, fontsize=10)
    save(figure, out)


def above_and_behind(position: np.ndarray, world_from_cam: np.ndarray) -> Viewpoint:
    """From which nearly all of it is seen, the way that the first camera looks."""
    level = world_from_cam[0, :3, 2] * [1, 0, 1]
    ahead = level / np.linalg.norm(level) - 1.1 * UP
    ahead = ahead / np.linalg.norm(ahead)
    right = np.cross(ahead, UP) / np.linalg.norm(np.cross(ahead, UP))
    axes, slope = np.stack([right, np.cross(ahead, right), ahead]), np.tan(FOV / 2)
    some, slopes = position[:: len(position) // 20_000], (slope * SIZE[1] / SIZE[0], slope)
    place = nearest_view(some @ axes.T, world_from_cam[:, :3, 3] @ axes.T, slopes=slopes, radii=np.zeros(len(some)))
    return Viewpoint(axes.T @ place, axes.T @ place + ahead)


def draw_cloud(file: Path, out: Path) -> None:
    """From above, without the ceiling: colour, height and time of its points, the higher over the lower."""
    las: Any = laspy.read(file)
    xyz = np.asarray(las.xyz)
    # Without the few points that are rooms away, seen through doors.
    low, high = np.percentile(xyz, (6, 92), axis=0) + np.array([[-0.3], [0.3]])
    shown = np.flatnonzero(xyz[:, 2] < high[2] - 0.6)
    shown = shown[np.argsort(xyz[shown, 2])]
    rgb = np.stack([las.red, las.green, las.blue], 1) / 65535
    height, times_s = (plt.get_cmap("turbo")(scaled(some)) for some in (xyz[:, 2], np.asarray(las.gps_time)))
    figure, axes = plt.subplots(1, 3, figsize=(11, 4.0), layout="constrained")
    for axis, colours, title in zip(axes, (rgb, height, times_s), ("colour", "height", "gps_time"), strict=True):
        axis.scatter(*xyz[shown, :2].T, s=1.6, c=colours[shown], linewidths=0)
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axis.set_title(title, fontsize=10)
    save(figure, out)


def scaled(values: np.ndarray) -> np.ndarray:
    """From 0 to 1."""
    return (values - values.min()) / np.ptp(values)


def draw_bag(recording: openloger.Recording, out: Path) -> None:
    """Pictures of the bag over their depth, with the times of their messages."""
    figure, axes = plt.subplots(2, 5, figsize=(11, 3.7), layout="constrained")
    for column, share in zip(axes.T, np.linspace(0, 1, 5), strict=True):
        frame = recording.frame(int(share * (len(recording) - 1)))
        column[0].imshow(frame.rgb)
        column[1].imshow(depth_picture(frame.depth))
        column[0].set_title(f"{frame.timestamp_s:.1f} s", fontsize=9)
    for axis, label in zip(axes[:, 0], ("message", "depth"), strict=True):
        axis.set_ylabel(label, fontsize=10)
    save(figure, out)


def save(figure: Figure, out: Path) -> None:
    """Without ticks, in 128 colours."""
    for axis in figure.axes:
        axis.set(xticks=[], yticks=[])
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    Image.open(drawn).convert("RGB").quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main()
