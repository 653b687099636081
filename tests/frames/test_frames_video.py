"""Video files: every frame once, in order, upright, with its own time, whatever the container."""

from __future__ import annotations

import gc
import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from frame_clips import number_of, numbered, read, write_video
from hypothesis import given, settings
from hypothesis import strategies as st

from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.frames.container import upright

WHOLE_FILES = {
    "mp4": ("libx264", "clip.mp4", {}),
    "mp4-faststart": ("libx264", "clip.mp4", {"movflags": "faststart"}),
    "mp4-fragments": ("libx264", "clip.mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "mp4-first-fragment-counted": ("libx264", "clip.mp4", {"movflags": "frag_keyframe"}),
    "hevc": ("libx265", "clip.mp4", {}),
    "mkv": ("libx264", "clip.mkv", {}),
    "webm": ("libvpx-vp9", "clip.webm", {}),
    "vp8": ("libvpx", "clip.webm", {}),
    "ts": ("libx264", "clip.ts", {}),
    "avi": ("mpeg4", "clip.avi", {}),
    "flv": ("libx264", "clip.flv", {}),
    "mpg": ("mpeg2video", "clip.mpg", {}),
    "raw-h264": ("libx264", "clip.h264", {}),
    "mjpeg": ("mjpeg", "clip.mjpeg", {}),
}


@pytest.mark.parametrize("kind", WHOLE_FILES)
def test_a_whole_video_gives_every_frame_once_and_no_complaint(kind: str, tmp_path: Path) -> None:
    codec, name, muxer = WHOLE_FILES[kind]
    encoder = {"strict": "unofficial"} if codec == "mjpeg" else {}
    source = open_frames(write_video(tmp_path / name, 40, codec=codec, muxer=muxer, encoder=encoder))
    frames = list(source)
    assert [number_of(frame.rgb) for frame in frames] == list(range(40))
    assert [frame.index for frame in frames] == list(range(40))
    assert source.length == 40
    assert source.bad_frames == []


@pytest.mark.parametrize("turn_deg", [0, 90])
def test_a_decoded_frame_is_let_go_at_once(turn_deg: int, tmp_path: Path) -> None:
    """A frame holds its picture and the decoder's buffers; Python looks for circles only every now and then."""
    path = write_video(tmp_path / "clip.mp4", 40, stream_settings={"rotation_deg": turn_deg})
    gc.disable()
    try:
        before = _decoded_frames()
        assert len(list(open_frames(path))) == 40
        assert _decoded_frames() <= before
    finally:
        gc.enable()


def _decoded_frames() -> int:
    return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "avi"])
def test_times_follow_the_containers_clock(kind: str, tmp_path: Path) -> None:
    codec, name, muxer = WHOLE_FILES[kind]
    times = [frame.timestamp_s for frame in open_frames(write_video(tmp_path / name, 12, codec=codec, muxer=muxer))]
    assert np.diff(times) == pytest.approx(np.full(11, 1 / 30), abs=1.1e-3)  # Matroska rounds to milliseconds


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    pts_ms = [0, 10, 50, 60, 200, 1000]
    path = write_video(tmp_path / "uneven.mkv", 6, pts_ms=pts_ms, encoder={"bf": "0"})
    assert [frame.timestamp_s for frame in open_frames(path)] == pytest.approx([ms / 1000 for ms in pts_ms])


def test_a_gap_in_a_steady_video_is_told_and_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    steady_ms = [40 * number for number in range(20)]
    for name, pts_ms in {"gap": steady_ms[:14] + [ms + 200 for ms in steady_ms[14:]], "steady": steady_ms}.items():
        caplog.clear()
        path = write_video(tmp_path / f"{name}.mkv", 20, pts_ms=pts_ms, encoder={"bf": "0"})
        assert len(list(open_frames(path))) == 20
        said = "0.240 s pass before frame 14 where 0.040 s is usual; some frames may be missing there"
        assert [said in record.getMessage() for record in caplog.records] == ([True] if name == "gap" else [])


def test_text_in_another_encoding_does_no_harm(tmp_path: Path) -> None:
    """A title in Latin-1, as old cameras and editors write it."""
    path = write_video(tmp_path / "clip.mp4", 4)
    data = path.read_bytes()
    assert b"VideoHandler" in data
    path.write_bytes(data.replace(b"VideoHandler", b"Cam\xe9ra \xfc\xfe\xff  "))
    assert len(list(open_frames(path))) == 4


def test_a_run_is_taken_up_at_any_frame(tmp_path: Path) -> None:
    source = open_frames(write_video(tmp_path / "clip.mp4", 20), stride=3)
    whole = list(source)
    for first in (0, 1, 7, 18, 19, 50):
        rest = list(source.frames(first))
        assert [frame.index for frame in rest] == [frame.index for frame in whole if frame.index >= first]
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(rest, whole[len(whole) - len(rest) :], strict=True))


