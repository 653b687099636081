"""Memory layers taken out of a run: nothing of them is left, and the rest is untouched."""

import pytest
import torch
from network.reference import EXPECTED, distance, expected_tensors, open_pocket, small_images, toy_network

from openloger.errors import InputError
from openloger.network import Network, VideoMemory, Window, preset
from openloger.streaming import Stream, StreamState

IMAGES = small_images(frames=14, height=24, width=32)[0]
KINDS = ("ttt", "swa")


@pytest.fixture(scope="module")
def network():
    return open_pocket()


def with_zero_gates(*kinds):
    """The same network, its gates zero for good: what `memory` must come to."""
    network = open_pocket()
    for kind in kinds:
        for layer in getattr(network.decoder.memory, kind):
            layer.gate.weight.zero_()
            layer.gate.bias.zero_()
    return network


def run(network, images=IMAGES, **options):
    return list(
        Stream(network, **({"window": 5, "overlap": 2, "placement": "none", "size": (24, 32)} | options)).run(images)
    )


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(getattr(a, part), getattr(b, part))
        for a, b in zip(one, other, strict=True)
        for part in ("world_from_cam", "points_cam", "confidence_logit")
    )


def test_all_is_the_default(network):
    assert same(run(network, memory="all"), run(network))


@pytest.mark.parametrize("memory", ["ttt", "swa", "none", "fresh"])
def test_each_choice_changes_what_is_seen(memory, network):
    """So the tests here can fail."""
    whole, part = run(network), run(network, memory=memory)
    assert distance(part[1].world_from_cam, whole[1].world_from_cam) > 1e-4
    assert same(whole[:1], part[:1]) == (memory == "fresh")


@pytest.mark.parametrize(("memory", "off"), [("ttt", ["swa"]), ("swa", ["ttt"]), ("none", KINDS)])
def test_a_layer_that_is_off_is_a_gate_that_is_zero(memory, off, network):
    assert same(run(network, memory=memory), run(with_zero_gates(*off)))


def test_without_memory_nothing_comes_from_earlier_windows(network):
    """Each window is what it is when it is the first one. Encoder features of shared frames are no memory."""
    chained = run(network, memory="none")
    carried = ()
    for number, placed in enumerate(chained):
        images = IMAGES[None, 3 * number : 3 * number + 5]
        alone, after = network(Window(images, 5, 2), VideoMemory(overlap_features=carried), disabled=KINDS)
        assert torch.equal(placed.points_cam, alone.points_cam[0])
        assert (after.fast_weights, after.keys_values) == ({}, {})
        carried = after.overlap_features
    assert number == 3


def test_fresh_is_a_first_window_every_time(network):
    chained = run(network, memory="fresh")
    carried = ()
    for number, placed in enumerate(chained):
        alone, after = network(
            Window(IMAGES[None, 3 * number : 3 * number + 5], 5, 2), VideoMemory(overlap_features=carried)
        )
        assert torch.equal(placed.points_cam, alone.points_cam[0])
        carried = after.overlap_features


@pytest.mark.parametrize("memory", ["ttt", "swa", "none"])
def test_layers_that_are_off_do_not_run(memory, network):
    ran = set()
    layers = {kind: list(getattr(network.decoder.memory, kind)) for kind in KINDS}
    handles = [
        layer.register_forward_hook(lambda *_, kind=kind: ran.add(kind)) for kind in KINDS for layer in layers[kind]
    ]
    run(network, memory=memory)
    for handle in handles:
        handle.remove()
    assert ran == {memory} & set(KINDS)


@pytest.mark.parametrize("run_name", [name for name in EXPECTED["loger"]["runs"] if "_no_" in name])
def test_agrees_with_the_reference_without_a_layer(run_name):
    """There the gate is forced to zero and the memory goes on learning, unheard."""
    asked = EXPECTED["loger"]["runs"][run_name]
    off = "ttt" if asked.get("ttt_gate") == 0 else "swa"
    newton_schulz = asked.get("newton_schulz", "bfloat16")
    windows = run(
        toy_network(newton_schulz=newton_schulz),
        expected_tensors()["images"],
        window=asked["window_size"],
        overlap=asked["overlap_size"],
        reset_every=asked.get("reset_every", 0),
        memory="swa" if off == "ttt" else "ttt",
        size=(42, 56),
    )
    cameras = torch.cat([placed.world_from_cam[: placed.final_count] for placed in windows])
    wanted = expected_tensors()[f"loger/{run_name}/camera_poses"]
    assert distance(cameras, wanted) < (1e-4 if off == "ttt" else 1e-2)


def test_a_stored_state_stays_without_it(network):
    """A run cut in two equals the run in one piece."""
    stream = Stream(network, window=5, overlap=2, placement="none", memory="swa", size=(24, 32))
    placed = stream.run(IMAGES)
    next(placed)
    again = Stream(network, window=5, overlap=2, placement="none", memory="swa", size=(24, 32))
    again.state = StreamState.from_bytes(stream.state.to_bytes())
    assert again.state.memory.fast_weights == {}
    assert same(list(placed), list(again.run(IMAGES)))


def test_a_network_without_memory_has_nothing_to_choose():
    config = preset("pocket")
    plain = Network(type(config)(**{**vars(config), "memory": None})).eval().requires_grad_(False)
    assert same(run(plain), run(plain, memory="none"))
    with pytest.raises(InputError, match=r"ttt.*pocket"):
        Stream(plain, memory="ttt")


def test_an_unknown_choice_is_one_clear_line(network):
    with pytest.raises(InputError, match=r"'both'.*all, ttt, swa, none, fresh"):
        Stream(network, memory="both")


def test_what_runs_is_said(network):
    stream = Stream(network, window=5, overlap=2, memory="swa")
    assert stream.describe() == "windows of 5 frames sharing 2; placement se3; no resets; memory swa"
