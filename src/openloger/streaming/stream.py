"""The engine and the only loop: frames in, placed windows out, one window in hand at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from openloger.errors import InputError
from openloger.frames.masks import PREDICTED
from openloger.geometry import Sim3, centred_intrinsics, intrinsics_matrix, scale_intrinsics
from openloger.memory import MEMORY_KINDS
from openloger.network import VideoMemory, Window, WindowNetwork, WindowPrediction
from openloger.network.cores import cores_for
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
from openloger.streaming.transfer import Fetched, fetch, to_device
from openloger.streaming.windows import FrameWindow, SizedFrame, images_of, sized_frames, used_pixels, windows
from openloger.values import Frame, FrameSource, PlacedWindow

_log = logging.getLogger("openloger")
KEYS_AHEAD = 8  # keyframes, each with the frames before it
PADDED_AFTER = 16  # windows: then a last one is brought to the usual length, for at most a sixteenth of the run's time
LENS_WINDOWS = 4  # whose lens is judged, and that of every window whose number is a power of two
LONG_VIDEO = 1000  # frames past which "auto" resets the fast weights, for networks configured so
_NO_NUMBERS = (
    "the network predicts NaN or infinity: its weights are damaged, or too large for the dtype; give other weights "
    "(--weights), or --dtype float32"
)
_DISABLED = {"all": (), "ttt": ("swa",), "swa": ("ttt",), "none": MEMORY_KINDS, "fresh": ()}  # by `Stream.memory`


@dataclass(frozen=True)
class _Launched:
    """A window that was given to the network, which a card may not have come to yet."""

    group: FrameWindow[KeyedFrame]
    number: int
    final_count: int
    starts_block: bool
    prediction: Fetched
    state: StreamState  # after it, but with the anchor of some window before


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
        network: WindowNetwork,
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
        launches_ahead: bool | None = None,
    ) -> Iterator[PlacedWindow]:
        """Placed windows, in order; frames that a restored state has seen are skipped by their `index`.

        `source` gives Frames, uint8 arrays (height, width, 3), or float tensors (3, height, width) in [0, 1]. Arrays
        and tensors are numbered as they come, so to continue a run they are given from the video's beginning again.
        `known_intrinsics_px` is the camera's fx, fy, cx, cy in pixels of the source; without it they are fitted.
        Keyframes are chosen in a thread of their own, at most `ahead` of them before the windows, and the network runs
        in another, while the frames between are filled in here; 0: all in this thread.
        `launches_ahead`: a thread gives the network the next window while this one waits for the results of the one
        before and places them, so that a card never waits for the host; None: on a card, unless `ahead` is 0. The
        result is the same to the bit on a CPU.
        The context manager that `observer` returns is entered around the pass of each window through the network,
        around its placement, and around filling in the frames between its keyframes, each in the thread that does it,
        to time or trace them.
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
        yield from self.run_keyed(
            keyed,
            known_intrinsics_px=known_intrinsics_px,
            observer=observer,
            ahead=ahead,
            launches_ahead=launches_ahead,
        )

    def run_keyed(
        self,
        keyed: Iterator[KeyedFrame],
        *,
        known_intrinsics_px: tuple[float, ...] | None = None,
        observer: Callable[[], AbstractContextManager[object]] = nullcontext,
        ahead: int = KEYS_AHEAD,
        launches_ahead: bool | None = None,
    ) -> Iterator[PlacedWindow]:
        """`run` for frames that are sized and grouped by keyframe already, and follow those that the state has."""
        if self.state.finished:
            return
        threads = self.keyframes == "auto" and ahead > 0
        groups = windows(
            prefetch(keyed, depth=ahead) if threads else keyed,
            size=self.window,
            overlap=self.overlap,
            pending=self.state.pending,
        )
        if launches_ahead is None:
            launches_ahead = ahead > 0 and self.network.device.type == "cuda"
        launched = self._launches(groups, known_intrinsics_px, observer)
        passed = self._placed(
            prefetch(launched, depth=1) if launches_ahead else launched, known_intrinsics_px, observer
        )
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
        return self.resets_in(length_of(source))

    def resets_in(self, length: int | None) -> int:
        """`resets` of a source with so many frames; None: not known."""
        if self.reset_every is not None:
            return self.reset_every
        configured = self.network.config.reset_every
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

    def _launches(
        self,
        groups: Iterator[FrameWindow[KeyedFrame]],
        known_px: tuple[float, ...] | None,
        observer: Callable[[], AbstractContextManager[object]],
    ) -> Generator[_Launched, None, None]:
        """The windows' keyframes through the network, each from the memory that the one before left."""
        state = self.state
        for group in groups:
            with observer():
                one = self._launch(group, state, known_px)
            state = one.state
            yield one

    def _placed(
        self,
        launched: Generator[_Launched, None, None],
        known_px: tuple[float, ...] | None,
        observer: Callable[[], AbstractContextManager[object]],
    ) -> Iterator[_Pass]:
        """Each window where the one before, and the network, put it."""
        anchor = self.state.anchor
        with closing(launched):
            for one in launched:
                with observer():
                    passed = self._place(one, anchor, known_px)
                anchor = passed.state.anchor
                yield passed

    @torch.inference_mode()
    def _launch(
        self, group: FrameWindow[KeyedFrame], state: StreamState, known_px: tuple[float, ...] | None
    ) -> _Launched:
        resets = state.number > 0 and bool(state.reset_every) and state.number % (state.reset_every or 1) == 0
        starts_block = resets or state.memory_lost
        padded = group.last and state.number >= PADDED_AFTER
        window = self._window([keyed.key for keyed in group.frames], known_px, last=group.last, padded=padded)
        if known_px is None and (state.number < LENS_WINDOWS or state.number.bit_count() == 1):
            window = replace(window, judges_lens=True)
        recalled = self._recalled(state.memory, starts_block=starts_block)
        with cores_for(self.network, window.images.shape[-2:]):
            prediction, memory = _predicted(self.network, window, recalled, _DISABLED[self.memory])
        shared = () if group.last else group.frames[len(group.frames) - self.overlap :]
        final = len(in_order(group.frames)) - len(in_order(shared))
        return _Launched(
            group=group,
            number=state.number,
            final_count=final,
            starts_block=starts_block,
            prediction=fetch(
                {
                    "world_from_cam": prediction.world_from_cam[0],
                    "points_cam": prediction.points_cam[0],
                    "confidence_logit": prediction.confidence_logit[0],
                    "metric_scale": prediction.metric_scale,
                    "focal_px": None if prediction.focal_px is None else prediction.focal_px[0, 0],
                    "predicted_focal_px": prediction.predicted_focal_px,
                    "fisheye_error": prediction.fisheye_error,
                    "unmasked": self._unmasked(prediction),
                    "place": self.network.carried_place(state.memory, group.frames[0].key.size),
                }
            ),
            state=replace(
                state,
                number=state.number + 1,
                final_frames=state.final_frames + final,
                memory=memory,
                pending=group.pending,
                finished=group.last,
                memory_lost=False,
            ),
        )

    @torch.inference_mode()
    def _place(self, one: _Launched, before: Anchor | None, known_px: tuple[float, ...] | None) -> _Pass:
        prediction, frames = one.prediction.wait(), one.group.frames
        if not prediction["world_from_cam"].isfinite().all() or prediction["points_cam"][..., 2].isnan().any():
            raise InputError(_NO_NUMBERS)
        window_from_cam = window_poses(prediction["world_from_cam"])
        points, confidence_logit = hidden_pixels(
            prediction["points_cam"],
            prediction["confidence_logit"],
            _shown(used_pixels([keyed.key for keyed in frames]), prediction.get("unmasked")),
        )
        placed = place(self.placement, window_from_cam, points[..., 2], before, starts_block=one.starts_block)
        world_from_cam = _rigidly(placed, window_from_cam)
        points = points * placed.scale.float()

        anchor = Anchor(placed, world_from_cam[-self.overlap :].clone(), points[-self.overlap :, ..., 2].clone())
        known = before and disagreement(before, world_from_cam, points[..., 2])
        scale, predicted = prediction.get("metric_scale"), prediction.get("predicted_focal_px")
        fisheye = prediction.get("fisheye_error")
        return _Pass(
            group=frames,
            focal_px=prediction.get("focal_px"),
            keys=PlacedWindow(
                number=one.number,
                frames=tuple(keyed.key.frame for keyed in frames),
                world_from_cam=world_from_cam,
                points_cam=points,
                confidence_logit=confidence_logit,
                world_from_window=placed,
                metric_scale=None if scale is None else scale.item(),
                disagreement=known,
                final_count=one.final_count,
                last=one.group.last,
                known_intrinsics=None if known_px is None else _resized_camera(known_px, frames[0].key.frame),
                predicted_focal_px=None if predicted is None else predicted.mean().item(),
                fisheye_error=None if fisheye is None or fisheye.isnan() else fisheye.item(),
                place=prediction.get("place"),
            ),
            state=replace(one.state, anchor=anchor if self.overlap else None),
        )

    def _filled(self, one: _Pass, observer: Callable[[], AbstractContextManager[object]]) -> PlacedWindow:
        """The window with the frames between its keyframes."""
        lens = one.keys.known_intrinsics
        if lens is None:
            assert one.focal_px is not None, "keyframes are of networks that predict a focal length"
            lens = centred_intrinsics(one.focal_px, size=one.group[0].key.size)
        with observer():
            return fill_between(one.keys, one.group, lens.float(), device=self.network.device)

    def _window(
        self, keys: list[SizedFrame], known_px: tuple[float, ...] | None, *, last: bool, padded: bool
    ) -> Window:
        device = self.network.device
        if all(key.given is None for key in keys):
            images = images_of([key.frame for key in keys], device)[None]
        else:
            images = to_device(torch.stack([key.image for key in keys])[None], device)
        lens = None
        if known_px is not None and self.network.config.predicts_lens:
            lens = to_device(_resized_camera(known_px, keys[0].frame)[None].float(), device)
        used = used_pixels(keys)
        padding = self.window - len(keys) if padded and used is None and self.network.takes_padding else 0
        if padding:
            images = torch.cat([images, images[:, -1:].expand(-1, padding, -1, -1, -1)], dim=1)
        return Window(
            images,
            self.window,
            self.overlap,
            intrinsics=lens,
            last=last,
            rigid=False,
            used=None if used is None else to_device(used[None], device),
            still_only="moving" in self.mask,
            padding=padding,
        )

    def _unmasked(self, prediction: WindowPrediction) -> Bool[Tensor, "frame height width"] | None:
        """The pixels that are none of what the network is to mask; None where it masks nothing."""
        unmasked = None
        for name in self.mask:
            logit = prediction.sky_logit if name == "sky" else prediction.moving_logit
            assert logit is not None, "checked when the stream was made"
            found = logit[0] <= 0
            unmasked = found if unmasked is None else unmasked & found
        return unmasked

    def _recalled(self, memory: VideoMemory, *, starts_block: bool) -> VideoMemory:
        """The memory that the next window starts from."""
        if self.memory == "fresh":
            return memory.cleared()
        return memory.reset() if starts_block else memory


def _predicted(
    network: WindowNetwork, window: Window, memory: VideoMemory, disabled: Sequence[str]
) -> tuple[WindowPrediction, VideoMemory]:
    try:
        return network(window, memory, disabled=disabled)
    except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]  # matrices not finite
        raise InputError(_NO_NUMBERS) from error


def length_of(source: Any) -> int | None:
    """The number of frames of what `Stream.run` takes, where it is known before they are read."""
    if isinstance(source, FrameSource):
        return source.length
    return len(source) if isinstance(source, Sized) else None


def _shown(used: Tensor | None, unmasked: Tensor | None) -> Tensor | None:
    """The pixels that give points: those that both leave; None: all."""
    if used is None or unmasked is None:
        return used if unmasked is None else unmasked > 0
    return used & (unmasked > 0)


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
