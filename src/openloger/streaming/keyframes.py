"""Windows of frames that moved: which frames are keyframes, and what the frames between them get.

Neighbouring frames of a slow camera hardly differ, so their relative motion is not observable and they fill a window
without adding to it. With `keyframes="auto"` a window is made of keyframes, frames that moved far enough from the one
before. The frames between them get depth from a pass of the same network without memory, and cameras that agree with
both neighbouring keyframes, so that every frame of the video is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from openloger.geometry import SE3
from openloger.network import Encoded, Network, Window, WindowPrediction
from openloger.network.memory import MEMORY_KINDS
from openloger.shapes import Float32, Float64, Int, Tensor
from openloger.streaming.placement import window_poses
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


def fill_between(
    network: Network, group: tuple[KeyedFrame, ...], keys: Keys, *, most: int, encodings: Encodings
) -> Filled:
    """The keyframes' own values, and those of the frames between them, in order; at most `most` frames in one pass.

    The lens is the keyframes'. Depth is scaled to the keyframes' by the median ratio, interpolated along the gap.
    Cameras are those by the motion from the keyframe before and by the motion to the one after, blended on SE(3) by
    the place in the gap.
    """
    frames = in_order(group)
    place = torch.tensor([0, *(len(keyed.frames) for keyed in group[1:])]).cumsum(0)  # of each keyframe
    if len(frames) == len(group):
        return keys
    parts = [torch.empty(len(frames), *part.shape[1:], dtype=part.dtype) for part in keys.parts]
    for part, own in zip(parts, keys.parts, strict=True):
        part[place] = own
    filled = Filled(*parts)
    for first, last in passes(place, most=most):
        run = frames[int(place[first]) : int(place[last]) + 1]
        prediction = _without_memory(network, run, encodings, intrinsics=keys.intrinsics)
        _write(prediction, place[first : last + 1], filled)
    return filled


def passes(place: Int[Tensor, " key"], *, most: int) -> Iterator[tuple[int, int]]:
    """Runs of keyframes (first, last) that share their ends, span at most `most` frames each, and have gaps in them."""
    first = 0
    while first < len(place) - 1:
        last = first + 1
        while last + 1 < len(place) and place[last + 1] - place[first] < most:
            last += 1
        if place[last] - place[first] > last - first:
            yield first, last
        first = last


def _without_memory(
    network: Network, frames: Sequence[SizedFrame], encodings: Encodings, *, intrinsics: Tensor
) -> WindowPrediction:
    """Frames as a window of their own."""
    images = torch.stack([frame.image for frame in frames])[None].to(network.device)
    encoded, lens = encodings.of(frames), intrinsics.to(network.device)
    window = Window(images, len(frames), 0, encoded=encoded, intrinsics=lens, adjusted=False)
    return network(window, disabled=MEMORY_KINDS)[0]


def _write(prediction: WindowPrediction, place: Int[Tensor, " key"], filled: Filled) -> None:
    """Write the frames between the keyframes `place`, the first and last of which bound `prediction`, into `filled`."""
    start = int(place[0])
    cameras, points = window_poses(prediction), prediction.points_cam[0].float().cpu()
    confidence = prediction.confidence_logit[0].float().cpu()
    for before, after in pairwise(place.tolist()):
        ends = torch.tensor([before, after])
        scale = (filled.points_cam[ends, ..., 2] / points[ends - start, ..., 2]).flatten(1).median(dim=1).values.log()
        for frame in range(before + 1, after):
            along = (frame - before) / (after - before)
            factor = float(torch.lerp(scale[0], scale[1], along).exp())
            filled.points_cam[frame] = points[frame - start] * factor
            filled.confidence_logit[frame] = confidence[frame - start]
            first, second = (
                _carried(filled.world_from_cam[end], cameras[end - start], cameras[frame - start], factor)
                for end in (before, after)
            )
            filled.world_from_cam[frame] = _blend(first, second, along)


def _carried(world_from_end: Tensor, pass_from_end: Tensor, pass_from_cam: Tensor, factor: float) -> SE3:
    """Where a frame stands in the world, by its motion from one keyframe."""
    motion = SE3.from_matrix(pass_from_end).inverse() @ SE3.from_matrix(pass_from_cam)
    return SE3.from_matrix(world_from_end) @ replace(motion, translation=motion.translation * factor)


def _blend(first: SE3, second: SE3, along: float) -> Float64[Tensor, "4 4"]:
    """The way from the first to the second on SE(3), `along` of it."""
    return (first @ SE3.exp((first.inverse() @ second).log() * along)).matrix()
