"""Sources as people have them on disk: telephones' and moving pictures, chapters, zip files, folders in folders."""

from __future__ import annotations

import logging
import shlex
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from frame_clips import number_of, numbered, write_pictures, write_video
from PIL import Image

from openloger.errors import BadFrameError, InputError
from openloger.frames import open_frames


def numbers(source: object) -> list[int]:
    return [number_of(frame.rgb) for frame in source]  # type: ignore[attr-defined]


def test_heic_is_read(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    for number in range(3):
        heif = pillow_heif.from_pillow(Image.fromarray(numbered(number)))
        heif.save(tmp_path / f"IMG_{number}.HEIC", quality=90)
    assert numbers(open_frames(tmp_path)) == [0, 1, 2]


def test_heic_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(BadFrameError, match=r"HEIC.*pip install '.*\[heic\]'"):
        list(open_frames(tmp_path))


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif", ".gif"])
def test_all_frames_of_a_moving_picture_come(tmp_path: Path, suffix: str) -> None:
    shown = [Image.fromarray(numbered(number)) for number in range(5)]
    shown[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=shown[1:], duration=200)
    source = open_frames(tmp_path / f"a{suffix}")
    frames = list(source)
    assert numbers(frames) == list(range(5))
    assert [frame.timestamp_s for frame in frames] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8], abs=1e-3)
    assert source.length == 5
    assert [frame.index for frame in source.frames(3)] == [3, 4]


@pytest.mark.parametrize("delay_ms", [None, 0])
def test_frames_of_a_gif_without_delays_all_come(tmp_path: Path, delay_ms: int | None) -> None:
    """FFmpeg gave some of them; browsers take a tenth of a second."""
    shown = [Image.fromarray(numbered(number)) for number in range(5)]
    delay = {} if delay_ms is None else {"duration": delay_ms}
    shown[0].save(tmp_path / "a.gif", save_all=True, append_images=shown[1:], **delay)
    frames = list(open_frames(tmp_path / "a.gif"))
    assert numbers(frames) == list(range(5))
    assert [frame.timestamp_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_moving_picture_among_still_ones_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shown = [Image.fromarray(numbered(number)) for number in range(3)]
    shown[0].save(tmp_path / "a.webp", save_all=True, append_images=shown[1:])
    with caplog.at_level(logging.WARNING, "openloger"):
        assert len(list(open_frames([tmp_path / "a.webp"] * 2))) == 2
    assert "moves (3 frames); only its first is taken" in caplog.text


def test_what_is_left_out_of_a_folder_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path, 3)
    for name in ("a.DNG", "b.dng", "c.mp4", "notes.txt", ".DS_Store", "Thumbs.db", "._frame0.png"):
        (tmp_path / name).write_bytes(b"-")
    with caplog.at_level(logging.WARNING, "openloger"):
        assert numbers(open_frames(tmp_path)) == [0, 1, 2]
    assert "3 pictures are taken; left out: 2 .dng, 1 .mp4" in caplog.text


