"""Folders, globs, lists, and every kind of still picture."""

from __future__ import annotations

import ntpath
import random
from pathlib import Path

import numpy as np
import pytest
from frame_clips import number_of, numbered, write_pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openloger.errors import BadFrameError, InputError
from openloger.frames import images, open_frames
from openloger.frames.listing import natural_key


def numbers(source: object) -> list[int]:
    return [number_of(frame.rgb) for frame in source]  # type: ignore[attr-defined]


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    write_pictures(tmp_path, 12)
    (tmp_path / "notes.md").write_text("no picture")
    (tmp_path / "._frame0.png").write_bytes(b"what a file manager leaves")
    source = open_frames(tmp_path)
    assert numbers(source) == list(range(12))
    assert source.length == 12
    assert [frame.name for frame in source][:2] == ["frame0.png", "frame1.png"]


def test_passing_over_a_picture_does_not_read_it(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, 9)
    source = open_frames(tmp_path, stride=4)
    for path in paths:
        if path not in (paths[4], paths[8]):
            path.write_bytes(b"")
    assert [frame.index for frame in source.frames(1)] == [4, 8]


@given(number_list=st.lists(st.integers(0, 10**6), unique=True, max_size=20))
@settings(derandomize=True, deadline=None)
def test_natural_order_is_the_order_of_numbers(number_list: list[int]) -> None:
    names = [f"Frame {number} b.png" for number in number_list]
    random.Random(0).shuffle(names)
    assert sorted(names, key=natural_key) == [f"Frame {number} b.png" for number in sorted(number_list)]


def test_natural_order_compares_letters_with_digits() -> None:
    assert sorted(["b1", "a10", "2", "A9", "10", "a"], key=natural_key) == ["2", "10", "a", "A9", "a10", "b1"]


def test_a_glob(tmp_path: Path) -> None:
    write_pictures(tmp_path / "left", 11)
    write_pictures(tmp_path / "right", 2)
    assert numbers(open_frames(str(tmp_path / "left" / "frame*.png"))) == list(range(11))
    both = list(open_frames(str(tmp_path / "**" / "*.png")))
    assert [frame.name for frame in both][9:] == [
        "left/frame9.png",
        "left/frame10.png",
        "right/frame0.png",
        "right/frame1.png",
    ]
    with pytest.raises(InputError, match=r"frame\*\.jpg"):
        open_frames(str(tmp_path / "left" / "frame*.jpg"))


def test_a_folder_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    write_pictures(tmp_path / "take [1]", 3)
    assert numbers(open_frames(tmp_path / "take [1]")) == [0, 1, 2]


def test_one_picture_and_a_list_of_paths(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, 4)
    assert numbers(open_frames(paths[2])) == [2]
    assert numbers(open_frames([paths[3], str(paths[1])])) == [3, 1]


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"empty folder.*pictures"):
        open_frames(tmp_path)


def test_a_recording_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{}")
    (tmp_path / "arrays.zarr").mkdir()
    with pytest.raises(InputError, match=r"is a recording.*openloger view"):
        open_frames(tmp_path)


def test_a_folder_without_pictures_says_where_some_are(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no picture")
    with pytest.raises(InputError, match=r"without pictures.*\.png"):
        open_frames(tmp_path)
    write_pictures(tmp_path / "rgb", 2)
    with pytest.raises(InputError, match=r"give .*/rgb$"):
        open_frames(tmp_path)
    (tmp_path / "rgb.txt").write_text("0.0 rgb/frame0.png\n")
    with pytest.raises(InputError, match=r"give .*/rgb\.txt$"):
        open_frames(tmp_path)


# ------------------------------------------------------------------------------------------------------------- lists


def test_a_tum_list(tmp_path: Path) -> None:
    write_pictures(tmp_path / "rgb", 3)
    (tmp_path / "rgb.txt").write_text(
        "# color images\n# timestamp filename\n\n1305031102.175304 rgb/frame2.png\n"
        "1305031102.211214\trgb/frame0.png\n1305031102.243211 rgb/frame1.png\n"
    )
    frames = list(open_frames(tmp_path / "rgb.txt"))
    assert [number_of(frame.rgb) for frame in frames] == [2, 0, 1]
    assert [frame.timestamp_s for frame in frames] == [1305031102.175304, 1305031102.211214, 1305031102.243211]
    assert frames[0].name == "frame2.png"


def test_times_beside_the_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path, 11)
    times_s = [0.5 + 0.1 * number**1.5 for number in range(11)]
    (tmp_path / "timestamps.txt").write_text("".join(f"{seconds!r}\n" for seconds in times_s))
    for source in (open_frames(tmp_path), open_frames(tmp_path / "timestamps.txt")):
        frames = list(source)
        assert [frame.timestamp_s for frame in frames] == times_s
        assert [number_of(frame.rgb) for frame in frames] == list(range(11))
    assert open_frames(tmp_path).name == str(tmp_path)


def test_a_plain_list_may_have_spaces_and_leave_the_folder(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "my pictures", 3)
    (tmp_path / "lists").mkdir()
    listed = tmp_path / "lists" / "some.lst"
    listed.write_text(f"../my pictures/frame1.png\n{paths[0]}\n", encoding="utf-8-sig")
    source = open_frames(listed)
    assert numbers(source) == [1, 0]
    with pytest.raises(InputError, match=r"fps=5.*some\.lst"):
        list(open_frames(listed, fps=5))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no picture"),
        ("# only a comment\n", "lists no picture"),
        ("0.0 frame0.png\n0.1 frame1.png\n0.1 frame2.png\n", r"line 3: 0\.1 s.*sort"),
        ("0.0 frame0.png\nframe1.png\n", r"line 2: 'frame1\.png'"),
        ("0.0 frame0.png\n0.5\n", r"line 2: '0\.5'"),
        ("0.0\n0.5\n", "2 times.*3 pictures"),
    ],
)
def test_a_list_that_makes_no_sense(text: str, said: str, tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=said):
        open_frames(tmp_path / "list.txt")


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match=r"list\.txt.*text"):
        open_frames(tmp_path / "list.txt")


