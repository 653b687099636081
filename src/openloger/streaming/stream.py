"""The engine and the only loop: frames in, placed windows out, one window in hand at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch

from openloger.errors import InputError
from openloger.geometry import Sim3, centred_intrinsics, intrinsics_matrix, scale_intrinsics
from openloger.network import HybridMemory, Network, Window
from openloger.network.memory import MEMORY_KINDS
from openloger.runtime.prefetch import prefetch
from openloger.shapes import Tensor
from openloger.streaming.keyframes import (
    Encodings,
    Filled,
    KeyedFrame,
    Keys,
    fill_between,
    in_order,
    keyed_frames,
    moved_far,
)
from openloger.streaming.placement import Anchor, Placement, disagreement, place, window_poses
from openloger.streaming.sizing import check_network_size
from openloger.streaming.state import StreamState
from openloger.streaming.windows import FrameWindow, SizedFrame, sized_frames, windows
from openloger.values import Frame, FrameSource, PlacedWindow

_log = logging.getLogger("openloger")
KEYS_AHEAD = 8  # keyframes, each with the frames before it
LONG_VIDEO = 1000  # frames past which "auto" resets the fast weights, for networks that ask for it
_DISABLED = {"all": (), "ttt": ("swa",), "swa": ("ttt",), "none": MEMORY_KINDS, "fresh": ()}  # by `Stream.memory`


class Stream:
    """Runs a network over a video of any length.

    `window` and `overlap` are in frames and default to what the network is made for, as do `placement` ("auto", or
    one that `Placement.parse` reads) and `reset_every` (windows; 0 for never; None resets every few windows in videos
    past 1,000 frames, or of unknown length, where the network asks for it). `size` is (height, width) in pixels.
    `memory` selects the network's memory layers: "all", "ttt" or "swa" alone, "none" (each window is
    seen without them), or "fresh": all, but every window finds the memory as the first one does; "swa" includes what a
    window takes of the previous one's scale.
    `keyframes` selects the frames of windows: "all", or "auto" for those that moved (`keyframes.py`); None is
    the network's own choice.

    `state` can be read between two windows and set on another Stream: a run cut in two equals the run in one piece.
    """

    def __init__(
        self,
        network: Network,
        *,
        window: int | None = None,
        overlap: int | None = None,
        placement: str = "auto",
        reset_every: int | None = None,
        size: tuple[int, int] | None = None,
        memory: str = "all",
        keyframes: str | None = None,
    ) -> None:
        config = network.config
        self.network = network
        self.window = config.window if window is None else window
        self.overlap = min(config.overlap, self.window - 1) if overlap is None else overlap
        self.placement = Placement.parse(config.placement if placement == "auto" else placement)
        self.reset_every = reset_every
        self.size = size
        self.memory = memory
        self.keyframes = config.keyframes if keyframes is None else keyframes
        _check(self)
        self.state = StreamState()

    def run(
        self,
        source: FrameSource | Iterable[Any],
        *,
        known_intrinsics_px: tuple[float, ...] | None = None,
        observer: Callable[[], AbstractContextManager[object]] = nullcontext,
        ahead: int = KEYS_AHEAD,
    ) -> Iterator[PlacedWindow]:
        """Placed windows, in order; frames that a restored state has seen are skipped by their `index`.

        `source` gives Frames, uint8 arrays (height, width, 3), or float tensors (3, height, width) in [0, 1]. Arrays
        and tensors are numbered as they come, so to continue a run they are given from the video's beginning again.
        `known_intrinsics_px` is the camera's fx, fy, cx, cy in pixels of the source; without it they are fitted.
        Keyframes are chosen in a thread of their own, at most `ahead` of them before the windows; 0: in this thread.
        The context manager that `observer` returns is entered around the work on each window, to time or trace it.
        Raises InputError for an item that is none of these, or of no use, and where there is none at all.
        """
        if self.state.finished:
            return
        if self.state.reset_every is None:
            self.state = replace(self.state, reset_every=self.resets(source))
            _log.info("%s", self.describe())
        state = self.state
        size = self.size or (state.pending[0].key.size if state.pending else None)
        items = sized_frames(source, self.network.config, size=size, first=state.next_index)
        encodings = Encodings(self.network) if self.keyframes == "auto" else None
        keyed = self.keyed(items, encodings, key=state.pending[-1].key if state.pending else None)
        if encodings is not None and ahead > 0:
            keyed = prefetch(keyed, depth=ahead)
        for group in windows(keyed, size=self.window, overlap=self.overlap, pending=state.pending):
            with observer():
                placed = self._step(group, known_intrinsics_px, encodings)
            if encodings is not None and group.pending:
                encodings.drop_before(group.pending[0].key.frame.index)
            yield placed
        if self.state.number == 0:
            raise InputError("the source gives no frames")

    def keyed(
        self, frames: Iterator[SizedFrame], encodings: Encodings | None = None, *, key: SizedFrame | None = None
    ) -> Iterator[KeyedFrame]:
        """Frames grouped by keyframe; `key` is the latest keyframe of a run that is continued."""
        if self.keyframes != "auto":
            return keyed_frames(frames, None, key=key)
        return keyed_frames(frames, moved_far(self.network, encodings or Encodings(self.network)), key=key)

    def resets(self, source: Any) -> int:
        """After how many windows this stream resets its fast weights on `source`; 0 for never."""
        if self.reset_every is not None:
            return self.reset_every
        asked_for = self.network.config.reset_every
        if isinstance(source, FrameSource):
            length = source.length
        else:
            length = len(source) if isinstance(source, Sized) else None
        short = length is not None and length <= LONG_VIDEO
        return 0 if asked_for is None or short or not self.overlap else asked_for

    def describe(self) -> str:
        """The resolved settings, in a line."""
        resets = self.state.reset_every
        resetting = f"fast weights reset every {resets} windows" if resets else "no resets"
        layers = "" if self.memory == "all" else f"; memory {self.memory}"
        frames = "keyframes" if self.keyframes == "auto" else "frames"
        windowing = f"windows of {self.window} {frames} sharing {self.overlap}"
        return f"{windowing}; placement {self.placement}; {resetting}{layers}"

    @torch.inference_mode()
    def _step(
        self, group: FrameWindow[KeyedFrame], known_px: tuple[float, ...] | None, encodings: Encodings | None
    ) -> PlacedWindow:
        state = self.state
        resets = state.number > 0 and bool(state.reset_every) and state.number % (state.reset_every or 1) == 0
        starts_block = resets or state.memory_lost
        window = self._window([keyed.key for keyed in group.frames], encodings, known_px)
        recalled = self._recalled(starts_block=starts_block)
        prediction, memory = self.network(window, recalled, disabled=_DISABLED[self.memory])

        window_from_cam = window_poses(prediction)
        points = prediction.points_cam[0].float().cpu()
        placed = place(self.placement, window_from_cam, points[..., 2], state.anchor, starts_block=starts_block)
        world_from_cam = _rigidly(placed, window_from_cam)
        points = points * placed.scale.float()

        anchor = Anchor(placed, world_from_cam[-self.overlap :].clone(), points[-self.overlap :, ..., 2].clone())
        known = state.anchor and disagreement(state.anchor, world_from_cam, points[..., 2])
        every = Filled(world_from_cam, points, prediction.confidence_logit[0].float().cpu())
        if encodings is not None:
            assert prediction.focal_px is not None, "keyframes are of networks that predict a focal length"
            lens = window.intrinsics
            if lens is None:
                lens = centred_intrinsics(prediction.focal_px[:, 0], size=group.frames[0].key.size)
            keys = Keys(*every.parts, lens.float().cpu())
            every = fill_between(self.network, group.frames, keys, encodings=encodings)
        frames = tuple(picture.frame for picture in in_order(group.frames))
        shared = () if group.last else group.frames[len(group.frames) - self.overlap :]
        final = len(frames) - len(in_order(shared))
        self.state = StreamState(
            number=state.number + 1,
            final_frames=state.final_frames + final,
            memory=memory,
            anchor=anchor if self.overlap else None,
            pending=group.pending,
            finished=group.last,
            reset_every=state.reset_every,
        )
        return PlacedWindow(
            number=state.number,
            frames=frames,
            world_from_cam=every.world_from_cam,
            points_cam=every.points_cam,
            confidence_logit=every.confidence_logit,
            world_from_window=placed,
            metric_scale=None if prediction.metric_scale is None else prediction.metric_scale.item(),
            disagreement=known,
            final_count=final,
            last=group.last,
            known_intrinsics=None if known_px is None else _resized_camera(known_px, frames[0]),
        )

    def _window(
        self, keys: list[SizedFrame], encodings: Encodings | None, known_px: tuple[float, ...] | None
    ) -> Window:
        images = torch.stack([key.image for key in keys])[None].to(self.network.device)
        lens = None
        if known_px is not None and self.network.config.predicts_lens:
            lens = _resized_camera(known_px, keys[0].frame)[None].float().to(self.network.device)
        encoded = encodings.of(keys) if encodings else ()
        return Window(images, self.window, self.overlap, encoded=encoded, intrinsics=lens)

    def _recalled(self, *, starts_block: bool) -> HybridMemory:
        """The memory that the next window starts from."""
        memory = self.state.memory
        if self.memory == "fresh":
            return memory.forget()
        return memory.reset() if starts_block else memory


def _resized_camera(known_px: tuple[float, ...], frame: Frame) -> Tensor:
    """The source's camera matrix, in the pixels of the frame as it was resized."""
    focal, principal = torch.tensor(known_px[:2]).double(), torch.tensor(known_px[2:]).double()
    size = (frame.rgb.shape[0], frame.rgb.shape[1])
    return scale_intrinsics(intrinsics_matrix(focal, principal), from_size=frame.native_size, to_size=size)