def test_chapters_are_joined_in_order(tmp_path: Path) -> None:
    whole = [numbered(number) for number in range(9)]
    for name, part in {"GX010007.MP4": whole[:4], "GX020007.MP4": whole[4:6], "GX030007.MP4": whole[6:]}.items():
        write_video(tmp_path / name.lower(), part, rate=10).rename(tmp_path / name)
    (tmp_path / "GX010007.THM").write_bytes(b"-")
    paths = sorted(tmp_path.glob("*.MP4"))
    for given in (tmp_path, paths, paths[::-1], str(tmp_path / "GX*.MP4")):
        source = open_frames(given)
        frames = list(source)
        assert numbers(frames) == list(range(9))
        assert [frame.timestamp_s for frame in frames] == pytest.approx([n / 10 for n in range(9)], abs=1e-3)
        assert [frame.index for frame in frames] == list(range(9))
        assert source.length == 9
    assert [frame.index for frame in open_frames(tmp_path).frames(5)] == [5, 6, 7, 8]
    write_video(tmp_path / "GX010008.mp4", 2)
    with pytest.raises(InputError, match=r"4 videos.*\(GX010007\.MP4, GX010008\.mp4\)"):
        open_frames(tmp_path)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["GX010007.MP4", "GX040007.MP4"], "GX020007.MP4, GX030007.MP4"),
        (["GH020007.MP4", "GH030007.MP4"], "GH010007.MP4"),
        (["GOPR0007.MP4", "GP020007.MP4"], "GP010007.MP4"),
        (["GP010007.MP4"], "GOPR0007.MP4"),
        (["GOPR0007.MP4", "GP010007.MP4"], None),
    ],
)
def test_a_chapter_that_is_missing_is_said(
    names: list[str], missing: str | None, tmp_path: Path, openloger_log: pytest.LogCaptureFixture
) -> None:
    for name in names:
        write_video(tmp_path / "a.mp4", 2).rename(tmp_path / name)
    assert open_frames(tmp_path).length == 2 * len(names)
    said = [] if missing is None else [f"{tmp_path} lacks {missing} of its recording: the picture jumps there"]
    assert openloger_log.messages == said


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["GX010007.MP4", "GX020007.MP4", "GX030007.MP4"], "GX??0007.MP4"),
        (["GOPR0007.MP4", "GP010007.MP4", "GP020007.MP4"], "G*0007.MP4"),
    ],
)
def test_one_chapter_of_several_is_said_with_how_to_give_all(
    names: list[str], pattern: str, tmp_path: Path, openloger_log: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "[1]"
    folder.mkdir()
    for place, name in enumerate(names):
        write_video(folder / "a.mp4", [numbered(2 * place), numbered(2 * place + 1)]).rename(folder / name)
    for name in ("GX010008.MP4", "GX020007.LRV", "GX020007.THM"):
        (folder / name).write_bytes(b"-")
    assert numbers(open_frames(folder / names[1])) == [2, 3]
    (said,) = openloger_log.messages
    assert said.startswith(f"{folder / names[1]} is chapter 2 of 3 of one recording; all of it is ")
    (given,) = shlex.split(said.partition("all of it is ")[2])
    assert Path(given).name == pattern
    assert numbers(open_frames(given)) == list(range(6))


@pytest.mark.parametrize("name", ["GX010007.MP4", "GX010007 copy.MP4", "walk.MP4"])
def test_nothing_is_said_of_a_video_that_is_whole(
    name: str, tmp_path: Path, openloger_log: pytest.LogCaptureFixture
) -> None:
    for other in (name, "GX010008.MP4", "GX020008.MP4"):
        write_video(tmp_path / "a.mp4", 2).rename(tmp_path / other)
    open_frames(tmp_path / name)
    assert openloger_log.messages == []


def test_a_folder_of_videos(tmp_path: Path) -> None:
    write_video(tmp_path / "b.mp4", 3)
    assert len(list(open_frames(tmp_path))) == 3
    write_video(tmp_path / "a.mp4", 2)
    with pytest.raises(InputError, match=r"2 videos.*\(a\.mp4, b\.mp4\)"):
        open_frames(tmp_path)
    assert numbers(open_frames([tmp_path / "b.mp4", tmp_path / "a.mp4"])) == [0, 1, 2, 0, 1]
    write_pictures(tmp_path / "p", 1)
    with pytest.raises(InputError, match="holds videos and pictures"):
        open_frames([tmp_path / "a.mp4", tmp_path / "p" / "frame0.png"])


def test_a_zip_of_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in write_pictures(tmp_path / "p", 11):
            archive.write(path, f"take/{path.name}")
        archive.writestr("take/clip.mp4", b"-")
        archive.writestr("__MACOSX/take/._frame0.png", b"-")
    with caplog.at_level(logging.WARNING, "openloger"):
        source = open_frames(tmp_path / "a.zip")
    assert "11 pictures are taken; left out: 1 .mp4" in caplog.text
    assert numbers(source) == list(range(11))
    assert source.length == 11
    assert [frame.name for frame in source.frames(9)] == ["take/frame9.png", "take/frame10.png"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_again_in_a_zip_is_one_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The last, as when it is unpacked; each was read as the last, once for every time."""
    first, second, last = write_pictures(tmp_path / "p", 3)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path, name in ((first, "a.png"), (second, "b.png"), (last, "a.png")):
            archive.write(path, name)
    with caplog.at_level(logging.WARNING, "openloger"):
        source = open_frames(tmp_path / "a.zip")
    assert "1 picture is left out, whose name comes again" in caplog.text
    assert numbers(source) == [2, 1]


def test_a_zip_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4" + bytes(40))
    with pytest.raises(InputError, match=r"a\.zip.*cut off"):
        open_frames(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("a.mp4", b"-")
    with pytest.raises(InputError, match=r"b\.zip.*unpack"):
        open_frames(tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10_000_000))  # 10 kB packed
    monkeypatch.setenv("OPENLOGER_MAX_PICTURE_BYTES", "1000000")
    with pytest.raises(BadFrameError, match=r"1,000,000.*OPENLOGER_MAX_PICTURE_BYTES"):
        list(open_frames(tmp_path / "c.zip"))


def test_folders_two_deep_are_named(tmp_path: Path) -> None:
    write_pictures(tmp_path / "mav0" / "cam0" / "data", 1)
    for given, wanted in ((tmp_path / "mav0", "mav0/cam0/data"), (tmp_path / "mav0" / "cam0", "cam0/data")):
        with pytest.raises(InputError, match=f"{wanted}$"):
            open_frames(given)


def test_names_that_are_decimal_numbers_are_ordered_by_value(tmp_path: Path) -> None:
    for number, name in enumerate(["1305031102.05", "1305031102.1", "1305031102.15"]):
        Image.fromarray(numbered(number)).save(tmp_path / f"{name}.png")
    assert numbers(open_frames(tmp_path)) == [0, 1, 2]


@pytest.mark.parametrize(("per_s", "unit"), [(1e9, "nanoseconds"), (1e6, "microseconds"), (1e3, "milliseconds")])
def test_times_that_are_no_seconds_become_seconds(
    tmp_path: Path, per_s: float, unit: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, 3)
    times_s = [1403636579.76 + 0.05 * number for number in range(3)]
    lines = [f"{round(time_s * per_s)} frame{number}.png" for number, time_s in enumerate(times_s)]
    (tmp_path / "rgb.txt").write_text("\n".join(lines))
    with caplog.at_level(logging.INFO, "openloger"):
        found = [frame.timestamp_s for frame in open_frames(tmp_path / "rgb.txt")]
    assert found == pytest.approx(times_s, abs=2e-3)
    assert f"its times are {unit}" in caplog.text


def test_times_of_no_known_unit_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    (tmp_path / "rgb.txt").write_text("".join(f"{33_333 * n} frame{n}.png\n" for n in range(3)))
    with pytest.raises(InputError, match=r"33333 s.*seconds"):
        open_frames(tmp_path / "rgb.txt")


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("grey", [True, False])
def test_samples_of_fewer_bits_in_16_bit_files_are_scaled(tmp_path: Path, bits: int, grey: bool) -> None:
    rgb = numbered(5)
    if grey:
        rgb = np.repeat(rgb[..., :1], 3, axis=2)
    samples = (rgb.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    path = tmp_path / "a.png"
    if grey:
        Image.fromarray(samples[..., 0]).save(path)
    else:
        import av

        with av.open(str(path), "w", format="image2") as container:
            stream = container.add_stream("png", rate=1)
            stream.height, stream.width, stream.pix_fmt = *rgb.shape[:2], "rgb48be"
            frame = av.VideoFrame.from_ndarray(samples, format="rgb48le")
            container.mux([*stream.encode(frame), *stream.encode()])
    found = next(iter(open_frames(path))).rgb
    assert np.abs(found.astype(int) - rgb).max() <= 1


def test_paths_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source, said in {
        "a\0b.mp4": "cannot be a path|there is no file",
        "x" * 5000: "cannot be read|there is no file",
        "https://example.org/a.mp4": "is an address.*openloger live",
        f"file://{tmp_path}/a.mp4": "is no path; leave out the file://",
        str(tmp_path / "frame%04d.jpg"): r"quoted glob \('.*frame\*\.jpg'\)",
    }.items():
        with pytest.raises(InputError, match=said) as raised:
            open_frames(source)
        assert len(str(raised.value)) < 600


def test_a_glob_within_a_folder_whose_name_holds_brackets(tmp_path: Path) -> None:
    write_pictures(tmp_path / "take [1]", 3)
    assert numbers(open_frames(str(tmp_path / "take [1]" / "*.png"))) == [0, 1, 2]


def test_a_list_may_mix_relative_and_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    frames = list(open_frames(["frame0.png", tmp_path / "frame1.png"]))
    assert [frame.name for frame in frames] == ["frame0.png", "frame1.png"]


def test_a_folder_of_pictures_beside_the_pictures_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path, 1)
    (tmp_path / "notes").mkdir()
    for name in ("b", "c"):
        write_pictures(tmp_path / name, 1)
    with caplog.at_level(logging.WARNING, "openloger"):
        assert numbers(open_frames(tmp_path)) == [0]
    assert "1 picture is taken; left out: the pictures in b and 1 more" in caplog.text


@pytest.mark.parametrize(("size", "said"), [((64, 48), True), ((16, 12), False)])
def test_pages_that_are_not_taken_are_said(
    tmp_path: Path, size: tuple[int, int], said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A smaller one is a thumbnail."""
    first = Image.fromarray(numbered(1)).resize((64, 48))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[first.resize(size)] * 2)
    with caplog.at_level(logging.WARNING, "openloger"):
        assert numbers(open_frames(tmp_path)) == [1]
    assert ("holds 3 pictures; only its first is taken" in caplog.text) == said


def test_a_folder_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.CR2").touch()
    with pytest.raises(InputError, match=r"without pictures \(it holds 1 \.cr2\); give one that"):
        open_frames(tmp_path)
    (tmp_path / "day").mkdir()
    write_video(tmp_path / "day" / "a.mp4", 2)
    with pytest.raises(InputError, match=r"give .*day$"):
        open_frames(tmp_path)


def test_a_zip_whose_names_leave_it_is_read_whole(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path, name in zip(write_pictures(tmp_path / "p", 2), ("../../0.png", "1.png"), strict=True):
            archive.write(path, name)
    assert sorted(numbers(open_frames(tmp_path / "a.zip"))) == [0, 1]


@pytest.mark.parametrize(
    "names",
    [
        ("1305031102,05", "1305031102,1", "1305031102,15"),
        ("rgb_1305031102.05", "rgb_1305031102.1", "rgb_1305031102.15"),
        ("-10", "-2", "1"),
        ("-1.5", "-1.25", "0.5"),
        ("a-1", "a-2", "a-10"),
        ("0,45", "0,5", "1,2"),
        ("v1.2", "v1.9", "v1.10"),
    ],
)
def test_what_counts_as_a_decimal_number_in_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        Image.fromarray(numbered(number)).save(tmp_path / f"{name}.png")
    assert numbers(open_frames(tmp_path)) == [0, 1, 2]


def test_whole_numbers_far_apart_may_be_milliseconds(tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    (tmp_path / "rgb.txt").write_text("".join(f"{33 * n} frame{n}.png\n" for n in range(3)))
    with pytest.raises(InputError, match=r"rgb\.txt: its times are whole numbers 33 apart.*divide by 1000"):
        open_frames(tmp_path / "rgb.txt")


@pytest.mark.parametrize(
    "line", ["1,5 frame0.png", "1;frame0.png", "1,frame0.png", "'frame0.png'", "file 'frame0.png'", "frame0.png 1.5"]
)
def test_a_list_of_another_form_is_refused_before_a_network_is_loaded(tmp_path: Path, line: str) -> None:
    write_pictures(tmp_path, 1)
    (tmp_path / "a.txt").write_text(f"{line}\n")
    with pytest.raises(InputError, match=r"line 1.*`seconds path`"):
        open_frames(tmp_path / "a.txt")
    (tmp_path / line).parent.mkdir(exist_ok=True)
    Image.fromarray(numbered(3)).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / line)  # a name may look like that
    assert numbers(open_frames(tmp_path / "a.txt")) == [3]
