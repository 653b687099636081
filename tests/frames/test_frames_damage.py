"""Damaged and cut-off sources: nothing is lost unsaid, and nothing whole is called broken."""

from __future__ import annotations

import logging
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from frame_clips import cut, damage, number_of, packet_places, read, write_pictures, write_video

from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.frames.container import PacketsRead, truncation_reason

CODECS = {
    "h264": ("libx264", "clip.mp4"),
    "hevc": ("libx265", "clip.mp4"),
    "vp9": ("libvpx-vp9", "clip.webm"),
    "mpeg4": ("mpeg4", "clip.mp4"),
    "mkv": ("libx264", "clip.mkv"),
}  # hevc and vp9 lose a frame without a word
STEADY = {"libx264": {"bf": "0", "x264-params": "scenecut=0"}, "libx265": {"x265-params": "bframes=0:log-level=none"}}


@pytest.fixture(params=CODECS)
def broken_in_the_middle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """40 frames, of which frame 17 cannot be decoded."""
    codec, name = CODECS[request.param]
    path = write_video(tmp_path / name, 40, codec=codec, encoder=STEADY.get(codec))
    return damage(path, 17)


def test_stop_gives_the_frames_before_and_names_the_bad_one(broken_in_the_middle: Path) -> None:
    source = open_frames(broken_in_the_middle)
    frames, error = read(source)
    assert [number_of(frame.rgb) for frame in frames] == list(range(17))
    assert error is not None
    assert error.index == 17
    assert "frame 17 (frame_000017) cannot be decoded" in str(error)
    assert "on_bad_frame" in str(error)
    assert [index for index, _ in source.bad_frames] == [17]


def test_skip_leaves_it_out_and_keeps_the_numbers(broken_in_the_middle: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = open_frames(broken_in_the_middle, on_bad_frame="skip")
    with caplog.at_level(logging.WARNING, logger="openloger"):
        frames, error = read(source)
    bad = [index for index, _ in source.bad_frames]
    assert error is None
    assert bad[0] == 17
    assert [frame.index for frame in frames] == [index for index in range(40) if index not in bad]
    assert all(number_of(frame.rgb) == frame.index for frame in frames if not 17 < frame.index < 24)
    assert len(caplog.records) == len(bad)
    assert "frame 17" in caplog.text
    assert "left out" in caplog.text


def test_repeat_puts_the_picture_before_under_its_own_index_and_time(broken_in_the_middle: Path) -> None:
    source = open_frames(broken_in_the_middle, on_bad_frame="repeat")
    frames, error = read(source)
    assert error is None
    assert [frame.index for frame in frames] == list(range(40))
    assert np.array_equal(frames[17].rgb, frames[16].rgb)
    assert frames[17].timestamp_s == pytest.approx(17 / 30, abs=1.1e-3)
    resumed = next(source.frames(17))
    assert resumed.index == 17
    assert np.array_equal(resumed.rgb, frames[16].rgb)


def test_a_bad_frame_that_nobody_chose_is_no_matter(broken_in_the_middle: Path) -> None:
    assert len(read(open_frames(broken_in_the_middle, stop=17))[0]) == 17
    assert read(open_frames(broken_in_the_middle, stop=17))[1] is None


def test_losses_among_b_frames_are_numbered_in_the_order_of_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 40, codec="libx265", encoder={"x265-params": "bframes=3:log-level=none"})
    order = [number for _, _, number in packet_places(path)]
    assert order != sorted(order), "the clip must have B frames"
    unreferenced = order[-1]
    source = open_frames(damage(path, unreferenced), on_bad_frame="skip")
    frames, _ = read(source)
    assert [index for index, _ in source.bad_frames] == [unreferenced]
    assert [number_of(frame.rgb) for frame in frames] == [frame.index for frame in frames]


# --------------------------------------------------------------------------------------------------- ends too early

CUT_SHORT = {
    "mp4": ("libx264", "clip.mp4", {"movflags": "faststart"}, "promises 40 frames and holds"),
    "mkv": ("libx264", "clip.mkv", {}, "promises 1.33 s of video and ends at"),
    "webm": ("libvpx-vp9", "clip.webm", {}, "promises 1.33 s of video and ends at"),
    "avi": ("mjpeg", "clip.avi", {}, "promises 40 frames and holds"),
}


@pytest.mark.parametrize("kind", CUT_SHORT)
@pytest.mark.parametrize("share", [0.5, 0.63, 0.8])
def test_a_video_cut_off_gives_what_it_holds_and_says_so(kind: str, share: float, tmp_path: Path) -> None:
    codec, name, muxer, said = CUT_SHORT[kind]
    encoder = {"strict": "unofficial"} if codec == "mjpeg" else {}
    path = cut(write_video(tmp_path / name, 40, codec=codec, muxer=muxer, encoder=encoder), share)
    source = open_frames(path)
    frames, error = read(source)
    numbers = [number_of(frame.rgb) for frame in frames]
    assert len(numbers) > 5
    assert numbers == sorted(set(numbers))
    assert numbers[:-3] == list(range(len(numbers) - 3))  # the last may follow B frames that were cut off
    assert error is not None
    assert error.index == len(frames)
    assert "the file is cut off: it " + said in str(error)
    assert "the frames before it are kept" in str(error)
    if "holds" in said:  # every whole frame, although the decoder is cut off within the next
        assert f"holds {len(frames)};" in str(error)
    taken = open_frames(path, on_bad_frame="skip")
    assert [frame.index for frame in taken] == [frame.index for frame in frames]
    assert taken.bad_frames == source.bad_frames
    assert len(taken.bad_frames) == 1


