"""What is given beside a video: tracks, poses, cameras, masks, corrections, lists of a batch; and ROS bags."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

COUNT = 20  # poses and fixes
MOST_PIXELS = 10_000_000
COLMAP = "# CAMERA_ID MODEL WIDTH HEIGHT PARAMS\n1 OPENCV 64 48 50.5 50.5 32 24 -0.1 0.01 0.001 0.002\n"


def written(name: str, text: str) -> Callable[[Path], list[Path]]:
    """Makes one text file."""

    def make(folder: Path) -> list[Path]:
        (folder / name).write_text(text)
        return [folder / name]

    return make


def gpx() -> str:
    """A track of twenty points."""
    points = "\n".join(
        f'<trkpt lat="{48 + 1e-5 * number:.6f}" lon="11.5"><ele>500</ele><time>2026-05-01T10:00:{number:02d}Z</time>'
        "</trkpt>"
        for number in range(COUNT)
    )
    head = '<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">'
    return f'<?xml version="1.0"?>\n{head}<trk><trkseg>\n{points}\n</trkseg></trk></gpx>\n'


def fixes_csv() -> str:
    """Fixes with times since 1970."""
    rows = (f"{1714557600 + number},{48 + 1e-5 * number:.6f},11.5,500" for number in range(COUNT))
    return "time,latitude,longitude,altitude\n" + "\n".join(rows) + "\n"


def poses_json() -> str:
    """As programs on ARKit write them."""
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 0, 3] = np.arange(COUNT) / 10
    frames = [{"timestamp": number / 30, "transform": pose.tolist()} for number, pose in enumerate(poses)]
    return json.dumps({"frames": frames})


def batch_table() -> str:
    """Three videos with options."""
    return (
        "source,name,stride,meta_place\na.mp4,first,1,kitchen\nb.mp4,second,2,lab\nhttp://host/c.mp4,third,3,street\n"
    )


def use_fixes(folder: Path) -> None:
    """Reads them."""
    from openloger.corrections.gps_files import read_fixes

    fixes = read_fixes(next(folder.iterdir()))
    assert len(fixes) > 0


def use_poses(folder: Path) -> None:
    """Reads them and takes those of some times."""
    from openloger.corrections.pose_files import read_poses

    poses = read_poses(next(folder.iterdir()))
    if poses.time_s is not None:
        poses.at(np.arange(COUNT) / 30)


def use_camera(folder: Path) -> None:
    """Reads it, and undistorts a picture of its size where that is not large."""
    from openloger.frames.lenses import read_camera, undistorted
    from openloger.frames.open import open_frames

    camera = read_camera(next(folder.iterdir()))
    height, width = camera.size or (48, 64)
    if height * width > MOST_PIXELS:
        return
    for frame in undistorted(open_frames([np.zeros((height, width, 3), np.uint8)]), camera):
        assert frame.rgb.ndim == 3


def use_batch(folder: Path) -> None:
    """Lists its videos."""
    from openloger.batch.listing import list_videos

    list_videos([str(next(folder.iterdir()))])


def make_masks(folder: Path) -> list[Path]:
    """Pictures and a mask of each."""
    from frames.frame_clips import write_pictures
    from PIL import Image

    write_pictures(folder / "pictures", 4)
    (folder / "masks").mkdir()
    for picture in sorted((folder / "pictures").iterdir()):
        mask = np.full(np.asarray(Image.open(picture)).shape[:2], 255, np.uint8)
        mask[:10] = 0
        Image.fromarray(mask).save(folder / "masks" / picture.name)
    return sorted((folder / "masks").iterdir())


def use_masks(folder: Path) -> None:
    """Reads the pictures with them."""
    from openloger.frames.masks import Masks, masked
    from openloger.frames.open import open_frames

    for masks in (Masks(per_frame=str(folder / "masks")), Masks(static=str(next((folder / "masks").iterdir())))):
        for frame in masked(open_frames(folder / "pictures"), masks):
            assert frame.mask is not None


def make_bag(*, mcap: bool) -> Callable[[Path], list[Path]]:
    """A bag of ROS 2."""

    def make(folder: Path) -> list[Path]:
        from frames.test_ros_bag import PICTURES, ROS2, plain, ros2_bag

        sent = [plain(ROS2.types, number, rgb, "rgb8") for number, rgb in enumerate(PICTURES)]
        bag = ros2_bag(folder / "bag", {"/camera": sent}, mcap=mcap)
        return [path for path in bag.iterdir() if path.is_file()]

    return make


def use_bag(folder: Path) -> None:
    """Reads it, and passes over pictures that are damaged."""
    from openloger.frames.open import open_frames

    for frame in islice(open_frames(folder / "bag"), COUNT):
        assert frame.rgb.ndim == 3


def make_corrected(folder: Path) -> list[Path]:
    """A recording with a correction along three nodes."""
    import torch
    from campaign.inputs import write_recording

    from openloger.geometry import Sim3
    from openloger.recording import CorrectionStep, add_correction

    write_recording(folder / "walk")
    twists = torch.arange(21, dtype=torch.float64).reshape(3, 7) / 100
    add_correction(folder / "walk", CorrectionStep("gps", (0, 7, 15), Sim3.exp(twists), True, False))
    return [folder / "walk" / "correction.json"]


def use_corrected(folder: Path) -> None:
    """Reads the recording through its correction, whose checksum somebody who wrote it on purpose has right."""
    from openloger.recording import open_recording
    from openloger.recording.lines import sealed

    file = folder / "walk" / "correction.json"
    with contextlib.suppress(ValueError, RecursionError, TypeError):
        value = json.loads(file.read_bytes())
        file.write_text(json.dumps(sealed({name: one for name, one in dict(value).items() if name != "crc32c"})))
    recording = open_recording(folder / "walk")
    _ = (recording.world_from_cam, recording.is_metric, recording.is_upright, recording.origin, recording.depth(0))
