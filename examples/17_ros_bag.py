"""A ROS bag: pictures of one of its topics as a source, at the times of the messages' headers.

python examples/17_ros_bag.py --bag drive.mcap --topic /camera/front/image_raw/compressed
"""

import io
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import openloger
from openloger.export import export_recording

FRONT, REAR = "/camera/front/image_raw/compressed", "/camera/rear/image_raw/compressed"
MESSAGE = "sensor_msgs/msg/CompressedImage"


def main(bag: Path | None = None, topic: str = FRONT, frames: int = 24, out: Path = Path("out/ros-bag")) -> None:
    """Reconstruct the pictures of a topic, and write the camera's path with the bag's own times.

    Args:
        bag: A ROS 1 bag, a folder of ROS 2, or an MCAP file; by default one of a procedural street, made here.
        topic: The one with the pictures.
        frames: Of the street, on each of its two topics.
        out: Where the bag, the recording and the path go.
    """
    if bag is None:
        bag = out / "drive"
        if not bag.exists():
            write_bag(bag, openloger.worlds.World("street", seed=8, size=(96, 128), fps=10, frames=frames))

    # On the command line it is `openloger reconstruct BAG --topic TOPIC`, or BAG#TOPIC as the source.
    source = openloger.open_frames(f"{bag}#{topic}")
    options = openloger.RunOptions(existing="overwrite")
    recording = openloger.reconstruct(source, out / "recording", options=options)
    print(f"{len(recording)} frames of {topic}")
    (path,) = export_recording(recording, "tum", out / "path.tum", overwrite=True)
    first, last = np.loadtxt(path)[[0, -1], 0]
    print(f"{path}: from {first:.3f} to {last:.3f} s since 1970")


def write_bag(folder: Path, world: openloger.worlds.World) -> None:
    """A ROS 2 bag of two cameras: the world forwards, and backwards."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    stamp, header, picture = (
        store.types[name] for name in ("builtin_interfaces/msg/Time", "std_msgs/msg/Header", MESSAGE)
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    began_ns = 1_790_000_000 * 10**9
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, shown in ((FRONT, list(world)), (REAR, list(world)[::-1])):
            connection = writer.add_connection(topic, MESSAGE, typestore=store)
            for number, frame in enumerate(shown):
                jpeg = io.BytesIO()
                Image.fromarray(frame.rgb).save(jpeg, "JPEG", quality=95)
                at_ns = began_ns + number * 100_000_000
                taken = stamp(sec=at_ns // 10**9, nanosec=at_ns % 10**9)
                message = picture(
                    header=header(stamp=taken, frame_id="camera"),
                    format="jpeg",
                    data=np.frombuffer(jpeg.getvalue(), np.uint8),
                )
                writer.write(connection, at_ns, store.serialize_cdr(message, MESSAGE))


if __name__ == "__main__":
    tyro.cli(main)
