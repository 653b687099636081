"""Clips of datasets on disk: cut and scaled so that the geometry stays true, mixed with worlds at their odds."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from openloger.errors import InputError
from openloger.training.curriculum import ClipPlan, DatasetPlan
from openloger.training.data import ClipSpec, FileClipSpec, spec_of
from openloger.training.footage import covering_box, cut_depth, cut_intrinsics, read_clip
from openloger.training.render import make_clips

from .boxes import render_box, render_boxes

SIZE = (24, 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A box of 9 frames, 48×64, as a plain folder."""
    out = tmp_path_factory.mktemp("footage")
    clip = render_box(ClipSpec("rooms", 4, 0, 9, 10.0, (48, 64)))
    for name in ("rgb", "depth"):
        (out / "kitchen" / name).mkdir(parents=True)
    for number in range(9):
        Image.fromarray(clip.rgb[number]).save(out / "kitchen" / "rgb" / f"{number:06d}.png")
        np.save(out / "kitchen" / "depth" / f"{number:06d}.npy", clip.depth[number])
    np.savetxt(out / "kitchen" / "world_from_cam.txt", clip.world_from_cam.reshape(9, 16))
    np.savetxt(out / "kitchen" / "intrinsics.txt", clip.intrinsics[0])
    return out


def file_spec(folder, *, number=1, frames=3, stride=2, size=SIZE):
    return FileClipSpec("folder", str(folder), number, frames, stride, size)


def test_a_clip_is_cut_and_its_lens_with_it(folder):
    clip = read_clip(file_spec(folder))
    whole = render_box(ClipSpec("rooms", 4, 0, 9, 10.0, (48, 64)))
    assert clip.rgb.shape == (3, *SIZE, 3)
    first = int(clip.name.split("@")[1].split("+")[0])
    np.testing.assert_allclose(clip.world_from_cam, whole.world_from_cam[first : first + 5 : 2], atol=1e-9)
    assert clip.valid.all()
    i, j = np.mgrid[2:22:5, 2:38:5].reshape(2, -1)
    for frame in range(3):
        pixel = np.stack([j + 0.5, i + 0.5, np.ones_like(j)])
        ray = np.linalg.inv(clip.intrinsics[frame]) @ pixel  # and where the whole picture sees the same ray
        x, y, _ = whole.intrinsics[0] @ ray
        seen = whole.depth[first + 2 * frame][y.astype(int), x.astype(int)]
        assert np.median(np.abs(clip.depth[frame][i, j] / seen - 1)) < 0.02
        there = whole.rgb[first + 2 * frame][y.astype(int), x.astype(int)].astype(float)
        assert np.median(np.abs(clip.rgb[frame][i, j] - there)) < 12
        elsewhere = whole.rgb[first + 2 * frame][y.astype(int) - 12, x.astype(int) - 12].astype(float)
        assert np.median(np.abs(clip.rgb[frame][i, j] - elsewhere)) > 12


def test_a_clip_is_the_same_every_time_and_they_differ(folder):
    one, again, other = (read_clip(file_spec(folder, number=number)) for number in (1, 1, 2))
    assert one.name == again.name
    np.testing.assert_array_equal(one.depth, again.depth)
    assert one.name != other.name


def test_sparse_depth_is_not_lost():
    depth = np.zeros((64, 80), dtype=np.float32)
    depth[2::4, 2::4] = 3.0
    cut = cut_depth(depth, (0.0, 0.0, 80.0, 64.0), (64, 80), (16, 20))
    assert (cut == 3.0).all()
    finer = cut_depth(np.full((8, 10), 2.0, dtype=np.float32), (0.0, 0.0, 80.0, 64.0), (64, 80), (16, 20))
    assert (finer == 2.0).all()


def test_the_box_covers_and_keeps_the_middle():
    left, top, right, bottom = covering_box((48, 64), (10, 10))
    assert (right - left, bottom - top) == (48, 48)
    assert (left + right, top + bottom) == (64, 48)
    lens = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    cut = cut_intrinsics(lens, (left, top, right, bottom), (24, 24))
    np.testing.assert_allclose(cut, [[25, 0, 12], [0, 25, 12], [0, 0, 1]])


def test_sources_come_at_their_odds_and_in_order(folder):
    plan = ClipPlan(size=SIZE, rendered=3, frames=(2,), datasets=(DatasetPlan("folder", str(folder), odds=3.0),))
    found = [spec_of(plan, seed=0, lane=0, number=number) for number in range(200)]
    share = np.mean([isinstance(spec, FileClipSpec) for spec in found])
    assert 0.65 < share < 0.85
    worlds = [spec for spec in found if isinstance(spec, ClipSpec)]
    bare = replace(plan, datasets=())
    assert all(spec in {spec_of(bare, seed=0, lane=0, number=number) for number in range(200)} for spec in worlds)
    clips = make_clips(found[:6], render_boxes)
    assert [clip.name.startswith("folder:") for clip in clips] == [isinstance(s, FileClipSpec) for s in found[:6]]


def test_what_cannot_be_read_is_said(folder, tmp_path):
    with pytest.raises(InputError, match=r"8 frames.*3"):
        read_clip(file_spec(folder, frames=8, stride=3))
    with pytest.raises(InputError, match="absent"):
        read_clip(file_spec(tmp_path / "absent"))
    with pytest.raises(InputError, match="'moon'"):
        read_clip(FileClipSpec("moon", str(folder), 0, 2, 1, SIZE))
    with pytest.raises(InputError, match=r"stride.*\(3, 1\)"):
        DatasetPlan("folder", str(folder), stride=(3, 1))
    with pytest.raises(InputError, match="'caves'"):
        ClipPlan(size=SIZE, rendered=3, frames=(2,), families=("caves",), family_odds=(1.0,))
