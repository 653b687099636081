"""Masks of frames: from pictures and videos, paired by name or number, resized and undistorted with their frames."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from frame_clips import write_video
from PIL import Image

from openloger.errors import InputError
from openloger.frames import open_frames, resize_frame, resized
from openloger.frames.lenses import read_camera, undistorted
from openloger.frames.masks import Masks, masked
from openloger.values import HIDDEN_GREY, Frame

SIZE = (32, 48)


def levels(value, *, size=SIZE):
    return np.full((*size, 3), value, np.uint8)


def save_picture(path, rgb):
    Image.fromarray(rgb).save(path)


def half_mask(column=20, *, size=SIZE):
    """White left of a column."""
    mask = levels(0, size=size)
    mask[:, :column] = 255
    return mask


def pictures(folder, count=4, *, name="walk_{:03d}.png", of=lambda number: levels(200)):
    folder.mkdir()
    for number in range(count):
        save_picture(folder / name.format(number), of(number))
    return folder


def masks_of(source, *given, static=None, **chosen):
    return [frame.mask for frame in masked(open_frames(source, **chosen), Masks.parse(list(map(str, given)), static))]


def test_pictures_are_paired_by_name(tmp_path):
    walk = pictures(tmp_path / "walk")
    folder = pictures(tmp_path / "masks", of=lambda number: half_mask(10 * (number + 1)))
    found = masks_of(walk, folder, start=1)
    assert [mask[0].sum() for mask in found] == [20, 30, 40]


def test_names_may_have_a_further_ending(tmp_path):
    """As COLMAP has them: walk_000.png.png."""
    walk = pictures(tmp_path / "walk")
    folder = pictures(tmp_path / "masks", name="walk_{:03d}.png.png", of=lambda number: half_mask(number + 1))
    assert [mask[0].sum() for mask in masks_of(walk, folder)] == [1, 2, 3, 4]


def test_a_frame_without_its_mask_is_named(tmp_path):
    walk = pictures(tmp_path / "walk")
    folder = pictures(tmp_path / "masks", 3, of=lambda number: half_mask())
    with pytest.raises(InputError, match=r"has no mask of frame 3 \(walk_003.png\); add one"):
        masks_of(walk, folder)


def test_masks_that_are_missing_are_found_before_the_first_frame(tmp_path):
    """Not when the run has come to them; those of frames that are not taken may be missing."""
    walk = pictures(tmp_path / "walk")
    folder = pictures(tmp_path / "masks", 2, of=lambda number: half_mask())
    frames = masked(open_frames(open_frames(walk)), Masks.parse([str(folder)])).frames()
    with pytest.raises(InputError, match=r"frame 2 \(walk_002.png\); add one.*; 2 of 4 frames have none"):
        next(frames)
    assert len(masks_of(walk, folder, stop=2)) == 2


def test_other_names_are_paired_by_number(tmp_path):
    """By the source's own numbers, whichever frames are taken."""
    walk = pictures(tmp_path / "walk")
    folder = pictures(tmp_path / "masks", name="m{}.png", of=lambda number: half_mask(number + 1))
    assert [mask[0].sum() for mask in masks_of(walk, folder, start=1, stride=2)] == [2, 4]


def test_another_number_of_masks_is_refused(tmp_path):
    walk = pictures(tmp_path / "walk")
    folder = pictures(tmp_path / "masks", 5, name="m{}.png", of=lambda number: half_mask())
    with pytest.raises(InputError, match="holds 5 masks and the source 4 frames"):
        masks_of(walk, folder)


def test_a_video_of_masks(tmp_path):
    walk = pictures(tmp_path / "walk", 6)
    write_video(tmp_path / "masks.mp4", [half_mask(8 * (number + 1)) for number in range(6)])
    found = masks_of(walk, tmp_path / "masks.mp4")
    assert [abs(int(mask[0].sum()) - 8 * (number + 1)) <= 1 for number, mask in enumerate(found)] == [True] * 6


