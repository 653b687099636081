"""Which frames form a window, for any length, window and overlap."""

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from openloger.streaming import windows

lawful = settings(derandomize=True, deadline=None, max_examples=100)


@st.composite
def windowings(draw):
    size = draw(st.integers(1, 12))
    return draw(st.integers(1, 60)), size, draw(st.integers(0, size - 1))


def grouped(length, size, overlap):
    return list(windows(iter(range(length)), size=size, overlap=overlap))


def final(group, overlap):
    """As the Stream hands them out: the overlap comes again, better informed."""
    return group.frames if group.last else group.frames[: len(group.frames) - overlap]


@lawful
@given(windowings())
@example((1, 32, 3))  # one frame
@example((2, 32, 3))  # fewer than the overlap
@example((32, 32, 3))  # exactly one window
@example((33, 32, 3))
def test_every_frame_is_final_exactly_once(windowing):
    length, _, overlap = windowing
    assert [frame for group in grouped(*windowing) for frame in final(group, overlap)] == list(range(length))


@lawful
@given(windowings())
def test_windows_start_every_size_minus_overlap(windowing):
    length, size, overlap = windowing
    for number, group in enumerate(grouped(*windowing)):
        start = number * (size - overlap)
        assert group.frames == tuple(range(start, min(start + size, length)))


@lawful
@given(windowings())
def test_the_first_to_reach_the_end_is_the_last(windowing):
    length, size, overlap = windowing
    groups = grouped(*windowing)
    assert [group.last for group in groups] == [False] * (len(groups) - 1) + [True]
    assert [length - 1 in group.frames for group in groups] == [group.last for group in groups]
    if length > size:
        assert len(groups[-1].frames) > overlap  # it has frames of its own


@lawful
@given(windowings())
def test_what_stays_in_hand_is_the_overlap_and_one_frame_ahead(windowing):
    _, _, overlap = windowing
    groups = grouped(*windowing)
    for group, following in pairwise(groups):
        assert group.pending == following.frames[: overlap + 1]
    assert groups[-1].pending == ()


@lawful
@given(windowings())
def test_a_source_is_read_one_frame_further_than_the_window(windowing):
    length, size, overlap = windowing
    read = []
    for group in windows((read.append(frame) or frame for frame in range(length)), size=size, overlap=overlap):
        assert len(read) == min(group.frames[-1] + 2, length)


@lawful
@given(windowings())
def test_it_goes_on_from_what_was_in_hand(windowing):
    length, size, overlap = windowing
    groups = grouped(*windowing)
    for number, group in enumerate(groups[:-1]):
        unread = iter(range(group.pending[-1] + 1, length))
        assert list(windows(unread, size=size, overlap=overlap, pending=group.pending)) == groups[number + 1 :]


def test_no_frames_no_windows():
    assert grouped(0, 4, 1) == []