def _rigidly(world_from_window: Sim3, window_from_cam: Tensor) -> Tensor:
    """Cameras moved and scaled with their window, their rotations left rotations."""
    return (world_from_window @ Sim3.from_matrix(window_from_cam)).rigid.matrix()


def _check(stream: Stream) -> None:
    if stream.window < 1:
        raise InputError(f"a window of {stream.window} frames is none; at least 1")
    if not 0 <= stream.overlap < stream.window:
        raise InputError(f"overlap {stream.overlap} must be at least 0 and less than the window, {stream.window}")
    if stream.reset_every is not None and stream.reset_every < 0:
        raise InputError(f"reset_every {stream.reset_every} is negative; 0 is never")
    if stream.keyframes not in ("all", "auto"):
        raise InputError(f"keyframes {stream.keyframes!r} is neither all nor auto")
    if stream.keyframes == "auto" and stream.overlap == 0:
        raise InputError("keyframes auto needs frames shared between windows, and overlap is 0; use keyframes all")
    if stream.keyframes == "auto" and stream.network.config.camera != "geometric":
        raise InputError(
            f"keyframes auto: the network {stream.network.config.name} has no flow to choose them by; use keyframes all"
        )
    if stream.memory not in _DISABLED:
        raise InputError(f"memory {stream.memory!r} is none of {', '.join(_DISABLED)}")
    if stream.memory in ("ttt", "swa") and stream.network.config.memory is None:
        raise InputError(f"memory {stream.memory}: the network {stream.network.config.name} has no memory layers")
    if stream.size is not None:
        check_network_size(stream.size, stream.network.config)
    if stream.overlap == 0 and stream.placement.kind != "none":
        raise InputError(f"placement {stream.placement} needs frames shared between windows; overlap is 0")
    if stream.overlap == 0 and stream.reset_every:
        raise InputError(f"reset_every {stream.reset_every} needs frames shared between windows; overlap is 0")