def test_a_listed_picture_that_is_missing(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    (tmp_path / "list.txt").write_text("frame0.png\nframe1.png\n")
    with pytest.raises(BadFrameError, match=r"frame 1 \(frame1\.png\)") as raised:
        list(open_frames(tmp_path / "list.txt"))
    assert raised.value.index == 1


# --------------------------------------------------------------------------------------------------- kinds of picture


def only(path: Path) -> np.ndarray:
    (frame,) = open_frames(path)
    assert frame.rgb.flags.writeable
    assert frame.rgb.flags.c_contiguous
    return frame.rgb


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    """The eight orientations as EXIF 2.3 words them: where the stored rows and columns begin in what is seen."""
    seen = numbered(41)
    stored = {
        1: seen,
        2: seen[:, ::-1],
        3: seen[::-1, ::-1],
        4: seen[::-1],
        5: seen.swapaxes(0, 1),
        6: np.rot90(seen, 1),
        7: seen[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(seen, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "phone.png", exif=exif)
    assert np.array_equal(only(tmp_path / "phone.png"), seen)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_keep_their_high_byte(suffix: str, tmp_path: Path) -> None:
    samples = (np.arange(60 * 70, dtype=np.uint32).reshape(60, 70) * 15 + 200).astype(np.uint16)
    Image.fromarray(samples).save(tmp_path / f"deep{suffix}")
    rgb = only(tmp_path / f"deep{suffix}")
    assert rgb.max() > 200
    assert np.array_equal(rgb, np.repeat((samples >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_sixteen_bit_colour_goes_the_same_way(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 1 << 16, (20, 30, 3)).astype(np.uint16)
    (tmp_path / "deep.ppm").write_bytes(b"P6 30 20 65535\n" + samples.astype(">u2").tobytes())
    assert np.abs(only(tmp_path / "deep.ppm").astype(int) - (samples >> 8)).max() <= 1


def test_grey_is_repeated(tmp_path: Path) -> None:
    grey = numbered(3)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(only(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, axis=2))


def test_black_and_white(tmp_path: Path) -> None:
    grey = numbered(3)[..., 0]
    Image.fromarray(grey > 127).save(tmp_path / "bits.png")
    assert np.array_equal(only(tmp_path / "bits.png")[..., 0], np.where(grey > 127, 255, 0))


def test_what_is_transparent_shows_black(tmp_path: Path) -> None:
    rgba = np.full((10, 12, 4), 200, np.uint8)
    rgba[..., 3] = np.repeat([0, 51, 255], 4)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    rgb = only(tmp_path / "alpha.png")
    assert rgb[:, 0].tolist() == [[0, 0, 0]] * 10
    assert np.abs(rgb[:, 5].astype(int) - 40).max() <= 1
    assert rgb[:, 11].tolist() == [[200, 200, 200]] * 10


def test_grey_with_alpha_and_a_palette_with_a_hole(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([np.full((4, 4), 90, np.uint8), np.full((4, 4), 255, np.uint8)])).save(
        tmp_path / "la.png"
    )
    assert only(tmp_path / "la.png").tolist() == [[[90, 90, 90]] * 4] * 4
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.save(tmp_path / "palette.png", transparency=0)
    assert only(tmp_path / "palette.png").tolist() == [[[0, 0, 0], [40, 50, 60]]]


def test_cmyk_is_turned_to_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    assert only(tmp_path / "print.jpg").mean(axis=(0, 1)) == pytest.approx((255, 0, 0), abs=6)


def test_samples_without_a_known_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "depth.tif")
    with pytest.raises(BadFrameError, match=r"'F' to 8 or 16 bits"):
        only(tmp_path / "depth.tif")


def test_pictures_of_differing_sizes(tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    Image.fromarray(numbered(1, 48, 64)).save(tmp_path / "frame1.png")
    for policy in ("stop", "skip"):
        with pytest.raises(BadFrameError, match=r"frame 1 \(frame1\.png\).*48×64.*96×128") as raised:
            list(open_frames(tmp_path, on_bad_frame=policy, size=(28, 28)))
        assert raised.value.index == 1


def test_names_have_slashes_on_windows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images.os.path, "relpath", ntpath.relpath)
    monkeypatch.setattr(images.os, "sep", "\\")
    assert images._name_within(Path("walk/left/a.png"), "walk") == "left/a.png"


@pytest.mark.parametrize("line", ["0.{0} {0}.png 0.{0} depth/{0}.png", "0.{0} 1 2 3 0 0 0 1"])
def test_a_list_of_more_columns_is_refused_by_its_first_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(line.format(number) + "\n" for number in range(3)))
    with pytest.raises(InputError, match=r"list\.txt, line 1: there is no file .* two columns"):
        open_frames(tmp_path / "list.txt", on_bad_frame="skip")


def test_a_path_of_a_timed_list_may_hold_blanks_and_numbers(tmp_path: Path) -> None:
    Image.fromarray(numbered(5)).save(tmp_path / "walk 1 a.png")
    (tmp_path / "list.txt").write_text("0.5 walk 1 a.png\n")
    assert [frame.timestamp_s for frame in open_frames(tmp_path / "list.txt")] == [0.5]
