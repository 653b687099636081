"""Files that are not what their names say: other formats, pipes, devices, sizes that would take all memory."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from frame_clips import write_pictures, write_video
from PIL import EpsImagePlugin, Image

from openloger.errors import BadFrameError, InputError
from openloger.frames import open_frames
from openloger.frames.image_file import open_image
from openloger.frames.video import open_pipe

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n%%EOF\n"
posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")


def png_of_size(path: Path, width: int, height: int) -> Path:
    """A PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows)
    return path


def test_a_picture_that_is_postscript_starts_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **named: started.append(given))
    (tmp_path / "a.png").write_bytes(POSTSCRIPT)
    with pytest.raises(BadFrameError, match=r"a\.png.*PNG"):
        list(open_frames(tmp_path))
    assert not started


def test_a_picture_counts_by_its_content(tmp_path: Path) -> None:
    rgb = np.full((4, 6, 3), 77, np.uint8)
    Image.fromarray(rgb).save(tmp_path / "b.bmp")
    (tmp_path / "b.bmp").rename(tmp_path / "b.png")
    assert np.array_equal(next(iter(open_frames(tmp_path))).rgb, rgb)
    with pytest.raises(InputError, match=r"b\.png.*\(PNG\)"), open_image(tmp_path / "b.png", formats=("PNG",)):
        pass


def test_a_declared_size_beyond_the_limit_is_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = png_of_size(tmp_path / "bomb.png", 20_000, 20_000)
    with pytest.raises(BadFrameError, match=r"400,000,000.*OPENLOGER_MAX_PIXELS=400000000"):
        list(open_frames(bomb))
    monkeypatch.setenv("OPENLOGER_MAX_PIXELS", "100")
    with pytest.raises(BadFrameError, match=r"\b100\b.*OPENLOGER_MAX_PIXELS="):
        list(open_frames(write_pictures(tmp_path / "small", 1)[0]))
    monkeypatch.setenv("OPENLOGER_MAX_PIXELS", "many")
    with pytest.raises(BadFrameError, match="OPENLOGER_MAX_PIXELS='many'"):
        list(open_frames(tmp_path / "small"))


def test_large_pictures_within_the_limit_are_opened_without_a_warning(tmp_path: Path) -> None:
    with open_image(png_of_size(tmp_path / "a.png", 12_000, 11_000)) as image:
        assert image.size == (12_000, 11_000)
    assert Image.MAX_IMAGE_PIXELS is not None  # Pillow's own is as it was, for others


@posix
@pytest.mark.timeout(20)
def test_a_named_pipe_among_pictures_does_not_block(tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    os.mkfifo(tmp_path / "frame1_.png")
    with pytest.raises(BadFrameError, match=r"frame1_\.png.*named pipe"):
        list(open_frames(tmp_path))


@posix
@pytest.mark.timeout(20)
def test_a_list_that_is_a_device_or_a_pipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rgb.txt").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"rgb\.txt.*device"):
        open_frames(tmp_path / "rgb.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(InputError, match=r"pipe\.txt.*named pipe"):
        open_frames(tmp_path / "pipe.txt")
    monkeypatch.setenv("OPENLOGER_MAX_LIST_BYTES", "20")
    (tmp_path / "long.txt").write_text("frame0.png\nframe1.png\nframe2.png\n")
    with pytest.raises(InputError, match=r"\b20\b.*OPENLOGER_MAX_LIST_BYTES"):
        open_frames(tmp_path / "long.txt")


LISTS = {
    "a.m3u8": "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n",
    "a.mp4": "#EXTM3U\n#EXTINF:10,\n/etc/passwd\n",
    "a.ffconcat": "ffconcat version 1.0\nfile clip.mp4\n",
    "a.sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
    "a.mpd": '<?xml version="1.0"?>\n<!-- a -->\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_places_are_no_videos(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "clip.mp4", 3)
    (tmp_path / name).write_text(LISTS[name])
    with pytest.raises(InputError, match="names other files or addresses"):
        open_frames(tmp_path / name)
    with pytest.raises(InputError, match="names other files or addresses"):
        open_pipe(io.BufferedReader(io.BytesIO(LISTS[name].encode())), "standard input")


def test_a_script_that_ffmpeg_would_run_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("[FORMAT]\nformat_name=lavfi\n;FFMETADATA1\ntitle=a\n")
    with pytest.raises(InputError, match=r"a\.mp4"):
        open_frames(tmp_path / "a.mp4")


@posix
@pytest.mark.parametrize(
    "name", ["2026-11-28T12:00:00.mp4", "concat:a|b.mp4", "http:", "-clip.mp4", os.fsdecode(b"\xff\xfe.mp4")]
)
def test_a_path_is_a_file_whatever_it_looks_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    clip = write_video(tmp_path / "clip.mp4", 3)
    monkeypatch.chdir(tmp_path)
    clip.rename(name)
    assert len(list(open_frames(name))) == 3


def test_a_video_that_declares_a_size_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    block = b"!\xf9\x04\0\x0a\0\0\0," + struct.pack("<HHHHB", 0, 0, 20_000, 20_000, 0) + b"\x02\x02\x4c\x01\0"
    (tmp_path / "a.gif").write_bytes(
        b"GIF89a" + struct.pack("<HHBBB", 20_000, 20_000, 0x80, 0, 0) + bytes(6) + 3 * block + b";"
    )
    with pytest.raises((InputError, BadFrameError), match="OPENLOGER_MAX_PIXELS"):
        list(open_frames(tmp_path / "a.gif"))


@posix
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["a.zip", "a.bag", "a.mcap", "a.db3", "a.txt", "a.mp4", "folder/a.db3"])
@pytest.mark.parametrize("device", [True, False])
def test_whatever_kind_is_named_it_is_a_file(tmp_path: Path, name: str, device: bool) -> None:
    """An endless device took all memory as a zip file; a named pipe as a bag blocked for ever."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    (path.parent / "metadata.yaml").touch()
    if device:
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    with pytest.raises(InputError, match=r"not a regular file"):
        open_frames(path.parent if "/" in name else path)


def test_a_list_has_a_ceiling_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("a.png\n" * 11)
    monkeypatch.setenv("OPENLOGER_MAX_LIST_LINES", "10")
    with pytest.raises(InputError, match=r"11 lines.*OPENLOGER_MAX_LIST_LINES=11"):
        open_frames(tmp_path / "a.txt")
