"""Keyframes: which frames they are, and that every frame between them comes out once, in order and in place."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openloger.errors import InputError
from openloger.network import Network, preset
from openloger.streaming import Stream
from openloger.streaming.keyframes import in_order, keyed_frames
from openloger.streaming.windows import SizedFrame, windows
from openloger.values import Frame


def frames(positions):
    """Tiny frames whose `timestamp_s` is where the camera stands."""
    rgb, image = np.zeros((2, 2, 3), np.uint8), torch.zeros(3, 2, 2)
    return [SizedFrame(Frame(rgb, number, float(x), str(number)), image) for number, x in enumerate(positions)]


def far(key):
    return lambda frame: abs(frame.frame.timestamp_s - key.frame.timestamp_s) >= 1.0


def numbers(group):
    return [frame.frame.index for frame in group]


@given(st.lists(st.floats(-5, 5), max_size=40), st.integers(1, 6))
def test_every_frame_is_in_one_group_in_order(positions, longest):
    groups = list(keyed_frames(iter(frames(positions)), far, longest=longest))
    assert [number for group in groups for number in numbers(group.frames)] == list(range(len(positions)))
    assert all(len(group.between) <= longest for group in groups)
    for before, group in pairwise(groups):
        assert not any(map(far(before.key), group.between))
    if groups:
        assert groups[0].between == ()  # the first frame is a keyframe


def test_without_a_measure_every_frame_is_a_keyframe():
    assert [group.between for group in keyed_frames(iter(frames(range(5))), None)] == [()] * 5


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.integers(2, 5), st.integers(1, 2))
def test_a_run_that_is_cut_gives_the_same_windows(positions, size, overlap):
    """From the pending groups and the frames after them, the windows that follow are the same."""
    overlap = min(overlap, size - 1)
    everything = frames(positions)
    whole = list(windows(keyed_frames(iter(everything), far, longest=3), size=size, overlap=overlap))
    for number, group in enumerate(whole[:-1]):
        key = group.pending[-1].key
        unread = iter(everything[key.frame.index + 1 :])
        rest = windows(keyed_frames(unread, far, key=key, longest=3), size=size, overlap=overlap, pending=group.pending)
        assert [numbers(in_order(w.frames)) for w in rest] == [numbers(in_order(w.frames)) for w in whole[number + 1 :]]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Network(preset("compact")).eval().requires_grad_(False)


def moving(count, step):
    """Pictures that slide over a random texture by `step` pixels a frame."""
    texture = np.random.default_rng(0).integers(0, 255, (12, 40, 3), np.uint8).repeat(4, 0).repeat(8, 1)
    return [np.ascontiguousarray(texture[:, round(step * k) : round(step * k) + 64]) for k in range(count)]


def test_a_stream_of_keyframes_has_every_frame_once(network):
    pictures = moving(30, 1.5)
    stream = Stream(network, window=4, overlap=2, size=(48, 64))
    placed = list(stream.run(pictures))
    final = [frame.index for window in placed for frame in window.frames[: window.final_count]]
    assert final == list(range(30))
    assert len(placed) < len(list(Stream(network, window=4, overlap=2, size=(48, 64), keyframes="all").run(pictures)))
    for window in placed:
        assert len(window.frames) == len(window.world_from_cam) == len(window.points_cam)
        assert torch.isfinite(window.world_from_cam).all()
        assert (window.points_cam[..., 2] > 0).all()
        rotation = window.world_from_cam[:, :3, :3]
        assert torch.allclose(rotation @ rotation.mT, torch.eye(3, dtype=rotation.dtype), atol=1e-6)


def test_a_cut_stream_of_keyframes_equals_the_whole(network):
    pictures = moving(24, 1.5)
    whole = list(Stream(network, window=4, overlap=2, size=(48, 64)).run(pictures))
    first = Stream(network, window=4, overlap=2, size=(48, 64))
    head = next(iter(first.run(pictures)))
    second = Stream(network, window=4, overlap=2, size=(48, 64))
    second.state = type(first.state).from_bytes(first.state.to_bytes())
    again = [head, *second.run(pictures)]
    assert len(again) == len(whole)
    for one, other in zip(again, whole, strict=True):
        assert [frame.index for frame in one.frames] == [frame.index for frame in other.frames]
        assert torch.equal(one.world_from_cam, other.world_from_cam)
        assert torch.equal(one.points_cam, other.points_cam)


def test_what_cannot_be_is_refused(network):
    with pytest.raises(InputError, match="overlap is 0"):
        Stream(network, overlap=0, placement="none", keyframes="auto")
    with pytest.raises(InputError, match="use keyframes all"):
        Stream(Network(preset("pocket")), keyframes="auto")
    with pytest.raises(InputError, match="neither all nor auto"):
        Stream(network, keyframes="some")


def test_no_frame_is_held_back():
    """When a group is given, the iterator stands right after its keyframe."""
    unread = iter(frames([0, 0.1, 2, 2.1, 2.2, 4]))
    groups = keyed_frames(unread, far)
    assert numbers(next(groups).frames) == [0]
    assert numbers(next(groups).frames) == [1, 2]
    assert numbers(unread) == [3, 4, 5]


def test_threads_change_nothing(network):
    pictures = moving(24, 1.5)
    alone, threads = (
        list(Stream(network, window=4, overlap=2, size=(48, 64)).run(pictures, ahead=ahead)) for ahead in (0, 3)
    )
    for one, other in zip(alone, threads, strict=True):
        assert [frame.index for frame in one.frames] == [frame.index for frame in other.frames]
        assert torch.equal(one.world_from_cam, other.world_from_cam)
        assert torch.equal(one.points_cam, other.points_cam)


def test_the_state_is_that_of_the_window_in_hand(network):
    """However far ahead the network is."""
    stream = Stream(network, window=4, overlap=2, size=(48, 64))
    for number, window in enumerate(stream.run(moving(24, 1.5))):
        assert stream.state.number == number + 1
        assert stream.state.final_frames == window.frames[0].index + window.final_count


def test_a_known_camera_is_the_lens_of_every_frame(network):
    """Of keyframes and of those between: points lie on the rays of the camera that was given."""
    focal, middle = 70.0, 30.0
    placed = list(
        Stream(network, window=4, overlap=2, size=(48, 64)).run(
            moving(14, 1.5), known_intrinsics_px=(focal, focal, middle, 24.0)
        )
    )
    for window in placed:
        x, z = window.points_cam[..., 0], window.points_cam[..., 2]
        column = (torch.arange(x.shape[-1]) + 0.5) * 64 / x.shape[-1]  # of the pictures as they were given
        torch.testing.assert_close(x, z * (column - middle) / focal, rtol=1e-3, atol=1e-4)
