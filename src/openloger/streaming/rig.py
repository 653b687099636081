"""A rig: every view is a stream of its own, and their windows are joined into those of one rig.

The streams share the network and run in step, a window of the same instants each. A window's frames are those of all
views, instant by instant. The views' cameras are replaced by the rig's: the motion that they agree on
(`geometry/rig.py`), put where the window before left the first instant that they share. Depth is scaled per view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from openloger.errors import BadFrameError, InputError
from openloger.geometry import SE3, Sim3
from openloger.geometry.rig import RigMotion, SeamPixels, ViewScales, rig_motion
from openloger.geometry.rotations import matrix_product, rotate
from openloger.network import WindowNetwork
from openloger.shapes import Float64, Tensor
from openloger.streaming.keyframes import KeyedFrame, key_groups, motion_meter
from openloger.streaming.placement import Anchor, Placement, disagreement, rigid_from_overlap
from openloger.streaming.state import StreamState, anchor_of, anchor_tensors, read_state, write_state
from openloger.streaming.stream import Stream, length_of
from openloger.streaming.windows import SizedFrame, sized_frames
from openloger.values import Disagreement, Frame, FrameSource, PlacedWindow

LEAST_CONFIDENCE = 0.1  # of pixels that two views are compared by

Instant = tuple[SizedFrame, ...]  # a frame of each view


@dataclass(frozen=True)
class RigState:
    """Everything that the next window needs; its size does not grow with the video."""

    views: tuple[StreamState, ...]
    scales: ViewScales
    anchor: Anchor | None = None  # the frames that the next window has too, of all views

    @property
    def number(self) -> int:
        """Windows done."""
        return self.views[0].number

    @property
    def final_frames(self) -> int:
        """Frames handed out for good, of all views."""
        return sum(view.final_frames for view in self.views)

    @property
    def finished(self) -> bool:
        return self.views[0].finished

    @property
    def next_index(self) -> int:
        """The `index` of the first instant that has not been read."""
        return self.views[0].next_index

    @property
    def pending_frames(self) -> list[Frame]:
        """The keyframes that were read and are not final, of the first view."""
        return self.views[0].pending_frames

    @property
    def memory_bytes(self) -> int:
        """Of the network's memory of all views, on its device."""
        return sum(view.memory_bytes for view in self.views)

    def to_bytes(self, *, made_for: str = "") -> bytes:
        """As `StreamState.to_bytes`."""
        tensors = {f"view.{n}": _as_tensor(view.to_bytes()) for n, view in enumerate(self.views)}
        tensors |= {"scales.log": self.scales.log, "scales.information": self.scales.information}
        return write_state(tensors | anchor_tensors(self.anchor), {"made_for": made_for, "views": len(self.views)})

    @staticmethod
    def from_bytes(content: bytes, *, device: torch.device | str = "cpu", made_for: str = "") -> RigState:
        """As `StreamState.from_bytes`."""

        def build(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> RigState:
            views = [tensors[f"view.{n}"].numpy().tobytes() for n in range(numbers["views"])]
            return RigState(
                tuple(StreamState.from_bytes(view, device=device) for view in views),
                ViewScales(tensors["scales.log"], tensors["scales.information"]),
                anchor_of(tensors),
            )

        return read_state(content, build, made_for=made_for)


class RigStream:
    """Runs a network over a video of which every instant is seen by several views from one centre.

    `rig_from_view` are the views' rotations; `settings` are those of `Stream`, each view's. Windows are in instants and
    have the frames of all views (`PlacedWindow.views`). With keyframes "auto" an instant is a keyframe where half of
    the views have moved. Each view's windows follow `placement` in a world of its own; the rig's are chained rigidly,
    so of a memory that keeps a network's world (placement "none") scale remains, and not the place.

    `state` is as a Stream's. Raises InputError as `Stream`, and where windows share no frame.
    """

    def __init__(self, network: WindowNetwork, *, rig_from_view: Float64[Tensor, "view 3 3"], **settings: Any) -> None:
        self.rig_from_view = rig_from_view
        self.views = tuple(Stream(network, **settings) for _ in rig_from_view)
        if self.overlap == 0:
            raise InputError("a rig's windows are chained by the frames they share, and overlap is 0; give 1 or more")
        self.state = RigState((StreamState(),) * len(self.views), ViewScales.unknown(len(self.views)))
        self._seams: SeamPixels | None = None  # of the frames' size, which the first window tells

    @property
    def network(self) -> WindowNetwork:
        return self.views[0].network

    @property
    def overlap(self) -> int:
        """Instants."""
        return self.views[0].overlap

    @property
    def placement(self) -> Placement:
        return self.views[0].placement

    @property
    def keyframes(self) -> str:
        return self.views[0].keyframes

    @property
    def window(self) -> int:
        """Instants."""
        return self.views[0].window

    @window.setter
    def window(self, window: int) -> None:
        for view in self.views:
            view.window = window

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of each view in pixels."""
        return self.views[0].size

    @size.setter
    def size(self, size: tuple[int, int] | None) -> None:
        for view in self.views:
            view.size = size

    def resets(self, source: Any) -> int:
        """As `Stream.resets`, of each view's frames."""
        length = length_of(source)
        return self.views[0].resets_in(None if length is None else length // len(self.views))

    def run(
        self, source: FrameSource | Iterable[Any], *, known_intrinsics_px: tuple[float, ...] | None
    ) -> Iterator[PlacedWindow]:
        """Placed windows, in order; `source` gives each instant's frames one after the other, in the views' order.

        `known_intrinsics_px` is every view's fx, fy, cx, cy in pixels of the source. One view's window is in the
        network at a time. Raises InputError as `Stream.run`, where the camera is not known, and for an instant of which
        a view is missing.
        """
        if known_intrinsics_px is None:
            raise InputError("a rig's views have a known camera; give their fx, fy, cx, cy")
        if self.state.finished:
            return
        resets = self.resets(source)
        for stream, state in zip(self.views, self.state.views, strict=True):
            stream.state = state if state.reset_every is not None else replace(state, reset_every=resets)
        ahead = _InStep(self._keyed(source), len(self.views))
        runs = [
            stream.run_keyed(ahead.of(view), known_intrinsics_px=known_intrinsics_px, ahead=0)
            for view, stream in enumerate(self.views)
        ]
        for placed in zip(*runs, strict=True):
            joined, scales, anchor = self._joined(placed)
            self.state = RigState(tuple(stream.state for stream in self.views), scales, anchor)
            yield joined

    def _keyed(self, source: Any) -> Iterator[tuple[Instant, ...]]:
        """Instants up to the next keyframe of all views."""
        state = self.state
        pending = [view.pending[-1].key for view in state.views if view.pending]
        size = self.size or (pending[0].size if pending else None)
        items = sized_frames(source, self.network.config, size=size, first=state.next_index)
        meter = _most_moved if self.keyframes == "auto" else None
        return key_groups(_instants(items, len(self.views)), meter, key=tuple(pending) or None)

    def _joined(self, placed: Sequence[PlacedWindow]) -> tuple[PlacedWindow, ViewScales, Anchor | None]:
        first, views, before = placed[0], len(placed), self.state.anchor
        motion = self._motion(placed)
        start = SE3(motion.rotation[0], motion.centre[0])
        rigid = start.inverse() if before is None else rigid_from_overlap(self._rig(before), start)
        cameras = self._cameras(rigid @ SE3(motion.rotation, motion.centre))
        points = torch.empty(len(first.frames), views, *first.points_cam.shape[1:])
        for view, one in enumerate(placed):
            torch.mul(one.points_cam, motion.scale[view].float(), out=points[:, view])
        points, final = points.flatten(0, 1), views * first.final_count
        focal_px = [one.predicted_focal_px for one in placed if one.predicted_focal_px is not None]
        joined = PlacedWindow(
            number=first.number,
            frames=tuple(frame for instant in zip(*(one.frames for one in placed), strict=True) for frame in instant),
            world_from_cam=cameras,
            points_cam=points,
            confidence_logit=torch.stack([one.confidence_logit for one in placed], dim=1).flatten(0, 1),
            world_from_window=_first_views(first, motion, rigid, cameras[0, :3, 3]),
            metric_scale=first.metric_scale,
            disagreement=None if before is None else _disagreement(before, cameras, points[..., 2], views=views),
            final_count=final,
            last=first.last,
            known_intrinsics=first.known_intrinsics,
            predicted_focal_px=sum(focal_px) / len(focal_px) if focal_px else None,
            place=first.place,
            views=views,
        )
        after = Anchor(joined.world_from_window, cameras[final:].clone(), points[final:, ..., 2].clone())
        return joined, motion.known, None if first.last else after

    def _motion(self, placed: Sequence[PlacedWindow]) -> RigMotion:
        lens_px = placed[0].known_intrinsics
        assert lens_px is not None, "checked when the run began"
        if self._seams is None:
            height, width = placed[0].frames[0].rgb.shape[:2]
            self._seams = SeamPixels.of(self.rig_from_view, lens_px, (height, width))
        world_from_cam = torch.stack([one.world_from_cam for one in placed])
        confidence = torch.stack([one.confidence for one in placed])
        sure = torch.where(confidence >= LEAST_CONFIDENCE, confidence, 0.0)
        return rig_motion(
            world_from_cam[..., :3, :3],
            world_from_cam[..., :3, 3],
            self.rig_from_view,
            seams=self._seams.compare(torch.stack([one.depth for one in placed]), sure),
            before=self.state.scales,
        )

    def _rig(self, anchor: Anchor) -> SE3:
        """World from rig at the first instant of an anchor."""
        of_view = SE3.from_matrix(anchor.world_from_cam[0])
        return SE3(matrix_product(of_view.rotation, self.rig_from_view[0].mT), of_view.translation)

    def _cameras(self, world_from_rig: SE3) -> Float64[Tensor, "frame 4 4"]:
        """Of all views, instant by instant; those of one instant have the same centre to the bit."""
        rotation = matrix_product(world_from_rig.rotation[:, None], self.rig_from_view)
        centre = world_from_rig.translation[:, None].expand(-1, len(self.views), 3)
        return SE3(rotation.flatten(0, 1), centre.flatten(0, 1)).matrix()


class _InStep:
    """Gives each view its part of the instants, which are read once; what other views have not come to is kept."""

    def __init__(self, keyed: Iterator[tuple[Instant, ...]], views: int) -> None:
        self._keyed = keyed
        self._waiting: tuple[deque[KeyedFrame], ...] = tuple(deque() for _ in range(views))

    def of(self, view: int) -> Iterator[KeyedFrame]:
        own = self._waiting[view]
        while own or self._read():
            yield own.popleft()

    def _read(self) -> bool:
        instants = next(self._keyed, None)
        if instants is None:
            return False
        for waiting, (*between, key) in zip(self._waiting, zip(*instants, strict=True), strict=True):
            waiting.append(KeyedFrame(key, tuple(between)))
        return True


def _instants(frames: Iterator[SizedFrame], views: int) -> Iterator[Instant]:
    while instant := tuple(islice(frames, views)):
        index = instant[0].frame.index
        if len(instant) < views or any(one.frame.index != index for one in instant):
            raise BadFrameError(f"instant {index} has not a frame of each of the {views} views", index=index)
        yield instant


def _most_moved(keys: Instant) -> Callable[[Instant], bool]:
    """Whether half of the views have moved far enough from their keyframes, or are lost."""
    meters = [motion_meter(key) for key in keys]
    return lambda instant: 2 * sum([moved(frame) for moved, frame in zip(meters, instant, strict=True)]) >= len(keys)


def _first_views(first: PlacedWindow, motion: RigMotion, rigid: SE3, centre: Tensor) -> Sim3:
    """World from window of the first view, whose first camera is now at `centre`."""
    rotation = matrix_product(rigid.rotation, motion.turn[0])
    moved = motion.scale[0] * rotate(rotation, first.world_from_cam[0, :3, 3])
    return Sim3(motion.scale[0], rotation, centre - moved) @ first.world_from_window


def _disagreement(before: Anchor, cameras: Tensor, depth: Tensor, *, views: int) -> Disagreement:
    """Without the first instant, by which the window is placed, where there are more."""
    skipped = 0 if len(before.depth) == views else views - 1
    later = replace(before, world_from_cam=before.world_from_cam[skipped:], depth=before.depth[skipped:])
    return disagreement(later, cameras[skipped:], depth[skipped:])


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