def test_a_cut_off_tail_that_nobody_chose_is_no_matter(tmp_path: Path) -> None:
    path = cut(write_video(tmp_path / "clip.mp4", 40, muxer={"movflags": "faststart"}), 0.7)
    frames, error = read(open_frames(path, stop=10))
    assert len(frames) == 10
    assert error is None


def test_repeat_does_not_make_up_a_missing_tail(tmp_path: Path) -> None:
    path = cut(write_video(tmp_path / "clip.mkv", 40), 0.5)
    assert len(read(open_frames(path, on_bad_frame="repeat"))[0]) == len(read(open_frames(path))[0])


@pytest.mark.parametrize("share", [0.4, 0.9, 0.95])
def test_a_video_without_its_whole_index_is_refused_at_once(share: float, tmp_path: Path) -> None:
    path = cut(write_video(tmp_path / "clip.mp4", 20), share)
    with pytest.raises(InputError, match=r"clip\.mp4 .*cut off"):
        open_frames(path)


@pytest.mark.parametrize(
    ("packets", "end_s", "said"),
    [
        (300, 9.0, None),  # all its frames are there: the last one is shown for long
        (290, 10.0, None),  # shown to the end: an edit list took frames out
        (290, 9.97, None),
        (290, 9.0, "promises 300 frames and holds 290"),
    ],
)
def test_a_count_is_believed_only_with_the_time(packets: int, end_s: float, said: str | None) -> None:
    container = SimpleNamespace(format=SimpleNamespace(name="mov,mp4"))
    stream = SimpleNamespace(frames=300, duration=1000, start_time=0, time_base=Fraction(1, 100), average_rate=30)
    broken = truncation_reason(container, stream, PacketsRead(packets=packets, end_s=end_s))
    assert broken is None if said is None else said in str(broken)


@pytest.mark.parametrize("keep_s", [0.5, 1.0])
def test_frames_taken_out_by_an_edit_list_are_not_missed(keep_s: float, tmp_path: Path) -> None:
    """A phone trims a video by its edit list alone: the container still counts the frames that are not shown."""
    path = write_video(tmp_path / "clip.mp4", 40)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4 + 4 + 4  # version and flags, number of entries
    struct.pack_into(">I", data, at, round(1000 * keep_s))  # in movie time: milliseconds
    path.write_bytes(data)
    source = open_frames(path)
    frames, error = read(source)
    assert error is None
    assert source.bad_frames == []
    assert [number_of(frame.rgb) for frame in frames] == list(range(len(frames)))
    assert len(frames) == source.length == pytest.approx(30 * keep_s, abs=1)


@pytest.mark.parametrize(
    "parameters",
    ["scenecut=0:bframes=0", "scenecut=0:bframes=3:b-adapt=0", "open-gop=1:scenecut=0:bframes=3:b-adapt=0"],
)
def test_a_stream_joined_in_the_middle_begins_at_its_first_key_frame(parameters: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.ts", 40, encoder={"x264-params": parameters})
    data = path.read_bytes()
    places = packet_places(path)
    after = places[5][0]
    path.write_bytes(data[: 3 * 188] + data[after - after % 188 :])  # the tables, and what comes after five packets
    source = open_frames(path)
    frames, error = read(source)
    assert error is None
    numbers = [number_of(frame.rgb) for frame in frames]
    assert numbers == list(range(numbers[0], 40))
    assert 12 <= numbers[0] <= 15, "the second group begins there; B frames shown before its key frame have no ground"
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert source.length == len(frames)


# ---------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b""),
        lambda path: cut(path, 0.5),
        lambda path: path.write_bytes(b"GARBAGE" * 40),
        lambda path: path.unlink(),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_a_bad_picture_is_named_and_handled_by_policy(harm: object, suffix: str, tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, 6, suffix=suffix)
    sources = {policy: open_frames(list(paths), on_bad_frame=policy) for policy in ("stop", "repeat", "skip")}
    harm(paths[3])  # type: ignore[operator]
    frames, error = read(sources["stop"])
    assert len(frames) == 3
    assert error is not None
    assert error.index == 3
    assert f"frame3{suffix}" in str(error)
    assert [frame.index for frame in sources["skip"]] == [0, 1, 2, 4, 5]
    repeated = list(sources["repeat"])
    assert [number_of(frame.rgb) for frame in repeated] == [0, 1, 2, 2, 4, 5]
    assert (repeated[3].index, repeated[3].name) == (3, f"frame3{suffix}")
    assert [index for index, _ in sources["repeat"].bad_frames] == [3]


def test_there_is_nothing_to_repeat_before_the_first_good_frame(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, 4)
    paths[0].write_bytes(b"")
    source = open_frames(tmp_path, on_bad_frame="repeat")
    assert [frame.index for frame in source] == [1, 2, 3]
    assert [index for index, _ in source.bad_frames] == [0]


def test_a_source_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    for path in write_pictures(tmp_path, 3):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="none of its 3 frames"):
        list(open_frames(tmp_path, on_bad_frame="skip"))


def test_streams_that_were_joined_lose_no_frame_in_silence(tmp_path: Path) -> None:
    """The end of the first counts as incomplete; its loss was forgotten as the clock began anew."""
    part = write_video(tmp_path / "a.ts", 10, encoder={"bf": "0"}).read_bytes()
    (tmp_path / "b.ts").write_bytes(part + part)
    source = open_frames(tmp_path / "b.ts", on_bad_frame="skip")
    shown = len(list(source))
    assert shown < 20
    assert shown + len(source.bad_frames) == 20
