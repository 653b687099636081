"""A last window brought to its usual length: frames that fill it change nothing, and no new shape is computed."""

from dataclasses import replace

import pytest
import torch

from network.reference import distance, open_pocket, small_images, toy_network
from openloger.errors import InputError
from openloger.network import Window, load_network
from openloger.streaming import Stream, stream
from openloger.values import Frame

SIZE, OVERLAP, LAST = 5, 2, 3  # frames of the last window
PARTS = ("world_from_cam", "points_cam", "confidence_logit")
NETWORKS = {
    "memory": toy_network,
    "pi3x": lambda: toy_network(pi3x=True),
    "bfloat16": lambda: open_pocket().set_precision(torch.bfloat16),
}


def padded_with(window, filling):
    images = torch.cat([window.images, filling[:, : SIZE - LAST]], dim=1)
    return replace(window, images=images, padding=SIZE - LAST)


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_what_fills_a_window_changes_nothing(name):
    network = NETWORKS[name]()
    height, width = (24, 32) if name == "bfloat16" else (28, 42)
    images = small_images(frames=SIZE - OVERLAP + LAST, height=height, width=width)
    _, memory = network(Window(images[:, :SIZE], SIZE, OVERLAP), network.fresh_memory())
    last = Window(images[:, SIZE - OVERLAP :], SIZE, OVERLAP, last=True)
    fillings = torch.zeros_like(images), torch.rand_like(images), 9e3 * torch.ones_like(images)
    predictions = [network(padded_with(last, filling), memory) for filling in fillings]
    (first, after), *others = predictions
    for other, other_after in others:
        for part in PARTS:
            assert torch.equal(getattr(first, part), getattr(other, part)), part
        for tensor_name, tensor in after.to_tensors().items():
            assert torch.equal(tensor, other_after.to_tensors()[tensor_name]), tensor_name
    alone, alone_after = network(last, memory)
    for part in PARTS:
        assert getattr(first, part).shape == getattr(alone, part).shape, part
        assert distance(getattr(first, part), getattr(alone, part)) < (2e-2 if name == "bfloat16" else 1e-5), part
    if name == "pi3x":
        assert torch.allclose(first.metric_scale, alone.metric_scale, rtol=1e-5)
    for tensor_name, tensor in alone_after.to_tensors().items():
        assert after.to_tensors()[tensor_name].shape == tensor.shape, tensor_name


def test_only_last_windows_are_padded():
    network, images = open_pocket(), small_images(frames=SIZE, height=24, width=32)
    with pytest.raises(InputError, match="only last windows"):
        network(Window(images, SIZE, OVERLAP, padding=1))
    used = torch.ones(1, SIZE, 24, 32, dtype=torch.bool)
    with pytest.raises(InputError, match="without masks"):
        network(Window(images, SIZE, OVERLAP, last=True, padding=1, used=used))
    compact = load_network("compact", weights="random", device="cpu")
    with pytest.raises(InputError, match="match no neighbours"):
        compact(Window(torch.zeros(1, 2, 3, 64, 64), 8, 2, last=True, padding=1))


def video(frames):
    images = (small_images(frames=frames, height=24, width=32)[0] * 255).byte().permute(0, 2, 3, 1).numpy()
    return [Frame(rgb, index, float(index), f"{index:06d}") for index, rgb in enumerate(images)]


FRAMES = (SIZE - OVERLAP) * stream.PADDED_AFTER + LAST


def run(network, frames, *, state=None):
    """Placed windows, the shapes of products in each of them, and the state before the last."""
    shapes, states = [set()], []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, _: shapes[-1].add((inputs[0].shape, layer.weight.shape)))
        for layer in network.modules()
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
    ]
    one = Stream(network, window=SIZE, overlap=OVERLAP, size=(24, 32))
    one.state = state or one.state
    placed = []
    for window in one.run(frames):
        placed.append(window)
        shapes.append(set())
        states.append(one.state)
    for hook in hooks:
        hook.remove()
    return placed, shapes[:-1], states


def test_the_last_window_of_a_long_video_brings_no_new_shape(monkeypatch):
    network, frames = open_pocket(), video(FRAMES)
    placed, shapes, states = run(network, frames)
    assert len(placed) == stream.PADDED_AFTER + 1
    assert len(placed[-1].frames) == len(placed[-1].world_from_cam) == LAST
    assert shapes[-1] <= shapes[-2]
    again, _, _ = run(network, frames, state=states[-2])
    for part in PARTS:
        assert torch.equal(getattr(again[-1], part), getattr(placed[-1], part)), part
    monkeypatch.setattr(stream, "PADDED_AFTER", FRAMES)
    plain, shapes, _ = run(network, frames)
    assert not shapes[-1] <= shapes[-2]
    for part in PARTS:
        assert distance(getattr(placed[-1], part), getattr(plain[-1], part)) < 1e-5, part


def test_a_short_video_is_not_padded():
    """There it would cost more than it saves."""
    _, shapes, _ = run(open_pocket(), video(SIZE + 1))
    assert not shapes[-1] <= shapes[-2]