def test_one_picture_for_all_and_masks_of_frames_are_joined(tmp_path):
    walk = pictures(tmp_path / "walk", 2)
    folder = pictures(tmp_path / "masks", 2, of=lambda number: half_mask(30))
    save_picture(tmp_path / "bonnet.png", half_mask()[:, ::-1])
    given = half_mask()[..., 0] > 0
    found = masks_of(walk, folder, static=tmp_path / "bonnet.png")
    assert all(mask[0].sum() == 2 and not mask[0, :28].any() for mask in found)  # columns 28 and 29
    frames = [Frame(levels(200), 0, 0.0, "a", mask=given)]
    assert not masks_of(frames, static=tmp_path / "bonnet.png")[0].any()


def test_another_size_is_refused(tmp_path):
    walk = pictures(tmp_path / "walk", 1)
    save_picture(tmp_path / "bonnet.png", half_mask(size=(64, 96)))
    with pytest.raises(InputError, match="is 96×64 pixels and the frame 48×32; bring it to the frame's size"):
        masks_of(walk, static=tmp_path / "bonnet.png")


def grey_of_16_bits(levels):
    return Image.fromarray(levels[..., 0].astype(np.uint16))


@pytest.mark.parametrize(
    "written",
    [
        lambda mask: Image.fromarray(mask // 255),
        lambda mask: Image.fromarray(mask[..., 0] // 255),
        lambda mask: Image.fromarray(mask[..., 0]).convert("1"),
        lambda mask: Image.fromarray(np.stack([*mask.T, mask[..., 0].T]).T),  # transparent where it is black
        lambda mask: grey_of_16_bits(mask // 255),
        lambda mask: grey_of_16_bits(mask * np.uint16(257)),
    ],
)
def test_masks_of_0_and_1_are_those_of_0_and_255(tmp_path, written):
    walk = pictures(tmp_path / "walk", 3)
    for folder, name in (("named", "walk_{:03d}.png"), ("numbered", "m{}.png")):
        (tmp_path / folder).mkdir()
        for number in range(3):
            written(half_mask(10 * number)).save(tmp_path / folder / name.format(number))  # the first hides all
        assert [mask[0].sum() for mask in masks_of(walk, tmp_path / folder)] == [0, 10, 20]
    written(half_mask(7)).save(tmp_path / "static.png")
    assert masks_of(walk, static=tmp_path / "static.png")[0][0].sum() == 7


@pytest.mark.parametrize("level", [2, 16, 127])
@pytest.mark.parametrize("name", ["walk_{:03d}.png", "m{}.png"])
def test_levels_of_which_none_is_white_are_refused(tmp_path, level, name):
    """Never taken as black throughout: neither labels, nor grey."""
    walk = pictures(tmp_path / "walk", 2)
    folder = pictures(tmp_path / "masks", 2, name=name, of=lambda number: half_mask() // 255 * level)
    with pytest.raises(InputError, match=rf"levels up to {level} of 255, of which none is white.* 255, or 1 and all"):
        masks_of(walk, folder)
    with pytest.raises(InputError, match="of which none is white"):
        masks_of(walk, static=next(folder.iterdir()))


def test_a_video_of_grey_masks_is_refused(tmp_path):
    walk = pictures(tmp_path / "walk", 3)
    write_video(tmp_path / "masks.mp4", [half_mask() // 255 * np.uint8(100)] * 3)
    with pytest.raises(InputError, match=r"of frame 0 in .*masks.mp4 has levels up to \d+ of 255, of which none is"):
        masks_of(walk, tmp_path / "masks.mp4")


@pytest.mark.parametrize("first", [1, 255])
def test_masks_of_two_kinds_of_levels_are_refused(tmp_path, first):
    walk = pictures(tmp_path / "walk", 2)
    scales = (1, 255) if first == 1 else (255, 1)
    folder = pictures(tmp_path / "masks", 2, of=lambda number: half_mask() // 255 * np.uint8(scales[number]))
    with pytest.raises(InputError, match=rf"levels up to {scales[1]}, and those of .* up to {first}: write all"):
        masks_of(walk, folder)


def test_a_frame_that_is_hidden_whole_is_told_once_and_a_video_is_refused(tmp_path, caplog):
    walk = pictures(tmp_path / "walk", 3)
    folder = pictures(tmp_path / "masks", 3, name="walk_{:03d}.jpg", of=lambda number: levels(3))  # JPEG's noise
    assert not np.any(masks_of(walk, folder))
    told = [record.message for record in caplog.records if "black throughout" in record.message]
    assert len(told) == 1
    assert "walk_000.jpg" in told[0]
    with pytest.raises(InputError, match="would hide every frame: white is what is used"):
        masks_of(walk, static=folder / "walk_000.jpg")


@pytest.mark.parametrize("zipped", [False, True])
def test_folders_are_part_of_names(tmp_path, zipped):
    """left/0.png and right/0.png have masks of their own."""
    for top, of in (("walk", lambda number: levels(200)), ("masks", lambda number: half_mask(number))):
        (tmp_path / top).mkdir()
        for first, side in ((3, "right"), (1, "left")):
            pictures(tmp_path / top / side, 2, name="{}.png", of=lambda number, f=first, of=of: of(number + f))
    given = f"{tmp_path / 'masks'}/*/*.png"
    if zipped:
        given = shutil.make_archive(str(tmp_path / "masks"), "zip", tmp_path / "masks")
    found = [mask[0].sum() for mask in masks_of(f"{tmp_path / 'walk'}/*/*.png", given)]
    assert found == [1, 2, 3, 4]


def test_names_that_two_masks_have_are_refused(tmp_path):
    walk = pictures(tmp_path / "walk", 2)
    for side in ("left", "right"):
        (tmp_path / "masks").mkdir(exist_ok=True)
        pictures(tmp_path / "masks" / side, 2, of=lambda number: half_mask())
    with pytest.raises(InputError, match=r"left/walk_000.png and right/walk_000.png are both named as the frame walk_"):
        masks_of(walk, f"{tmp_path / 'masks'}/*/*.png")


def test_masks_in_another_order_than_their_frames_are_paired_by_name(tmp_path):
    """A list in an order of its own."""
    walk = pictures(tmp_path / "walk", 4)
    folder = pictures(tmp_path / "masks", of=lambda number: half_mask(number + 1))
    backwards = tmp_path / "frames.txt"
    backwards.write_text("".join(f"walk/walk_{number:03d}.png\n" for number in (3, 1, 2, 0)))
    assert [mask[0].sum() for mask in masks_of(backwards, folder)] == [4, 2, 3, 1]
    assert len(list(walk.iterdir())) == 4


def test_some_names_alone_are_no_pairs(tmp_path):
    """As many masks as frames, of which all but one are named as frames."""
    walk = pictures(tmp_path / "walk")
    folder = pictures(tmp_path / "masks", of=lambda number: half_mask())
    (folder / "walk_000.png").rename(folder / "walk_004.png")
    with pytest.raises(InputError, match=r"no mask of frame 0 \(walk_000.png\)"):
        masks_of(walk, folder)


@pytest.mark.parametrize("begin", [0, 1])
def test_masks_of_a_video_may_be_numbered_from_one(tmp_path, begin):
    """As ffmpeg does; its frames are numbered from zero, and what is chosen does not matter."""
    write_video(tmp_path / "walk.mp4", [levels(200)] * 4)
    (tmp_path / "masks").mkdir()
    for number in range(4):
        save_picture(tmp_path / "masks" / f"frame_{number + begin:06d}.png", half_mask(number + 1))
    for chosen, wanted in ({}, [1, 2, 3, 4]), ({"start": 2}, [3, 4]):
        assert [mask[0].sum() for mask in masks_of(tmp_path / "walk.mp4", tmp_path / "masks", **chosen)] == wanted


def test_masks_of_a_part_of_a_video_have_its_frames_numbers(tmp_path):
    write_video(tmp_path / "walk.mp4", [levels(200)] * 6)
    folder = pictures(tmp_path / "masks", 5, name="frame_{:06d}.png", of=lambda number: half_mask(number + 1))
    found = [mask[0].sum() for mask in masks_of(tmp_path / "walk.mp4", folder, start=1, stop=3)]
    assert found == [2, 3]
    with pytest.raises(InputError, match=r"has no mask of frame 5 \(frame_000005\); add one"):
        masks_of(tmp_path / "walk.mp4", folder)


@pytest.mark.parametrize("given", ["m{}.png", "masks.mp4"])
def test_a_video_with_another_number_of_masks_is_refused(tmp_path, given):
    write_video(tmp_path / "walk.mp4", [levels(200)] * 6)
    if given == "masks.mp4":
        masks = tmp_path / given
        write_video(masks, [half_mask()] * 7)
    else:
        masks = pictures(tmp_path / "masks", 7, name=given, of=lambda number: half_mask())
    with pytest.raises(InputError, match="holds 7 masks and the source 6 frames"):
        masks_of(tmp_path / "walk.mp4", masks)


def test_a_picture_that_is_none_is_refused(tmp_path):
    walk = pictures(tmp_path / "walk", 1)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png"):
        masks_of(walk, static=tmp_path / "broken.png")


def test_what_may_be_given():
    assert Masks.parse(["moving", "sky"]) == Masks(predicted=("sky", "moving"))
    with pytest.raises(InputError, match="no file or folder 'clouds'; give a folder"):
        Masks.parse(["clouds"])
    with pytest.raises(InputError, match="are two sources"):
        Masks.parse(["a", "b"])


def test_a_mask_in_python_has_the_size_of_its_frame():
    frame = SimpleNamespace(rgb=levels(3), index=0, timestamp_s=0.0, name="a", mask=np.ones((3, 4), bool))
    with pytest.raises(InputError, match=r"the mask of frame 0 is bool \(3, 4\)"):
        list(open_frames([frame]))


def test_resizing_lets_nothing_of_what_is_hidden_through():
    """A pixel is used where all of what it covers is, and what is hidden does not reach the pixels beside it."""
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 256, (64, 96, 3), np.uint8)
    mask = half_mask(41, size=(64, 96))[..., 0] > 0
    other = np.where(mask[..., None], rgb, generator.integers(0, 256, rgb.shape, np.uint8))
    first, second = (resize_frame(Frame(one, 0, 0.0, "a", mask=mask), (32, 48)) for one in (rgb, other))
    assert first.mask[0].sum() == 20  # the 21st covers column 41
    assert np.array_equal(first.rgb, second.rgb)
    assert not np.array_equal(rgb, other)


def test_undistorted_frames_have_undistorted_masks():
    camera = read_camera("opencv:60,60,48,32,-0.3,0.1,0,0")
    mask = half_mask(40, size=(64, 96))[..., 0] > 0
    rgb = np.where(mask[..., None], np.uint8(250), np.uint8(5)).repeat(3, 2)
    (view,) = undistorted(open_frames([Frame(rgb, 0, 0.0, "a", mask=mask)]), camera)
    assert view.mask.shape == view.rgb.shape[:2]
    assert (view.rgb[view.mask] == 250).all()  # none of them is interpolated from what is hidden
    assert 0.3 < view.mask.mean() < 0.5
    assert set(np.unique(view.rgb[~view.mask])) >= {HIDDEN_GREY}


def test_sources_of_frames_keep_their_masks():
    frames = [Frame(levels(9), number, float(number), "a", mask=half_mask()[..., 0] > 0) for number in range(3)]
    (first, *_) = resized(open_frames(open_frames(frames)), (16, 24))
    assert first.mask[0].sum() == 10
