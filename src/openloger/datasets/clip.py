"""Frames of a sequence at one size, ready to be learned from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from openloger.datasets.cut import covering_box, cut_depth, cut_intrinsics, cut_rgb
from openloger.datasets.sequence import Labelled, Sequence
from openloger.errors import InputError
from openloger.shapes import Bool, Float32, Float64, UInt8


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """Some frames of one video with their truth, all of one size."""

    name: str
    rgb: UInt8[np.ndarray, "frame height width 3"]
    depth: Float32[np.ndarray, "frame height width"]  # along z, world units; 0 where there is none
    valid: Bool[np.ndarray, "frame height width"]
    intrinsics: Float64[np.ndarray, "frame 3 3"]  # pixels
    world_from_cam: Float64[np.ndarray, "frame 4 4"]


def read_clip(sequence: Sequence, indices: Iterable[int], *, size: tuple[int, int]) -> LabelledClip:
    """The frames of these numbers, cut to the aspect of `size` = (height, width) around their middle, and resized.

    A pixel's depth is the one known nearest to its middle, not a mean over edges, so that sparse depth stays true
    (`cut.cut_depth`).

    Raises InputError for a frame without camera, intrinsics or depth, and IndexError for one that is not there.
    """
    numbers = list(indices)
    parts = [_resized(sequence.name, sequence[number], size) for number in numbers]
    rgb, depth, intrinsics, world_from_cam = (np.stack(part) for part in zip(*parts, strict=True))
    name = f"{sequence.name}[{','.join(map(str, numbers))}]"
    return LabelledClip(name, rgb, depth, depth > 0, intrinsics, world_from_cam)


def _resized(
    name: str, frame: Labelled, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    depth, intrinsics, camera = frame.depth, frame.intrinsics, frame.world_from_cam
    if depth is None or intrinsics is None or camera is None:
        missing = "depth" if depth is None else "intrinsics" if intrinsics is None else "camera"
        raise InputError(f"frame {frame.index} of {name} has no true {missing}; choose frames that have all")
    box = covering_box(frame.rgb.shape[:2], size)
    known = depth if frame.valid is None else np.where(frame.valid, depth, np.float32(0))
    return (
        cut_rgb(frame.rgb, box, size),
        cut_depth(known, box, frame.rgb.shape[:2], size),
        cut_intrinsics(intrinsics, box, size),
        camera,
    )
