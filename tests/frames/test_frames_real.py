"""The two real clips, through the whole of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openloger.frames import open_frames, resized
from openloger.runtime.prefetch import prefetch
from openloger.streaming.sizing import published_size

CLIPS = {"kitchen": (300, 30, (480, 640), (434, 574)), "street": (151, 10, (250, 828), (266, 924))}


@pytest.mark.parametrize("clip", CLIPS)
def test_a_real_clip(clip: str, real_data: Path) -> None:
    count, rate, size, small_size = CLIPS[clip]
    source = open_frames(real_data / clip / "video.mp4")
    assert source.length == count
    small = resized(source, lambda height, width: published_size(height, width, patch=14, max_pixels=255_000))
    begun = [frame for frame in prefetch(small.frames()) if frame.index < 3]
    assert [frame.rgb.shape for frame in begun] == [(*small_size, 3)] * 3
    shapes, times = zip(*((frame.rgb.shape, frame.timestamp_s) for frame in source), strict=True)
    assert set(shapes) == {(*size, 3)}
    assert np.diff(times) == pytest.approx(np.full(count - 1, 1 / rate), abs=1e-4)
    assert source.bad_frames == []  # type: ignore[attr-defined]


def test_the_grey_clip_is_grey(real_data: Path) -> None:
    rgb = next(iter(open_frames(real_data / "street" / "video.mp4"))).rgb.astype(int)
    assert np.abs(rgb - rgb[..., :1]).max() <= 3