@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270])
def test_the_rotation_tag_is_applied_the_right_way_round(turn_deg: int, tmp_path: Path) -> None:
    """The camera stored its picture turned away by so much; the tag says how far to turn it back, anticlockwise."""
    seen = numbered(37)
    stored = np.rot90(seen, -turn_deg // 90)
    path = write_video(tmp_path / "turned.mp4", [stored] * 3, stream_settings={"rotation_deg": turn_deg})
    for frame in open_frames(path):
        assert frame.rgb.shape == seen.shape
        assert number_of(frame.rgb) == 37
        assert np.abs(frame.rgb.astype(int) - seen).mean() < 6


PHONE_MATRICES = {  # (a, b, c, d) in the file, and what a viewer does with the stored picture
    "upright": ((1, 0, 0, 1), lambda stored: stored),
    "portrait, top at the sensor's right": ((0, 1, -1, 0), lambda stored: np.rot90(stored, -1)),  # clockwise
    "upside down": ((-1, 0, 0, -1), lambda stored: np.rot90(stored, 2)),
    "portrait, top at the sensor's left": ((0, -1, 1, 0), lambda stored: np.rot90(stored, 1)),
    "selfie": ((-1, 0, 0, 1), lambda stored: stored[:, ::-1]),
}


@pytest.mark.parametrize("held", PHONE_MATRICES)
def test_the_matrices_that_phones_write_are_understood(held: str, tmp_path: Path) -> None:
    """The matrix is put into the track header byte by byte, so no library's idea of its sign is trusted."""
    matrix, view = PHONE_MATRICES[held]
    stored = numbered(37)
    path = write_video(tmp_path / "phone.mp4", [stored] * 2)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags; times, number, duration; layer … volume
    a, b, c, d = (65536 * value for value in matrix)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    shown = next(iter(open_frames(path))).rgb
    assert shown.shape == view(stored).shape
    assert np.abs(shown.astype(int) - view(stored)).mean() < 6


QUARTER_TURNS = st.sampled_from(
    [
        (a, b, c, d)
        for a in (-1, 0, 1)
        for b in (-1, 0, 1)
        for c in (-1, 0, 1)
        for d in (-1, 0, 1)
        if abs(a * d - b * c) == 1 and a * b == c * d == 0
    ]
)


@given(matrix=QUARTER_TURNS, height=st.integers(1, 5), width=st.integers(1, 5))
@settings(derandomize=True, deadline=None)
def test_upright_moves_every_pixel_as_the_matrix_says(matrix: tuple[int, ...], height: int, width: int) -> None:
    a, b, c, d = matrix
    stored = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    shown = upright(stored, (65536 * a, 65536 * b, 65536 * c, 65536 * d))
    y, x = np.indices((height, width))
    shown_x, shown_y = a * x + c * y, b * x + d * y
    assert np.array_equal(shown[shown_y - shown_y.min(), shown_x - shown_x.min()], stored)


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_colours_come_back_whatever_the_videos_colour_matrix(matrix: str, tmp_path: Path) -> None:
    import av

    colour = (200, 60, 30)
    path = tmp_path / "colour.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = (64, 48, "yuv420p")
        stream.options = {"colorspace": matrix, "crf": "1"}
        code = {"bt709": 1, "smpte170m": 6}[matrix]
        rgb = np.tile(np.array(colour, np.uint8), (48, 64, 1))
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace={1: 1, 6: 5}[code])
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (shown,) = open_frames(path)
    assert shown.rgb.mean(axis=(0, 1)) == pytest.approx(colour, abs=3)


def test_a_frame_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    """Two raw streams in one file: the size changes in the middle, as when a webcam is switched."""
    first = write_video(tmp_path / "a.h264", 4)
    second = write_video(tmp_path / "b.h264", [numbered(number, 64, 96) for number in range(4)])
    both = tmp_path / "both.h264"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames, error = read(open_frames(both))
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert error is not None
    assert error.index == 4
    assert "frame 4 (frame_000004) is 64×96 (height×width) where those before it are 96×128" in str(error)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to see which files are open")
def test_closing_half_way_closes_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 20)
    frames = open_frames(path).frames()
    next(frames)
    assert _is_open(path)
    frames.close()
    assert not _is_open(path)


def _is_open(path: Path) -> bool:
    return any(entry.resolve() == path.resolve() for entry in Path("/proc/self/fd").iterdir())


# ------------------------------------------------------------------------------------------------- what is no video


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'.*nowhere\.mp4'.*path"):
        open_frames(tmp_path / "nowhere.mp4")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4.*\(0 bytes\)"):
        open_frames(tmp_path / "empty.mp4")


@pytest.mark.parametrize("content", [b"# Notes\n\nwords\n" * 20, bytes(range(256)) * 64, b"x"])
def test_what_is_not_a_video(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"notes\.mp4.*give a video"):
        open_frames(tmp_path / "notes.mp4")


def test_sound_alone(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with pytest.raises(InputError, match=r"sound\.wav.*video stream"):
        open_frames(tmp_path / "sound.wav")


def test_an_absurd_size(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 3)
    for size in ((0, 100), (100, -1), (1_000_000, 1_000_000)):
        with pytest.raises(InputError, match=f"size={size[0]}×{size[1]} .*at least 1×1"):
            open_frames(path, size=size)


def test_a_video_at_another_size(tmp_path: Path) -> None:
    source = open_frames(write_video(tmp_path / "clip.mp4", 6), size=(56, 70))
    frames = list(source)
    assert {frame.rgb.shape for frame in frames} == {(56, 70, 3)}
    assert [number_of(frame.rgb) for frame in frames] == list(range(6))
    assert source.length == 6


def test_one_frame(tmp_path: Path) -> None:
    source = open_frames(write_video(tmp_path / "one.mp4", 1))
    assert source.length == 1
    assert [frame.index for frame in source] == [0]
