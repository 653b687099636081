"""A run cut in two equals the run in one piece, bit for bit."""

import pytest
from network.reference import open_pocket, small_images, toy_network

from openloger.network import VideoMemory
from openloger.streaming import Stream, StreamState
from openloger.values import Frame

FRAMES = 14  # windows of 5 sharing 2: 0, 3, 6, 9, and a last one of the same size
SETTINGS = {
    "none": {"placement": "none"},
    "se3": {"placement": "se3"},
    "sim3": {"placement": "sim3:trimmed_mean_all"},
    "resets": {"placement": "none", "reset_every": 2},
    "sim3 and resets": {"placement": "sim3", "reset_every": 3},
    "no overlap": {"placement": "none", "overlap": 0},
}
LARGE_ENOUGH = {"window": 5, "overlap": 2}


def video(kind="pocket"):
    """Frames whose numbers have gaps, as strided ones have."""
    height, width = (24, 32) if kind == "pocket" else (28, 42)
    images = (small_images(frames=FRAMES, height=height, width=width)[0] * 255).byte().permute(0, 2, 3, 1).numpy()
    return [Frame(rgb, 3 * index, index / 10, f"picture {index}") for index, rgb in enumerate(images)]


def build(network, settings):
    size = (24, 32) if network.config.encoder.patch == 8 else (28, 42)
    return Stream(network, size=size, **(LARGE_ENOUGH | SETTINGS[settings]))


def whole_run(network, settings, frames):
    """Every window, and the state after each."""
    stream = build(network, settings)
    return zip(*((placed, stream.state) for placed in stream.run(frames)), strict=True)


def bits(placed):
    """All that a window says, comparable."""
    world_from_window, tensors = placed.world_from_window, ("world_from_cam", "points_cam", "confidence_logit")
    return {
        "number": placed.number,
        "frames": [(frame.index, frame.timestamp_s, frame.name, frame.rgb.tobytes()) for frame in placed.frames],
        "metric_scale": placed.metric_scale,
        "disagreement": placed.disagreement,
        "final": (placed.final_count, placed.last),
        **{name: getattr(placed, name).numpy().tobytes() for name in tensors},
        **{part: getattr(world_from_window, part).numpy().tobytes() for part in ("scale", "rotation", "translation")},
    }


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert bits(a) == bits(b)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("stored", [False, True])
def test_cut_after_any_window(settings, stored):
    network, frames = open_pocket(), video()
    placed, states = whole_run(network, settings, frames)
    assert len(placed) >= 3
    for windows, state in enumerate(states, start=1):
        stream = build(network, settings)
        stream.state = StreamState.from_bytes(state.to_bytes()) if stored else state
        same(list(stream.run(frames)), placed[windows:])
        assert stream.state.final_frames == FRAMES


@pytest.mark.parametrize("pi3x", [False, True])
def test_cut_with_a_network_of_many_layers(pi3x):
    network, frames = toy_network(pi3x=pi3x), video("toy")
    placed, states = whole_run(network, "sim3 and resets", frames)
    stream = build(network, "sim3 and resets")
    stream.state = StreamState.from_bytes(states[1].to_bytes())
    same(list(stream.run(frames)), placed[2:])


def test_cut_and_continued_with_the_same_iterator():
    """A live source goes on where it is: nothing that was read is lost."""
    network, frames = open_pocket(), video()
    placed, _ = whole_run(network, "se3", frames)
    live, stream = iter(frames), build(network, "se3")
    first = stream.run(live)
    before = [next(first), next(first)]
    first.close()
    same(before + list(stream.run(live)), placed)


def test_cut_and_continued_with_an_iterator_from_the_start():
    network, frames = open_pocket(), video()
    placed, states = whole_run(network, "se3", frames)
    stream = build(network, "se3")
    stream.state = states[0]
    same(list(stream.run(frame for frame in frames)), placed[1:])


@pytest.mark.parametrize("make", [
    lambda images: list((images * 255).byte().permute(0, 2, 3, 1).numpy()),
    lambda images: images,
])  # fmt: skip
def test_cut_and_continued_with_numberless_items(make):
    """Arrays and tensors are numbered as they come, from the beginning of the video."""
    network, items = open_pocket(), make(small_images(frames=FRAMES, height=24, width=32)[0])
    placed, states = whole_run(network, "se3", items)
    stream = build(network, "se3")
    stream.state = StreamState.from_bytes(states[1].to_bytes())
    same(list(stream.run(iter(items))), placed[2:])


def test_a_finished_run_has_nothing_more():
    network, frames = open_pocket(), video()
    *_, (_, state) = zip(*whole_run(network, "se3", frames), strict=True)
    stream = build(network, "se3")
    stream.state = StreamState.from_bytes(state.to_bytes())
    assert stream.state.finished
    assert list(stream.run(frames)) == []


def test_a_continued_run_keeps_its_size():
    """Decided by the first frame of the run, not by the first after the cut."""
    network = open_pocket()
    stream = Stream(network, size=(16, 24), **LARGE_ENOUGH)
    first = next(stream.run(video()))
    again = Stream(network, **LARGE_ENOUGH)
    again.state = StreamState.from_bytes(stream.state.to_bytes())
    assert {placed.depth.shape[1:] for placed in again.run(video())} == {first.depth.shape[1:]} == {(16, 24)}


def test_resets_are_decided_once():
    """A continued run resets as the run that began it, even if its source has lost its length."""
    stream = Stream(open_pocket(), reset_every=2, size=(24, 32), **LARGE_ENOUGH)
    next(stream.run(video()))
    again = Stream(stream.network, **LARGE_ENOUGH)
    again.state = StreamState.from_bytes(stream.state.to_bytes())
    next(again.run(video()))
    assert again.state.reset_every == 2


def test_the_state_does_not_grow():
    network = open_pocket()
    _, states = whole_run(network, "sim3", video())
    *sizes, last = (sum(tensor.nbytes for tensor in state.memory.to_tensors().values()) for state in states)
    assert len(set(sizes)) == 1
    assert last <= sizes[0]
    assert {len(state.pending) for state in states[:-1]} == {LARGE_ENOUGH["overlap"] + 1}
    assert states[-1].pending == ()


def test_a_state_holds_no_more_than_it_needs():
    """Views of a window's tensors would keep the whole window alive."""
    _, states = whole_run(open_pocket(), "sim3", video())
    for tensor in (states[0].anchor.depth, states[0].anchor.world_from_cam):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_a_fresh_state_survives_too():
    assert StreamState.from_bytes(StreamState().to_bytes()) == StreamState()


def test_the_bytes_are_the_same_again():
    _, states = whole_run(open_pocket(), "resets", video())
    for state in states:
        assert StreamState.from_bytes(state.to_bytes()).to_bytes() == state.to_bytes()


def test_the_memory_comes_back_on_the_device_asked_for():
    _, states = whole_run(open_pocket(), "se3", video())
    again = StreamState.from_bytes(states[0].to_bytes(), device="meta")
    assert isinstance(again.memory, VideoMemory)
    assert all(tensor.is_meta for tensor in again.memory.to_tensors().values())
    assert not again.anchor.depth.is_meta


def test_restored_tensors_are_aligned_like_fresh_ones():
    """A product's last bits on a CPU depend on it."""
    _, states = whole_run(open_pocket(), "se3", video())
    again = StreamState.from_bytes(states[0].to_bytes())
    assert all(tensor.data_ptr() % 64 == 0 for tensor in again.memory.to_tensors().values())
