"""Windows of frames that moved: which frames are keyframes, and what the frames between them get.

Neighbouring frames of a slow camera hardly differ, so their relative motion is not observable and they fill a window
without adding to it. With `keyframes="auto"` a window is made of keyframes, frames that moved far enough from the one
before. The frames between them get cameras by their motion against both neighbouring keyframes, and depth that is
carried over from both, so that every frame of the video is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import torch

from openloger.geometry import SE3, unproject
from openloger.network.motion import KeyframePair, MotionMeter, track_between
from openloger.shapes import Bool, Float32, Tensor
from openloger.streaming.windows import SizedFrame, used_pixels
from openloger.values import HIDDEN_LOGIT, PlacedWindow

LEAST_MOTION = 0.035  # flow from one keyframe to the next (`MotionMeter`), as a share of the picture's diagonal
LONGEST_GAP = 8  # frames between two keyframes, at most: it bounds memory, and what a camera that stands still waits


@dataclass(frozen=True)
class KeyedFrame:
    """A keyframe and the frames between the one before it and itself."""

    key: SizedFrame
    between: tuple[SizedFrame, ...] = ()

    @property
    def frames(self) -> tuple[SizedFrame, ...]:
        """All of them, in order."""
        return (*self.between, self.key)


def in_order(group: Sequence[KeyedFrame]) -> tuple[SizedFrame, ...]:
    """All frames of a window from its first keyframe to its last."""
    return (*(keyed.key for keyed in group[:1]), *(frame for keyed in group[1:] for frame in keyed.frames))


Moved = Callable[[SizedFrame], bool]  # whether the next frame has moved far enough from a keyframe
T = TypeVar("T")


def keyed_frames(
    frames: Iterator[SizedFrame],
    meter: Callable[[SizedFrame], Moved] | None,
    *,
    key: SizedFrame | None = None,
    longest: int = LONGEST_GAP,
) -> Iterator[KeyedFrame]:
    """Group frames by keyframe (`key_groups`)."""
    for *between, last in key_groups(frames, meter, key=key, longest=longest):
        yield KeyedFrame(last, tuple(between))


def key_groups(
    frames: Iterator[T],
    meter: Callable[[T], Callable[[T], bool]] | None,
    *,
    key: T | None = None,
    longest: int = LONGEST_GAP,
) -> Iterator[tuple[T, ...]]:
    """Group items by key, the last of its group; the first and the last item are keys, and with `meter` None all are.

    `meter` begins with a key and is given the items after it, in order. `key` is the latest key of a run that is
    continued. A group is given as soon as its key is read, so no item is held back between two of them.
    """
    between: list[T] = []
    moved = meter(key) if meter and key else None
    for frame in frames:
        if moved is None or len(between) >= longest or moved(frame):
            yield (*between, frame)
            moved, between = meter(frame) if meter else None, []
        else:
            between.append(frame)
    if between:
        yield tuple(between)


def motion_meter(key: SizedFrame) -> Moved:
    """Whether the picture has moved by LEAST_MOTION of the diagonal since this keyframe, or is lost (`MotionMeter`)."""
    height, width = key.size
    meter, least = MotionMeter(key.image, key.used), LEAST_MOTION * (height**2 + width**2) ** 0.5
    return lambda frame: meter.measure(frame.image, frame.used) >= least


@torch.inference_mode()
def fill_between(
    keys: PlacedWindow, group: Sequence[KeyedFrame], intrinsics: Float32[Tensor, "3 3"], *, device: torch.device
) -> PlacedWindow:
    """A window of all frames from one of keyframes, seen through the lens `intrinsics`.

    Cameras of the frames between are tracked against both keyframes around them, and their depth and confidence are
    warped from both (`network/motion/between.py`).
    """
    own = (keys.world_from_cam, keys.points_cam, keys.confidence_logit)
    rows: list[tuple[Tensor, ...]] = [tuple(part[:1] for part in own)]
    for number, (before, after) in enumerate(pairwise(group)):
        if after.between:
            rows.append(_gap(keys, (before.key, *after.frames), intrinsics, number=number, device=device))
        rows.append(tuple(part[number + 1 : number + 2] for part in own))
    cameras, points, confidence = (torch.cat(row) for row in zip(*rows, strict=True))
    frames = tuple(sized.frame for sized in in_order(group))
    return replace(keys, frames=frames, world_from_cam=cameras, points_cam=points, confidence_logit=confidence)


def _gap(
    keys: PlacedWindow, frames: Sequence[SizedFrame], intrinsics: Tensor, *, number: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Cameras, points and confidence of the frames between the keyframe `number` and the next, which are the first and
    last of `frames`."""
    both = slice(number, number + 2)
    images = torch.stack([frame.image for frame in frames]).to(device)
    used = used_pixels(frames)
    first, last = (SE3.from_matrix(camera) for camera in keys.world_from_cam[both])
    keyframes = KeyframePair(
        first_from_last=(first.inverse() @ last).to(device, torch.float32),
        depth=keys.points_cam[both, ..., 2].to(device),
        confidence_logit=keys.confidence_logit[both].to(device),
        intrinsics=intrinsics.to(device),
    )
    found = track_between(images, keyframes, None if used is None else used.to(device))
    world_from_cam = first @ found.first_from_cam.to("cpu", torch.float64)
    points = unproject(found.depth, keyframes.intrinsics).cpu()
    shown = _shown(points, used)
    return world_from_cam.matrix(), *hidden_pixels(points, found.confidence_logit.cpu(), shown)


def _shown(points_cam: Tensor, used: Tensor | None) -> Bool[Tensor, "frame height width"] | None:
    """Of the frames between two keyframes: what neither their masks nor those of the keyframes hide."""
    known = points_cam[..., 2] > 0
    if used is not None:
        return known & used[1:-1]
    return None if bool(known.all()) else known


def hidden_pixels(
    points_cam: Float32[Tensor, "frame height width 3"],
    confidence_logit: Float32[Tensor, "frame height width"],
    shown: Bool[Tensor, "frame height width"] | None,
) -> tuple[Float32[Tensor, "frame height width 3"], Float32[Tensor, "frame height width"]]:
    """Points and confidence of a window, as `PlacedWindow` has them where masks hide pixels."""
    if shown is None:
        return points_cam, confidence_logit
    return torch.where(shown[..., None], points_cam, 0.0), torch.where(shown, confidence_logit, HIDDEN_LOGIT)
