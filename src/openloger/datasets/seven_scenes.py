"""7-Scenes (Shotton et al., CVPR 2013).

    chess/seq-01/frame-000000.color.png
    chess/seq-01/frame-000000.depth.png   millimetres; 0 and 65535 stand for none
    chess/seq-01/frame-000000.pose.txt    world_from_cam, 4 × 4; not finite, or missing, where it is not known

The benchmark gives nominal intrinsics, 585 px and the centre, for both cameras of the Kinect; its depth is not
registered to its colour, so the two differ by some pixels.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from openloger.datasets.cameras import camera_matrix, read_pose
from openloger.datasets.files import listed, picture_source, read_depth_png
from openloger.datasets.sequence import DepthKind, FileSequence, Label, Reader, called, found_below
from openloger.datasets.text import require

FPS = 30.0
INTRINSICS = camera_matrix(585.0, 585.0, 320.0, 240.0)


def find(folder: Path) -> list[str]:
    first = "frame-000000.color.png"
    return found_below(folder, f"*/seq-*/{first}", f"seq-*/{first}", first)


def read(folder: Path, name: str) -> FileSequence:
    sequence = require(folder / name, "a sequence of 7-Scenes")
    pictures = listed(sequence, "frame-*.color.png")
    labels = []
    for number, picture in enumerate(pictures):
        stem = picture.name.removesuffix(".color.png")
        depth_path = sequence / f"{stem}.depth.png"
        depth = partial(read_depth_png, depth_path, per_unit=1000.0, none=65535) if depth_path.exists() else None
        labels.append(Label(number / FPS, read_pose(sequence / f"{stem}.pose.txt"), INTRINSICS, depth))
    return FileSequence(called(folder, name), tuple(labels), picture_source(pictures))


SEVEN_SCENES = Reader(
    title="7-Scenes",
    layout="chess/seq-01/{frame-000000.color.png, frame-000000.depth.png, frame-000000.pose.txt}",
    find=find,
    read=read,
    depth=DepthKind(metric=True),
)
