"""Made-up video: `world:FAMILY:SEED?frames=N&size=HEIGHTxWIDTH&fps=F` names a procedural world and how to film it."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from openloger.errors import InputError
from openloger.frames.lazy import LazyFrame
from openloger.frames.selection import FrameStamp, Selection
from openloger.shapes import UInt8

PREFIX = "world:"
FORM = "world:FAMILY:SEED?frames=N&size=HEIGHTxWIDTH&fps=F (what follows ? may be left out)"


@dataclass(frozen=True)
class WorldFrames:
    """The first `frame_count` frames of a world, or all of its endless ones; passing one over costs nothing."""

    name: str
    world: Any  # indexable by frame number; each sample has `rgb`
    fps: float
    frame_count: int | None

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        for index in count(first) if self.frame_count is None else range(first, self.frame_count):
            yield LazyFrame(index, index / self.fps, f"frame_{index:06d}", partial(_rgb, self.world, index))

    def outline(self, choice: Selection) -> Iterable[FrameStamp] | None:
        ends = [end for end in (self.frame_count, choice.stop) if end is not None]
        return (FrameStamp(index, index / self.fps) for index in range(min(ends))) if ends else None


def world_frames(text: str) -> WorldFrames:
    """The source that `text` names; raises InputError where it is not of the form above."""
    from openloger.worlds import World

    found = re.fullmatch(r"world:([^:?]+):(\d+)(?:\?(.*))?", text)
    if found is None:
        raise InputError(f"{text!r} names no world; write {FORM}")
    family, seed, query = found.groups()
    wanted = dict(parse_qsl(query or "", keep_blank_values=True))
    settings: dict[str, Any] = {"fps": 10.0}
    if "size" in wanted:
        height, width = _fitting(text, wanted.pop("size"), r"([1-9]\d*)[x×]([1-9]\d*)")
        settings["size"] = int(height), int(width)
    if "fps" in wanted:
        settings["fps"] = float(_fitting(text, wanted.pop("fps"), r"([1-9]\d*(?:\.\d+)?)")[0])
    frame_count = int(_fitting(text, wanted.pop("frames"), r"([1-9]\d*)")[0]) if "frames" in wanted else None
    if wanted:
        raise InputError(f"{text!r}: a world has no {', '.join(sorted(wanted))}; write {FORM}")
    return WorldFrames(text, World(family, seed=int(seed), **settings), settings["fps"], frame_count)


def _fitting(text: str, value: str, pattern: str) -> tuple[str, ...]:
    found = re.fullmatch(pattern, value)
    if found is None:
        raise InputError(f"{text!r}: {value!r} does not fit; write {FORM}")
    return found.groups()


def _rgb(world: Any, index: int) -> UInt8[np.ndarray, "height width 3"]:
    return world[index].rgb
