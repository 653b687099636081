"""Windows of frames that moved: which frames are keyframes, and what the frames between them get.

Neighbouring frames of a slow camera hardly differ, so their relative motion is not observable and they fill a window
without adding to it. With `keyframes="auto"` a window is made of keyframes, frames that moved far enough from the one
before. The frames between them get cameras by their motion against both neighbouring keyframes, and depth that is
carried over from both, so that every frame of the video is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from openloger.geometry import SE3, unproject
from openloger.network import Encoded, Network
from openloger.network.motion import Ends, between
from openloger.shapes import Float32, Float64, Tensor
from openloger.streaming.windows import SizedFrame

LEAST_MOTION = 0.04  # flow from one keyframe to the next (`Network.motion_px`), as a share of the picture's diagonal
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


Moved = Callable[[SizedFrame, SizedFrame], bool]  # whether the second frame moved far enough from the first


def keyed_frames(
    frames: Iterator[SizedFrame],
    moved: Moved | None,
    *,
    key: SizedFrame | None = None,
    longest: int = LONGEST_GAP,
) -> Iterator[KeyedFrame]:
    """Group frames by keyframe; the first and the last frame are keyframes, and with `moved` None every frame is.

    `key` is the latest keyframe of a run that is continued. A group is given as soon as its keyframe is read, so no
    frame is held back between two of them.
    """
    between: list[SizedFrame] = []
    for frame in frames:
        if key is None or moved is None or len(between) >= longest or moved(key, frame):
            yield KeyedFrame(frame, tuple(between))
            key, between = frame, []
        else:
            between.append(frame)
    if between:
        yield KeyedFrame(between[-1], tuple(between[:-1]))


class Encodings:
    """The encoder's maps of the frames in hand, each frame encoded once and alone, so that a resumed run, which encodes
    its pending frames again, finds the same bits. The thread that chooses keyframes and the one that runs windows share
    it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._maps: dict[int, Encoded] = {}  # by index of the frame
        self._changing = threading.Lock()

    @torch.inference_mode()
    def of(self, frames: Sequence[SizedFrame]) -> Encoded:
        """The maps of `frames` as one window, (1, frame, …) a level."""
        levels = zip(*(self._of_one(frame) for frame in frames), strict=True)
        return tuple(torch.cat(level, dim=1) for level in levels)

    def drop_before(self, index: int) -> None:
        """Forget frames that come before the one numbered `index`."""
        with self._changing:
            for number in [number for number in self._maps if number < index]:
                del self._maps[number]

    def _of_one(self, frame: SizedFrame) -> Encoded:
        maps = self._maps.get(frame.frame.index)
        if maps is None:
            maps = self._network.encode(frame.image[None, None].to(self._network.device))
            with self._changing:
                self._maps[frame.frame.index] = maps
        return maps


def moved_far(network: Network, encodings: Encodings) -> Moved:
    """Whether the flow between two frames (`Network.motion_px`) is LEAST_MOTION of the diagonal or more."""

    @torch.inference_mode()
    def moved(key: SizedFrame, frame: SizedFrame) -> bool:
        height, width = frame.size
        least = LEAST_MOTION * (height**2 + width**2) ** 0.5
        return network.motion_px(encodings.of([key]), encodings.of([frame])) >= least

    return moved


@dataclass(frozen=True)
class Filled:
    """Every frame of a window, keyframes and those between."""

    world_from_cam: Float64[Tensor, "frame 4 4"]
    points_cam: Float32[Tensor, "frame height width 3"]
    confidence_logit: Float32[Tensor, "frame height width"]

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.world_from_cam, self.points_cam, self.confidence_logit


@dataclass(frozen=True)
class Keys(Filled):
    """The keyframes of a window, and their lens."""

    intrinsics: Float32[Tensor, "1 3 3"]


def fill_between(network: Network, group: tuple[KeyedFrame, ...], keys: Keys, *, encodings: Encodings) -> Filled:
    """The keyframes' own values, and those of the frames between them, in order.

    Cameras of the frames between are tracked against both keyframes around them, and their depth and confidence are
    carried over from both (`network/motion/between.py`).
    """
    parts: list[tuple[Tensor, ...]] = [tuple(part[:1] for part in keys.parts)]
    for number, (before, after) in enumerate(pairwise(group)):
        if after.between:
            parts.append(_gap(network, (before.key, *after.frames), keys, number=number, encodings=encodings))
        parts.append(tuple(part[number + 1 : number + 2] for part in keys.parts))
    return Filled(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _gap(
    network: Network, frames: Sequence[SizedFrame], keys: Keys, *, number: int, encodings: Encodings
) -> tuple[Tensor, ...]:
    """The parts of `Filled` of the frames between two keyframes, which are the first and last of `frames`."""
    device, both = network.device, slice(number, number + 2)
    images = torch.stack([frame.image for frame in frames])[None].to(device)
    first, last = (SE3.from_matrix(camera) for camera in keys.world_from_cam[both])
    ends = Ends(
        first_from_last=(first.inverse() @ last).to(device, torch.float32),
        depth=keys.points_cam[both, ..., 2].to(device),
        confidence_logit=keys.confidence_logit[both].to(device),
        intrinsics=keys.intrinsics[0].to(device),
    )
    found = between(network.flow_features(images, encodings.of(frames)), ends)
    world_from_cam = first @ found.first_from_cam.to("cpu", torch.float64)
    points = unproject(found.depth, ends.intrinsics)
    return world_from_cam.matrix(), points.cpu(), found.confidence_logit.cpu()
