"""Clips on disk are the clips that were rendered, and are rendered once."""

from dataclasses import fields

import numpy as np

from openloger.training.data import ClipSpec
from openloger.training.render import CachedRender, render_clips

SPECS = [ClipSpec("rooms", 1_000_000 + seed, 3, 2, 5.0, (16, 24)) for seed in range(2)]


def same(a, b):
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_a_clip_is_rendered_once(tmp_path):
    asked = []

    def render(specs):
        asked.extend(specs)
        return render_clips(specs)

    cached = CachedRender(tmp_path, render)
    first, again = cached(SPECS[:1]), cached(SPECS)
    assert asked == SPECS
    assert same(first[0], again[0])
    assert all(map(same, again, render_clips(SPECS)))
    assert [clip.name for clip in cached(SPECS)] == [str(spec) for spec in SPECS]


def test_a_file_that_was_cut_short_is_rendered_again(tmp_path):
    cached = CachedRender(tmp_path)
    (clip,) = cached(SPECS[:1])
    path = cached.path(SPECS[0])
    path.write_bytes(path.read_bytes()[:1000])
    assert same(cached(SPECS[:1])[0], clip)
    assert same(cached(SPECS[:1])[0], clip)


def test_no_partial_file_is_left(tmp_path):
    CachedRender(tmp_path)(SPECS)
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".npz", ".npz"]
