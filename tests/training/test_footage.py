"""Clips of datasets on disk: cut and scaled so that the geometry stays true, mixed with worlds at their odds."""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from datasets import official_layouts
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from openloger.datasets.cut import covering_box, cut_depth, cut_intrinsics
from openloger.errors import InputError
from openloger.training.clips import TruthKind
from openloger.training.config import recipe
from openloger.training.curriculum import FAMILIES, ClipPlan, DatasetPlan
from openloger.training.data import ClipSpec, ClipStream, FileClipSpec, size_of, spec_of, specs
from openloger.training.footage import opened, read_clip
from openloger.training.render import make_clips
from openloger.training.train import check_datasets
from openloger.training.validate import held_out

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
    return FileClipSpec(DatasetPlan("folder", str(folder)), number, frames, stride, size)


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


def scattered(depth, box, picture, size):
    """`cut_depth` of a depth map that is finer than what is wanted, sample by sample: the nearest is written last."""
    to_depth = np.array([depth.shape[1] / picture[1], depth.shape[0] / picture[0]])
    corner = np.array(box[:2]) * to_depth
    step = (np.array(box[2:]) * to_depth - corner) / (size[1], size[0])
    row, column = np.nonzero(np.isfinite(depth) & (depth > 0))
    place = (np.stack([column, row], axis=1) + 0.5 - corner) / step
    cell = np.floor(place).astype(int)
    off = np.abs(place - cell - 0.5).max(axis=1)
    inside = (cell >= 0).all(axis=1) & (cell < (size[1], size[0])).all(axis=1)
    order = np.argsort(-off[inside], kind="stable")
    cut = np.zeros(size, dtype=np.float32)
    cut[cell[inside][order, 1], cell[inside][order, 0]] = depth[row[inside][order], column[inside][order]]
    return cut


@settings(derandomize=True, deadline=None)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.integers(0, 99),
)
def test_depth_is_cut_as_sample_by_sample(shape, size, picture, seed):
    draw = np.random.default_rng(seed)
    depth = draw.uniform(-1, 5, shape).astype(np.float32)
    depth[draw.random(shape) < 0.2] = np.nan
    box = covering_box(picture, size)
    across, down = (box[2] - box[0]) / size[1], (box[3] - box[1]) / size[0]
    assume(min(across * shape[1] / picture[1], down * shape[0] / picture[0]) >= 1)
    np.testing.assert_array_equal(cut_depth(depth, box, picture, size), scattered(depth, box, picture, size))


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
        read_clip(FileClipSpec(DatasetPlan("moon", str(folder)), 0, 2, 1, SIZE))
    with pytest.raises(InputError, match=r"stride.*\(3, 1\)"):
        DatasetPlan("folder", str(folder), stride=(3, 1))
    with pytest.raises(InputError, match="'caves'"):
        ClipPlan(size=SIZE, rendered=3, frames=(2,), families=("caves",), family_odds=(1.0,))


@pytest.fixture(scope="module")
def several(folder, tmp_path_factory):
    """The same box as sequences of 3, 4 and 9 frames."""
    out = tmp_path_factory.mktemp("several")
    for name, count in (("short/a", 3), ("short/b", 4), ("long/c", 9)):
        for kind in ("rgb", "depth"):
            (out / name / kind).mkdir(parents=True)
            for path in sorted((folder / "kitchen" / kind).iterdir())[:count]:
                shutil.copy(path, out / name / kind)
        rows = (folder / "kitchen" / "world_from_cam.txt").read_text().splitlines()[:count]
        (out / name / "world_from_cam.txt").write_text("\n".join(rows))
        shutil.copy(folder / "kitchen" / "intrinsics.txt", out / name)
    return out


def names_of(plan, clips=300, frames=2, stride=1):
    found = [read_clip(FileClipSpec(plan, number, frames, stride, (4, 6))).name for number in range(clips)]
    return Counter(name.split(":")[1].split("+")[0] for name in found)


def test_every_clip_is_as_likely_as_the_next(several):
    counts = names_of(DatasetPlan("folder", str(several)))
    assert set(counts) == {*(f"short/a@{k}" for k in (0, 1)), *(f"short/b@{k}" for k in range(3))} | {
        f"long/c@{k}" for k in range(8)
    }
    assert chi_square(counts) < 32.9  # 12 degrees of freedom, once in a thousand; the draws are fixed
    by_sequence = names_of(DatasetPlan("folder", str(several), by_length=False))
    assert chi_square(by_sequence) > 60
    shares = Counter(place.split("@")[0] for place in by_sequence.elements())
    assert chi_square(shares) < 13.8  # two degrees


def chi_square(counts):
    expected = counts.total() / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts.values())


