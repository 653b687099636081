"""Pictures of ROS 1 bags, ROS 2 bags and MCAP files, plain and compressed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore

from openloger.errors import BadFrameError, InputError
from openloger.frames import open_frames
from openloger.frames.identity import identity

ROS2, ROS1 = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS1_NOETIC)
PICTURES = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)


def header(types: Any, number: int, *, ros1: bool = False) -> Any:
    stamp = types["builtin_interfaces/msg/Time"](sec=100 + number, nanosec=500_000_000)
    more = {"seq": number} if ros1 else {}
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **more)


def plain(types: Any, number: int, rgb: np.ndarray, encoding: str, *, ros1: bool = False, pad: int = 0) -> Any:
    flat = rgb.reshape(rgb.shape[0], -1)
    rows = np.concatenate([flat, np.zeros((len(flat), pad), np.uint8)], 1)
    return types["sensor_msgs/msg/Image"](
        header=header(types, number, ros1=ros1),
        height=rgb.shape[0],
        width=rgb.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1],
        data=rows.ravel(),
    )


def ros2_bag(path: Path, messages: dict[str, list[Any]], kind: str = "Image", *, mcap: bool = False) -> Path:
    plugin = StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3
    with Ros2Writer(path, version=9, storage_plugin=plugin) as writer:
        for topic, sent in messages.items():
            connection = writer.add_connection(topic, f"sensor_msgs/msg/{kind}", typestore=ROS2)
            for number, message in enumerate(sent):
                data = ROS2.serialize_cdr(message, f"sensor_msgs/msg/{kind}")
                writer.write(connection, (7 + number) * 10**9, data)
    return path


@pytest.mark.parametrize("mcap", [False, True])
def test_ros_2_bags_give_their_pictures_at_the_times_they_were_taken(mcap: bool, tmp_path: Path) -> None:
    sent = [plain(ROS2.types, number, rgb[..., ::-1], "bgr8", pad=5) for number, rgb in enumerate(PICTURES)]
    bag = ros2_bag(tmp_path / "walk", {"/camera/image": sent}, mcap=mcap)
    paths = [bag, next(bag.glob("*.mcap" if mcap else "*.db3"))]
    for path in paths:
        source = open_frames(path)
        assert source.length == 4
        frames = list(source)
        assert all(np.array_equal(frame.rgb, rgb) for frame, rgb in zip(frames, PICTURES, strict=True))
        assert [frame.timestamp_s for frame in frames] == [100.5, 101.5, 102.5, 103.5]
        assert [frame.index for frame in source.frames(2)] == [2, 3]
    assert [frame.index for frame in open_frames(bag, fps=0.5)] == [0, 2]


def test_ros_1_bags_are_read_too(tmp_path: Path) -> None:
    bag = tmp_path / "walk.bag"
    with Ros1Writer(bag) as writer:
        connection = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=ROS1)
        for number, rgb in enumerate(PICTURES):
            message = plain(ROS1.types, number, rgb, "rgb8", ros1=True)
            writer.write(connection, number, ROS1.serialize_ros1(message, "sensor_msgs/msg/Image"))
    assert np.array_equal([frame.rgb for frame in open_frames(bag)], PICTURES)


def test_compressed_pictures_are_decoded(tmp_path: Path) -> None:
    sent = []
    for number, rgb in enumerate(PICTURES):
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "PNG")
        data = np.frombuffer(file.getvalue(), np.uint8)
        compressed = ROS2.types["sensor_msgs/msg/CompressedImage"]
        sent.append(compressed(header=header(ROS2.types, number), format="rgb8; png compressed", data=data))
    bag = ros2_bag(tmp_path / "walk", {"/image/compressed": sent}, "CompressedImage")
    assert np.array_equal([frame.rgb for frame in open_frames(bag)], PICTURES)


def test_grey_pictures_are_grey(tmp_path: Path) -> None:
    grey = PICTURES[0, ..., :1]
    wide = np.stack([np.zeros_like(grey[..., 0]), grey[..., 0]], -1)
    sent = [plain(ROS2.types, 0, grey, "mono8"), plain(ROS2.types, 1, wide, "mono16")]
    sent[1].width = 8
    first, second = open_frames(ros2_bag(tmp_path / "walk", {"/image": sent}))
    assert np.array_equal(first.rgb, np.repeat(grey, 3, 2))
    assert np.array_equal(second.rgb, first.rgb)


def test_of_several_topics_one_is_named(tmp_path: Path) -> None:
    left, right = ([plain(ROS2.types, 0, PICTURES[number], "rgb8")] for number in (0, 1))
    bag = ros2_bag(tmp_path / "walk", {"/left": left, "/right": right})
    with pytest.raises(InputError, match=r"several topics of pictures: /left \(1\), /right \(1\); name one \(--topic"):
        open_frames(bag)
    source = open_frames(f"{bag}#/right")
    (frame,) = source
    assert np.array_equal(frame.rgb, PICTURES[1])
    assert source.name == f"{bag}#/right"
    assert identity(source)["files"] == 2
    with pytest.raises(InputError, match="no pictures on topic '/depth'"):
        open_frames(f"{bag}#/depth")


@pytest.mark.parametrize("mcap", [False, True])
def test_a_damaged_message_is_a_bad_frame_and_the_others_are_read(mcap: bool, tmp_path: Path) -> None:
    sent = [plain(ROS2.types, number, rgb, "rgb8") for number, rgb in enumerate(PICTURES)]
    raw = [ROS2.serialize_cdr(message, "sensor_msgs/msg/Image") for message in sent]
    plugin = StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3
    with Ros2Writer(tmp_path / "walk", version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=ROS2)
        for number, data in enumerate((raw[0], raw[1][:40], raw[2], b"", raw[3])):
            writer.write(connection, (7 + number) * 10**9, data)
    with pytest.raises(BadFrameError, match=r"^[^\n]*the message is damaged[^\n]*$"):
        list(open_frames(tmp_path / "walk"))
    frames = list(open_frames(tmp_path / "walk", on_bad_frame="skip"))
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert np.array_equal([frame.rgb for frame in frames], PICTURES[[0, 2, 3]])


@pytest.mark.parametrize(("mcap", "part"), [(False, 0.3), (False, 0.6), (False, 0.95), (True, 0.0), (True, 0.97)])
def test_a_damaged_bag_is_one_line(mcap: bool, part: float, tmp_path: Path) -> None:
    large = np.random.default_rng(1).integers(0, 256, (12, 60, 80, 3), dtype=np.uint8)
    sent = [plain(ROS2.types, number, rgb, "rgb8") for number, rgb in enumerate(large)]
    bag = ros2_bag(tmp_path / "walk", {"/image": sent}, mcap=mcap)
    file = next(bag.glob("*.mcap" if mcap else "*.db3"))
    content = bytearray(file.read_bytes())
    start = int(part * len(content))
    content[start : start + 9000] = b"\xff" * len(content[start : start + 9000])
    file.write_bytes(content)
    with pytest.raises((InputError, BadFrameError)) as raised:
        list(open_frames(bag))
    assert "\n" not in str(raised.value)


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(InputError, match="cannot be read as a ROS bag"):
        open_frames(tmp_path / "a.bag")
    nothing = ros2_bag(tmp_path / "empty", {})
    with pytest.raises(InputError, match="has no topic of pictures"):
        open_frames(nothing)
    depth = [plain(ROS2.types, 0, PICTURES[0], "32FC1")]
    with pytest.raises(BadFrameError, match="encoding '32FC1' is none of"):
        list(open_frames(ros2_bag(tmp_path / "depth", {"/image": depth})))
    short = plain(ROS2.types, 0, PICTURES[0], "rgb8")
    short.height = 60
    with pytest.raises(BadFrameError, match="too few"):
        list(open_frames(ros2_bag(tmp_path / "short", {"/image": [short]})))
