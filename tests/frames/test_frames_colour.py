"""Colours, pixel shapes and tracks of videos, against the standards' formulas."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from frame_clips import numbered, write_video

from openloger.frames import colour, open_frames
from openloger.frames.colour import square_size
from openloger.frames.times import FrameTimes

COLOUR = np.array((200, 60, 30)) / 255
LUMA = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}


def write_flat(path: Path, yuv: tuple[float, float, float], *, x264: str, size: tuple[int, int] = (64, 64)) -> Path:
    """A video of one colour, given as 8-bit Y′CbCr."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv444p"
        stream.options = {"x264-params": f"qp=1:{x264}"}
        frame = av.VideoFrame(size[1], size[0], "yuv444p")
        for plane, value in zip(frame.planes, yuv, strict=True):
            plane.update(bytes([round(value)]) * plane.buffer_size)
        frame.pts = 0
        container.mux([*stream.encode(frame), *stream.encode()])
    return path


def limited_yuv(rgb: np.ndarray, matrix: str) -> tuple[float, float, float]:
    kr, kb = LUMA[matrix]
    red, green, blue = rgb
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    return 16 + 219 * luma, 128 + 112 * (blue - luma) / (1 - kb), 128 + 112 * (red - luma) / (1 - kr)


@pytest.mark.parametrize(
    ("named", "matrix", "size"),
    [
        ("bt709", "bt709", (64, 64)),
        ("smpte170m", "smpte170m", (64, 64)),
        ("undef", "smpte170m", (576, 720)),
        ("undef", "bt709", (720, 1280)),
    ],
)
def test_the_matrix_is_the_streams_or_by_its_size(
    tmp_path: Path, named: str, matrix: str, size: tuple[int, int]
) -> None:
    path = write_flat(tmp_path / "a.mp4", limited_yuv(COLOUR, matrix), x264=f"colormatrix={named}", size=size)
    rgb = next(iter(open_frames(path))).rgb[20, 20]
    assert np.abs(rgb - 255 * COLOUR).max() <= 2


def test_bt2020_primaries_become_srgbs(tmp_path: Path) -> None:
    grey, green = np.full(3, 0.5), np.array((0.5, 0.7, 0.5))
    for rgb in (grey, green):
        path = write_flat(
            tmp_path / "a.mp4",
            limited_yuv(rgb, "bt2020nc"),
            x264="colormatrix=bt2020nc:colorprim=bt2020:transfer=bt709",
        )
        light = np.clip(colour._BT709_FROM_BT2020 @ rgb**2.4, 0, 1)
        encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        assert np.abs(next(iter(open_frames(path))).rgb[9, 9] - 255 * encoded).max() <= 6


def test_the_curves_have_the_standards_values() -> None:
    # BT.2408, table 1: signals of 203 and 100 cd/m², and of 1,000
    assert colour.pq_nits(np.array([0.5807, 0.5081, 0.7518])) == pytest.approx([203, 100, 1000], rel=2e-3)
    assert colour.pq_code(colour.pq_nits(np.linspace(0, 1, 101))) == pytest.approx(np.linspace(0, 1, 101), abs=1e-6)
    scene = colour.hlg_scene(np.array([0.5, 0.75, 1.0]))
    assert scene == pytest.approx([1 / 12, 0.265, 1.0], abs=1e-4)
    assert 1000 * scene[1] ** 1.2 == pytest.approx(203, abs=1)


def test_the_roll_off_keeps_the_dark_and_reaches_white() -> None:
    nits = np.linspace(0.01, 3000, 5000)
    rolled = colour.roll_off(nits)
    assert (np.diff(rolled) >= -1e-9).all()
    assert rolled[nits < 80] == pytest.approx(nits[nits < 80], rel=1e-6)
    assert rolled[-1] == pytest.approx(203, rel=1e-6)


@pytest.mark.parametrize("curve", [colour.PQ, colour.HLG])
def test_tables_give_what_the_formulas_do(curve: str) -> None:
    rgb = np.random.default_rng(3).integers(0, 65536, (8, 8, 3)).astype(np.uint16)
    given = colour.to_srgb(rgb, curve)
    for code, found in zip(rgb.reshape(-1, 3) / 65535, given.reshape(-1, 3), strict=True):
        if curve == colour.PQ:
            nits = colour.pq_nits(code)
        else:
            scene = colour.hlg_scene(code)
            nits = 1000 * float(scene @ (0.2627, 0.6780, 0.0593)) ** 0.2 * scene
        light = nits / 203 * (colour.roll_off(nits)[nits.argmax()] / nits.max())
        light = np.clip(colour._BT709_FROM_BT2020 @ light, 0, 1)
        wanted = [255 * (12.92 * x if x <= 0.0031308 else 1.055 * math.pow(x, 1 / 2.4) - 0.055) for x in light]
        assert np.abs(np.array(wanted) - found).max() <= 1


@pytest.mark.parametrize(("transfer", "curve"), [("smpte2084", colour.PQ), ("arib-std-b67", colour.HLG)])
def test_hdr_videos_are_converted(tmp_path: Path, transfer: str, curve: str) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx265", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p10le"
        named = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited"
        stream.options = {"x265-params": f"log-level=none:lossless=1:{named}"}
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane, value in zip(frame.planes, (500, 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
        frame.pts = 0
        container.mux([*stream.encode(frame), *stream.encode()])
    wanted = colour.to_srgb(np.full((1, 1, 3), (500 - 64) / 876 * 65535, np.uint16), curve)[0, 0]
    found = next(iter(open_frames(tmp_path / "a.mkv"))).rgb
    assert np.abs(found.astype(int) - wanted).max() <= 2


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 2, stream_settings={"aspect": Fraction(16, 11)})
    assert next(iter(open_frames(path))).rgb.shape == (96, 186, 3)
    assert square_size(96, 128, Fraction(8, 9)) == (108, 128)
    for aspect in (None, Fraction(0), Fraction(1), Fraction(1280, 1281), Fraction(1, 100)):
        assert square_size(96, 128, aspect) == (96, 128)


def test_the_larger_of_two_tracks_is_taken(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for stream, (height, width) in zip(streams, [(48, 64), (96, 128)], strict=True):
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        packets = []
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(numbered(1, stream.height, stream.width), format="rgb24")
            packets += [*stream.encode(frame), *stream.encode()]
        container.mux(packets)
    assert next(iter(open_frames(tmp_path / "a.mkv"))).rgb.shape == (96, 128, 3)


def test_a_transport_stream_starts_at_zero(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", 5)
    assert [frame.timestamp_s for frame in open_frames(path)] == pytest.approx([n / 30 for n in range(5)], abs=1e-3)


def test_times_never_run_backwards(caplog: pytest.LogCaptureFixture) -> None:
    times = FrameTimes(0.1, "a")
    assert [times.next(one) for one in (None, None, 0.0, 0.1)] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    times = FrameTimes(0.1, "a")
    given = [5.0, 5.1, None, 0.0, 0.2, 0.1]
    with caplog.at_level("WARNING", "openloger"):
        assert [times.next(one) for one in given] == pytest.approx([5.0, 5.1, 5.2, 5.3, 5.5, 5.6])
    assert len(caplog.records) == 1
    times = FrameTimes(0.1, "a", from_zero=True)
    assert [times.next(one) for one in (1.4, 1.5)] == pytest.approx([0.0, 0.1])
