"""Clips on disk are the clips that were rendered, and are rendered once."""

from dataclasses import fields

import numpy as np
import pytest

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


def changed_at(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:1000],
        lambda content: bytes(len(content)),  # as a power failure leaves a file that was renamed before it was flushed
        lambda content: changed_at(content, content.index(b"PK\1\2") + 8),  # flags of an entry: "encrypted"
        lambda content: changed_at(content, content.index(b"PK\1\2") + 10),  # how it is compressed
        lambda content: changed_at(content, len(content) // 2),
    ],
)
def test_a_damaged_file_is_rendered_again(damage, tmp_path):
    cached = CachedRender(tmp_path)
    (clip,) = cached(SPECS[:1])
    path = cached.path(SPECS[0])
    path.write_bytes(damage(path.read_bytes()))
    assert same(cached(SPECS[:1])[0], clip)
    assert same(cached(SPECS[:1])[0], clip)


def test_no_partial_file_is_left(tmp_path):
    CachedRender(tmp_path)(SPECS)
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".npz", ".npz"]
