"""Masks of frames: from pictures and videos, paired by name or number, resized and undistorted with their frames."""

from __future__ import annotations

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


def test_a_mask_of_labels_is_refused(tmp_path):
    walk = pictures(tmp_path / "walk", 1)
    save_picture(tmp_path / "labels.png", half_mask() // 255)
    with pytest.raises(InputError, match="levels up to 1 of 255, of which none is white"):
        masks_of(walk, static=tmp_path / "labels.png")


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
