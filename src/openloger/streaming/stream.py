"""The engine and the only loop: frames in, placed windows out, one window in hand at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from openloger.errors import InputError
from openloger.frames.masks import PREDICTED
from openloger.geometry import Sim3, centred_intrinsics, intrinsics_matrix, scale_intrinsics
from openloger.memory import MEMORY_KINDS
from openloger.network import Network, VideoMemory, Window, WindowPrediction
from openloger.network.dense import DenseHeadsConfig
from openloger.runtime.prefetch import prefetch
from openloger.shapes import Bool, Tensor
from openloger.streaming.keyframes import (
    KeyedFrame,
    fill_between,
    hidden_pixels,
    in_order,
    keyed_frames,
    motion_meter,
)
from openloger.streaming.placement import Anchor, Placement, disagreement, place, window_poses
from openloger.streaming.sizing import check_network_size
from openloger.streaming.state import StreamState
from openloger.streaming.windows import FrameWindow, SizedFrame, sized_frames, used_pixels, windows
from openloger.values import Frame, FrameSource, PlacedWindow

_log = logging.getLogger("openloger")
KEYS_AHEAD = 8  # keyframes, each with the frames before it
LONG_VIDEO = 1000  # frames past which "auto" resets the fast weights, for networks configured so
_DISABLED = {"all": (), "ttt": ("swa",), "swa": ("ttt",), "none": MEMORY_KINDS, "fresh": ()}  # by `Stream.memory`


@dataclass(frozen=True)
class _Pass:
    """One pass of the network: a window of keyframes, placed, and the state after it."""

    group: tuple[KeyedFrame, ...]
    keys: PlacedWindow
    focal_px: Tensor | None  # predicted
    state: StreamState


class Stream:
    """Runs a network over a video of any length.

    `window` and `overlap` are in frames and default to what the network is made for, as do `placement` ("auto", or
    one that `Placement.parse` reads) and `reset_every` (windows; 0 for never; None resets every few windows in videos
    past 1,000 frames, or of unknown length, where the network is configured so). `size` is (height, width) in pixels.
    `memory` selects the network's memory layers: "all", "ttt" or "swa" alone, "none" (each window is
    seen without them), or "fresh": all, but every window finds the memory as the first one does; "swa" includes what a
    window takes of the previous one's scale.
    `mask` names what gives no points where the network predicts it: "sky", "moving" (what moves by itself, which has
    then no say in the cameras either), or both. Frames' own masks (`Frame.mask`) are always followed.
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
        mask: Sequence[str] = (),
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
        self.mask = tuple(mask)
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
        Keyframes are chosen in a thread of their own, at most `ahead` of them before the windows, and the network runs
        in another, while the frames between are filled in here; 0: all in this thread.
        The context manager that `observer` returns is entered around the pass of each window, and around filling in the
        frames between its keyframes, each in the thread that does it, to time or trace them.
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
        keyed = self.keyed(items, key=state.pending[-1].key if state.pending else None)
        threads = self.keyframes == "auto" and ahead > 0
        groups = windows(
            prefetch(keyed, depth=ahead) if threads else keyed,
            size=self.window,
            overlap=self.overlap,
            pending=state.pending,
        )
        passed = self._passes(groups, known_intrinsics_px, observer)
        for one in prefetch(passed, depth=1) if threads else passed:
            placed = one.keys if self.keyframes == "all" else self._filled(one, observer)
            self.state = one.state
            yield placed
        if self.state.number == 0:
            raise InputError("the source gives no frames")

    def keyed(self, frames: Iterator[SizedFrame], *, key: SizedFrame | None = None) -> Iterator[KeyedFrame]:
        """Frames grouped by keyframe; `key` is the latest keyframe of a run that is continued."""
        return keyed_frames(frames, motion_meter if self.keyframes == "auto" else None, key=key)

    def resets(self, source: Any) -> int:
        """After how many windows this stream resets its fast weights on `source`; 0 for never."""
        if self.reset_every is not None:
            return self.reset_every
        configured = self.network.config.reset_every
        if isinstance(source, FrameSource):
            length = source.length
        else:
            length = len(source) if isinstance(source, Sized) else None
        short = length is not None and length <= LONG_VIDEO
        return 0 if configured is None or short or not self.overlap else configured

    def describe(self) -> str:
        """The resolved settings, in a line."""
        resets = self.state.reset_every
        resetting = f"fast weights reset every {resets} windows" if resets else "no resets"
        layers = "" if self.memory == "all" else f"; memory {self.memory}"
        frames = "keyframes" if self.keyframes == "auto" else "frames"
        windowing = f"windows of {self.window} {frames} sharing {self.overlap}"
        return f"{windowing}; placement {self.placement}; {resetting}{layers}"

    def _passes(
        self,
        groups: Iterator[FrameWindow[KeyedFrame]],
        known_px: tuple[float, ...] | None,
        observer: Callable[[], AbstractContextManager[object]],
    ) -> Iterator[_Pass]:
        """The windows' keyframes through the network, each from the state that the one before left."""
        state = self.state
        for group in groups:
            with observer():
                one = self._pass(group, state, known_px)
            state = one.state
            yield one

    @torch.inference_mode()
    def _pass(self, group: FrameWindow[KeyedFrame], state: StreamState, known_px: tuple[float, ...] | None) -> _Pass:
        resets = state.number > 0 and bool(state.reset_every) and state.number % (state.reset_every or 1) == 0
        starts_block = resets or state.memory_lost
        window = self._window([keyed.key for keyed in group.frames], known_px)
        recalled = self._recalled(state.memory, starts_block=starts_block)
        prediction, memory = self.network(window, recalled, disabled=_DISABLED[self.memory])

        window_from_cam = window_poses(prediction)
        points, confidence_logit = hidden_pixels(
            prediction.points_cam[0].float().cpu(),
            prediction.confidence_logit[0].float().cpu(),
            self._shown(prediction, used_pixels([keyed.key for keyed in group.frames])),
        )
        placed = place(self.placement, window_from_cam, points[..., 2], state.anchor, starts_block=starts_block)
        world_from_cam = _rigidly(placed, window_from_cam)
        points = points * placed.scale.float()

        anchor = Anchor(placed, world_from_cam[-self.overlap :].clone(), points[-self.overlap :, ..., 2].clone())
        known = state.anchor and disagreement(state.anchor, world_from_cam, points[..., 2])
        predicted = prediction.predicted_focal_px
        shared = () if group.last else group.frames[len(group.frames) - self.overlap :]
        final = len(in_order(group.frames)) - len(in_order(shared))
        return _Pass(
            group=group.frames,
            focal_px=None if prediction.focal_px is None else prediction.focal_px[0, 0].float().cpu(),
            keys=PlacedWindow(
                number=state.number,
                frames=tuple(keyed.key.frame for keyed in group.frames),
                world_from_cam=world_from_cam,
                points_cam=points,
                confidence_logit=confidence_logit,
                world_from_window=placed,
                metric_scale=None if prediction.metric_scale is None else prediction.metric_scale.item(),
                disagreement=known,
                final_count=final,
                last=group.last,
                known_intrinsics=None if known_px is None else _resized_camera(known_px, group.frames[0].key.frame),
                predicted_focal_px=None if predicted is None else predicted.mean().item(),
            ),
            state=StreamState(
                number=state.number + 1,
                final_frames=state.final_frames + final,
                memory=memory,
                anchor=anchor if self.overlap else None,
                pending=group.pending,
                finished=group.last,
                reset_every=state.reset_every,
            ),
        )

    def _filled(self, one: _Pass, observer: Callable[[], AbstractContextManager[object]]) -> PlacedWindow:
        """The window with the frames between its keyframes."""
        lens = one.keys.known_intrinsics
        if lens is None:
            assert one.focal_px is not None, "keyframes are of networks that predict a focal length"
            lens = centred_intrinsics(one.focal_px, size=one.group[0].key.size)
        with observer():
            return fill_between(one.keys, one.group, lens.float(), device=self.network.device)

    def _window(self, keys: list[SizedFrame], known_px: tuple[float, ...] | None) -> Window:
        images = torch.stack([key.image for key in keys])[None].to(self.network.device)
        lens = None
        if known_px is not None and self.network.config.predicts_lens:
            lens = _resized_camera(known_px, keys[0].frame)[None].float().to(self.network.device)
        used = used_pixels(keys)
        return Window(
            images,
            self.window,
            self.overlap,
            intrinsics=lens,
            used=None if used is None else used[None].to(self.network.device),
            still_only="moving" in self.mask,
        )

    def _shown(
        self, prediction: WindowPrediction, used: Bool[Tensor, "frame height width"] | None
    ) -> Bool[Tensor, "frame height width"] | None:
        """The pixels that give points: what the frames' masks leave, but for what the network is to mask."""
        shown = used
        for name in self.mask:
            logit = prediction.sky_logit if name == "sky" else prediction.moving_logit
            assert logit is not None, "checked when the stream was made"
            found = (logit[0] <= 0).cpu()
            shown = found if shown is None else shown & found
        return shown

    def _recalled(self, memory: VideoMemory, *, starts_block: bool) -> VideoMemory:
        """The memory that the next window starts from."""
        if self.memory == "fresh":
            return memory.cleared()
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
    for name in stream.mask:
        if name not in PREDICTED:
            raise InputError(f"mask {name!r} is none of {', '.join(PREDICTED)}")
        if not isinstance(stream.network.config.heads, DenseHeadsConfig):
            raise InputError(
                f"mask {name}: the network {stream.network.config.name} does not predict it; "
                "give masks of the frames (--mask FOLDER), or use the network compact"
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
