"""Pictures that move: GIF, APNG, animated WebP and AVIF, frame by frame, with the times that they hold.

FFmpeg reads GIF, too, but joins the frames that have no delay into one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from openloger.frames.image_file import IMAGE_DAMAGE, frame_count, open_image
from openloger.frames.lazy import CutShortError, LazyFrame, UndecodableError
from openloger.frames.pixels import rgb_of_image
from openloger.frames.selection import FrameStamp, Selection
from openloger.shapes import UInt8

ANIMATED_SUFFIXES = frozenset({".apng", ".avif", ".gif", ".png", ".webp"})
USUAL_STEP_S = 0.1  # of a frame that gives no time of its own, as browsers have it


@dataclass(frozen=True)
class Animation:
    """A picture of several frames; every pass decodes from the start."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        """A frame can be decoded only until the next one is requested."""
        with open_image(self.path) as image:
            time_s = 0.0
            for index in range(frame_count(image)):
                try:
                    image.seek(index)
                    image.load()
                except IMAGE_DAMAGE as error:
                    raise CutShortError(str(error) or type(error).__name__, index=index) from error
                if index >= first:
                    yield LazyFrame(index, time_s, f"frame_{index:06d}", partial(_rgb, image))
                time_s += float(image.info.get("duration") or 0) / 1000 or USUAL_STEP_S

    def outline(self, choice: Selection) -> Iterable[FrameStamp] | None:
        if choice.fps is not None:
            return None  # only decoding gives its times
        with open_image(self.path) as image:
            return [FrameStamp(index) for index in range(frame_count(image))]


def is_animated(path: Path) -> bool:
    """Whether a file is a picture of several frames; False for one that cannot be read."""
    if path.suffix.lower() not in ANIMATED_SUFFIXES:
        return False
    try:
        with open_image(path) as image:
            return frame_count(image) > 1
    except IMAGE_DAMAGE:
        return False


def _rgb(image: Any) -> UInt8[np.ndarray, "height width 3"]:
    try:
        return rgb_of_image(image)
    except IMAGE_DAMAGE as error:
        raise UndecodableError(str(error) or type(error).__name__) from error
