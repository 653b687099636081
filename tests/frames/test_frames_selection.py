"""Which frames are taken: against a slow reading of the rule, and for every kind of source alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from frame_clips import number_of, numbered, write_pictures, write_video
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.frames.selection import ROUNDING_S, FrameStamp, Selection


def slowly(places: list[FrameStamp], choice: Selection) -> list[int]:
    """The rule as the module words it, tick by tick."""
    left = [place for place in places if place.index >= choice.start]
    left = [place for place in left if choice.stop is None or place.index < choice.stop]
    if choice.fps is not None and left:
        kept, begin_s = [], left[0].timestamp_s
        for tick in range(int((left[-1].timestamp_s - begin_s) * choice.fps) + 3):
            from_s, to_s = tick / choice.fps - ROUNDING_S, (tick + 1) / choice.fps - ROUNDING_S
            kept += [place for place in left if from_s <= place.timestamp_s - begin_s < to_s][:1]
        left = kept
    return [place.index for place in left][:: choice.stride]


@given(
    steps_ms=st.lists(st.integers(5, 300), max_size=40),
    start=st.integers(0, 10),
    count=st.none() | st.integers(1, 40),
    stride=st.integers(1, 5),
    fps=st.none() | st.sampled_from([1.0, 3.7, 10.0, 29.97, 120.0]),
)
@example(steps_ms=[5] * 10 + [7, 191] + [300] * 6 + [5], start=0, count=None, stride=1, fps=120.0)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_against_the_slow_reading(
    steps_ms: list[int], start: int, count: int | None, stride: int, fps: float | None
) -> None:
    times_ms = np.cumsum([0, *steps_ms])
    # a clock a little fast, so that no time falls on a tick's edge, where rounding alone would decide
    places = [FrameStamp(index, 1.000037e-3 * float(ms) + 1.7e-4) for index, ms in enumerate(times_ms)]
    choice = Selection(start, None if count is None else start + count, stride, fps)
    assert [place.index for place in choice.of(places)] == slowly(places, choice)


@pytest.mark.parametrize(
    ("rate", "fps", "expected"),
    [
        (30, 10, range(0, 60, 3)),
        (30, 15, range(0, 60, 2)),
        (60, 15, range(0, 60, 4)),
        (24, 24, range(60)),
        (10, 30, range(60)),
        (29.97, 29.97, range(60)),
    ],
)
@pytest.mark.parametrize("rounding_s", [1e-6, 1e-3])
@pytest.mark.parametrize("first_s", [0.0, 0.7331])
def test_even_rates_thin_evenly_in_spite_of_rounded_times(
    rate: float, fps: float, expected: range, rounding_s: float, first_s: float
) -> None:
    places = [FrameStamp(index, round((first_s + index / rate) / rounding_s) * rounding_s) for index in range(60)]
    assert [place.index for place in Selection(fps=float(fps)).of(places)] == list(expected)


def test_all_four_at_once_on_every_kind_of_source(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", 40, rate=30)
    write_pictures(tmp_path / "pictures", 40)
    (tmp_path / "pictures" / "timestamps.txt").write_text("".join(f"{number / 30}\n" for number in range(40)))
    in_memory = list(open_frames(video))
    for source in (video, tmp_path / "pictures", in_memory, open_frames(video)):
        chosen = open_frames(source, start=4, stop=37, fps=10, stride=2)
        frames = list(chosen)
        assert [frame.index for frame in frames] == [4, 10, 16, 22, 28, 34]
        assert [number_of(frame.rgb) for frame in frames] == [4, 10, 16, 22, 28, 34]
        assert chosen.length in (6, None)
        assert [frame.index for frame in chosen.frames(11)] == [16, 22, 28, 34]
    assert open_frames(video, start=4, stop=37, fps=10, stride=2).length == 6
    assert open_frames(tmp_path / "pictures", start=4, stop=37, fps=10, stride=2).length == 6


def test_a_clock_that_is_set_back_goes_on_at_the_same_rate() -> None:
    times_s = [*np.arange(0, 2, 0.1), *np.arange(0, 2, 0.1)]  # a stream that begins anew
    places = [FrameStamp(index, float(time_s)) for index, time_s in enumerate(times_s)]
    assert [place.index for place in Selection(fps=2.0).of(places)] == [0, 5, 10, 15, 25, 30, 35]


@pytest.mark.parametrize("start", [0, 3, 39, 40])
@pytest.mark.parametrize("stop", [None, 41, 1000])
@pytest.mark.parametrize("stride", [1, 7])
def test_the_length_is_what_comes(start: int, stop: int | None, stride: int) -> None:
    arrays = np.zeros((40, 2, 3, 3), np.uint8)
    source = open_frames(arrays, start=start, stop=stop, stride=stride)
    if start == 40:
        assert source.length == 0
        with pytest.raises(InputError, match="start=40"):
            list(source)
    else:
        assert source.length == len(list(source))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"start": -1}, "start=-1"),
        ({"start": 5, "stop": 5}, "stop=5.*start=5"),
        ({"stride": 0}, "stride=0"),
        ({"fps": 0.0}, "fps=0.0"),
        ({"fps": float("nan")}, "fps=nan"),
    ],
)
def test_choices_that_make_no_sense(settings: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_frames([numbered(0)], **settings)  # type: ignore[arg-type]