def test_sequences_are_chosen_by_patterns(several):
    assert opened(DatasetPlan("folder", str(several))).names == ("long/c", "short/a", "short/b")
    assert opened(DatasetPlan("folder", str(several), include=("short/*",))).names == ("short/a", "short/b")
    assert opened(DatasetPlan("folder", str(several), exclude=("*/b", "long*"))).names == ("short/a",)
    assert opened(DatasetPlan("folder", str(several), include=("long/c", "*/[ab]"), exclude=("*b",))).names == (
        "long/c",
        "short/a",
    )
    with pytest.raises(InputError, match=r"none of its 3 sequences .*include=\['Scene\*'\]"):
        opened(DatasetPlan("folder", str(several), include=("Scene*",)))
    only = names_of(DatasetPlan("folder", str(several), exclude=("long/*",)), clips=40)
    assert {place.split("@")[0] for place in only} == {"short/a", "short/b"}
    with pytest.raises(InputError, match="no clip of 5 frames"):
        read_clip(FileClipSpec(DatasetPlan("folder", str(several), include=("short/*",)), 0, 5, 1, SIZE))


def test_what_depth_is_good_for_is_the_readers_word_or_the_plans(several, tmp_path):
    def kind_of(**knobs):
        clip = read_clip(FileClipSpec(DatasetPlan("folder", str(several), **knobs), 0, 2, 1, SIZE))
        return clip.kind, clip.sky

    kind, sky = kind_of()
    assert kind == TruthKind(normals=False, moving=False, metric=False)
    assert not sky.any()
    kind, _ = kind_of(normals=True, metric=True)
    assert kind == TruthKind(normals=True, moving=False, metric=True)
    made = official_layouts.tartanair(tmp_path)
    clip = read_clip(FileClipSpec(DatasetPlan("tartanair", str(made.folder)), 0, 2, 1, (6, 8)))
    assert clip.kind == TruthKind(normals=True, moving=False, metric=True)
    assert clip.sky.any()
    np.testing.assert_array_equal(clip.sky, ~clip.valid)
    clip = read_clip(
        FileClipSpec(DatasetPlan("tartanair", str(made.folder), normals=False, sky=False), 0, 2, 1, (6, 8))
    )
    assert (clip.kind.normals, clip.sky.any()) == (False, False)


def test_sizes_are_drawn_as_published():
    plan = ClipPlan(
        size=SIZE, rendered=2, frames=(2,), batch=1, pool=4, per_world=1, reuse=1.0, pixels=(100_000, 255_000)
    )
    sizes = np.array([size_of(plan, seed=0, lane=0, number=number) for number in range(1500)])
    assert (sizes % 14 == 0).all()
    pixels, aspect = sizes.prod(1), sizes[:, 1] / sizes[:, 0]
    assert 100_000 <= pixels.min() < 105_000
    assert 250_000 < pixels.max() <= 255_000
    assert abs(pixels.mean() - 177_500) < 5_000
    assert 0.5 <= aspect.min() < 0.53
    assert 1.9 < aspect.max() <= 2
    assert abs(np.log(aspect).mean()) < 0.04
    assert pixels.max() <= np.prod(plan.largest_size) + 14 * 600
    stream = ClipStream(plan, lambda first: map(blank, specs(plan, seed=0, lane=0, first=first)), seed=0, lane=0)
    drawn = {next(stream).images.shape[-2:] for _ in range(6)}
    assert len(drawn) > 2
    with pytest.raises(InputError, match="a batch is one clip"):
        replace(plan, batch=2)


def blank(spec):
    """A clip of its size with nothing to see."""
    clip = render_box(replace(spec, size=(2, 2)))
    big = {
        name: np.zeros((len(clip), *spec.size, *getattr(clip, name).shape[3:]), dtype=getattr(clip, name).dtype)
        for name in ("rgb", "depth", "valid", "moving", "sky")
    }
    return replace(clip, **big)


def test_no_sequence_is_trained_and_validated_on(several):
    config = recipe("pocket")
    train_on = DatasetPlan("folder", str(several), exclude=("long/*",))
    stage = replace(config.stages[0], clips=replace(config.stages[0].clips, datasets=(train_on,)))
    held = replace(train_on, include=("long/*",), exclude=())
    config = replace(config, stages=(stage,), validation=replace(config.validation, datasets=(held,)))
    check_datasets(config)
    overlap = replace(config.validation, datasets=(replace(held, include=("*/[bc]",)),))
    with pytest.raises(InputError, match=r"'pairs' trains on sequence 'short/b'"):
        check_datasets(replace(config, validation=overlap))
    small = replace(stage, clips=replace(stage.clips, size=(24, 40), rendered=3))
    clips = held_out(small, replace(config.validation, clips=2, most_frames=1000), render_boxes)
    assert set(clips.batches) == {*FAMILIES, "folder"}
    assert sum(len(batch.names) for batch in clips.batches["folder"]) == 2
    assert all("long/c" in name for batch in clips.batches["folder"] for name in batch.names)
