"""Which frames form a window: starts at 0, W − O, 2(W − O), …; the first that reaches the video's end is the last.

A source is read exactly one frame further than the window in hand, which is how a last window is known to be the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from openloger.errors import BadFrameError, InputError
from openloger.frames.memory import checked_mask
from openloger.frames.resize import resize_frame
from openloger.network import NetworkConfig
from openloger.shapes import Bool, Float32, Tensor
from openloger.streaming.sizing import network_size
from openloger.streaming.transfer import to_device
from openloger.values import Frame, FrameSource

T = TypeVar("T")


@dataclass(frozen=True)
class FrameWindow(Generic[T]):
    """One window's frames, and what stays in hand for the next: its overlap, and the frame read ahead."""

    frames: tuple[T, ...]
    pending: tuple[T, ...]
    last: bool


def windows(frames: Iterator[T], *, size: int, overlap: int, pending: Sequence[T] = ()) -> Iterator[FrameWindow[T]]:
    """Group frames into windows of `size` that share `overlap`; `pending` is what an interrupted run had in hand."""
    held = list(pending)
    while True:
        for frame in frames:
            held.append(frame)
            if len(held) > size:
                break
        last = len(held) <= size
        if not held:
            return
        now, held = held[:size], [] if last else held[size - overlap :]
        yield FrameWindow(tuple(now), tuple(held), last)
        if last:
            return


@dataclass(frozen=True, eq=False)
class SizedFrame:
    """A frame at the network's size, and the network's view of it."""

    frame: Frame
    given: Float32[Tensor, "3 height width"] | None = None  # where the source gave a view of its own; sRGB in [0, 1]

    @cached_property
    def image(self) -> Float32[Tensor, "3 height width"]:
        """sRGB in [0, 1]; computed when it is first read, as a card makes it of the bytes by itself."""
        return images_of([self.frame])[0] if self.given is None else self.given

    @staticmethod
    def of(frame: Frame) -> SizedFrame:
        """A frame that has the network's size; from here on its picture is grey where its mask hides it."""
        return SizedFrame(frame if frame.mask is None else replace(frame, rgb=frame.seen_rgb))

    @property
    def used(self) -> Bool[Tensor, "height width"] | None:
        """What the mask leaves; None: all."""
        return None if self.frame.mask is None else torch.from_numpy(np.ascontiguousarray(self.frame.mask))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels"""
        return self.frame.rgb.shape[0], self.frame.rgb.shape[1]


def images_of(frames: Sequence[Frame], device: torch.device | str = "cpu") -> Float32[Tensor, "frame 3 height width"]:
    """sRGB in [0, 1] of frames of one size, on a device; to a card go bytes, without the host waiting for them."""
    rgb = torch.stack([torch.from_numpy(np.ascontiguousarray(frame.rgb)) for frame in frames])
    return to_device(rgb, device).permute(0, 3, 1, 2).contiguous().float() / 255  # as restored ones lie in memory


def sized_frames(
    source: FrameSource | Iterable[Any], config: NetworkConfig, *, size: tuple[int, int] | None, first: int = 0
) -> Iterator[SizedFrame]:
    """The frames of any source with `index` ≥ `first`, sized for the network.

    An item is a Frame, a uint8 array (height, width, 3), or a float tensor (3, height, width) in [0, 1]. Where `size`
    (height, width) is not given, the first frame's size in the source decides (`network_size`).
    Raises BadFrameError for a frame of another size than the first.
    """
    given: tuple[int, int] | None = None
    for index, item in enumerate(source.frames(first) if isinstance(source, FrameSource) else source):
        frame, image = _read(item, index)
        if frame.index < first:
            continue
        own = (frame.rgb.shape[0], frame.rgb.shape[1])
        given = given or own
        if own != given:
            raise BadFrameError(
                f"frame {frame.index} is {own[1]}×{own[0]}, the first was {given[1]}×{given[0]}", index=frame.index
            )
        size = size or network_size(*frame.native_size, config)
        if own != size:
            frame, image = resize_frame(frame, size), None
        yield SizedFrame.of(frame) if image is None else SizedFrame(frame, image)


def _read(item: Any, index: int) -> tuple[Frame, Tensor | None]:
    if isinstance(item, Tensor) and item.is_floating_point():
        if item.ndim != 3 or item.shape[0] != 3:
            raise InputError(f"item {index} is a float tensor {tuple(item.shape)}; it must be (3, height, width)")
        image = item.detach().float().cpu()
        if not bool(((image >= 0) & (image <= 1)).all()):
            raise InputError(f"item {index} is a float tensor with values that are NaN or outside of [0, 1]")
        rgb = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return Frame(rgb, index, float(index), f"{index:06d}"), image
    if isinstance(item, np.ndarray | Tensor):
        rgb = np.asarray(item.detach().cpu() if isinstance(item, Tensor) else item)
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise InputError(f"item {index} is {rgb.dtype} {rgb.shape}; a frame is uint8 (height, width, 3)")
        return Frame(rgb, index, float(index), f"{index:06d}"), None
    if not hasattr(item, "rgb"):
        raise InputError(f"item {index} is a {type(item).__name__}, not a frame; open files with openloger.open_frames")
    source_size, mask = getattr(item, "source_size", None), checked_mask(item, index)
    return Frame(item.rgb, item.index, item.timestamp_s, item.name, source_size, mask), None


def used_pixels(frames: Sequence[SizedFrame]) -> Bool[Tensor, "frame height width"] | None:
    """What their masks leave; None where none of them has one."""
    masks = [sized.used for sized in frames]
    if all(mask is None for mask in masks):
        return None
    everything = torch.ones(frames[0].size, dtype=torch.bool)
    return torch.stack([everything if mask is None else mask for mask in masks])
