"""The hybrid memory as a value: what it carries, forgets, and costs."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from network.reference import chain, distance, small_images, toy_config, toy_network, with_reference_weights
from openloger.errors import InputError
from openloger.memory.swa import SlidingWindowAttention
from openloger.network import MemoryConfig, VideoMemory, Window, preset
from openloger.transformer.attention import Rotary

SIZE, OVERLAP = 5, 2
PARTS = ("world_from_cam", "points_cam", "confidence_logit")


def window(images, start):
    return Window(images[:, start : start + SIZE], SIZE, OVERLAP)


def two_windows(network, images, *, carry):
    """The second window's prediction, its overlap's features carried from the first or encoded again."""
    first, memory = network(window(images, 0))
    if not carry:
        memory = replace(memory, overlap_features=())
    second, memory = network(window(images, SIZE - OVERLAP), memory)
    return first, second, memory


def test_carried_features_equal_encoding_again():
    network, images = toy_network(), small_images(frames=8)
    _, carried, memory = two_windows(network, images, carry=True)
    _, encoded, expected = two_windows(network, images, carry=False)
    for part in PARTS:
        assert distance(getattr(carried, part), getattr(encoded, part)) < 1e-5, part
    for name, tensor in memory.to_tensors().items():
        assert distance(tensor, expected.to_tensors()[name]) < 1e-4, name


def test_carried_features_train_like_encoding_again():
    images, gradients = small_images(frames=8), []
    for carry in (True, False):
        network = toy_network().requires_grad_(True)
        first, second, _ = two_windows(network, images, carry=carry)
        sum(getattr(p, part).square().mean() for p in (first, second) for part in PARTS).backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    carried, encoded = gradients
    assert carried.keys() == encoded.keys()
    assert any(name.startswith("encoder.") for name in carried)
    largest = max(gradient.norm().item() for gradient in encoded.values())
    for name, gradient in encoded.items():
        assert (carried[name] - gradient).norm().item() < 1e-4 * gradient.norm().item() + 1e-6 * largest, name


def test_overlap_frames_are_not_encoded_again():
    network, images = toy_network(), small_images(frames=8)
    encoded = []
    network.encoder.register_forward_hook(lambda _, inputs, __: encoded.append(len(inputs[0])))
    chain(network, images, size=SIZE, overlap=OVERLAP)
    assert encoded == [SIZE, SIZE - OVERLAP]


def test_without_overlap_nothing_is_carried():
    network, images = toy_network(), small_images(frames=4)
    _, (memory, _) = chain(network, images, size=2, overlap=0)
    assert memory.overlap_features == ()


def test_both_memories_change_what_is_seen():
    """So the tests below can fail: forgetting either, or all, moves the second window."""
    network, images = toy_network(), small_images(frames=8)
    _, memory = network(window(images, 0))
    whole, _ = network(window(images, SIZE - OVERLAP), memory)
    for forgotten in (memory.reset(), replace(memory, keys_values={}), VideoMemory()):
        other, _ = network(window(images, SIZE - OVERLAP), forgotten)
        assert distance(other.world_from_cam, whole.world_from_cam) > 1e-4


def test_reset_forgets_the_fast_weights_alone():
    _, (memory, _) = chain(toy_network(), small_images(frames=8), size=SIZE, overlap=OVERLAP)
    forgotten = memory.reset()
    assert memory.fast_weights
    assert forgotten.fast_weights == {}
    assert forgotten.keys_values is memory.keys_values
    assert forgotten.overlap_features is memory.overlap_features


def test_fast_weights_after_a_reset_are_the_initial_ones():
    """A window after a reset reads what a first window reads, where the cache plays no part."""
    config = toy_config(MemoryConfig(ttt_after=(0, 2, 4), swa_after=(), ttt_head_dim=16))
    network, images = with_reference_weights(config), small_images(frames=8)
    _, memory = network(window(images, 0))
    fresh, _ = network(window(images, SIZE - OVERLAP))
    reset, _ = network(window(images, SIZE - OVERLAP), memory.reset())
    for part in PARTS:
        assert distance(getattr(reset, part), getattr(fresh, part)) < 1e-5, part


def test_its_size_does_not_grow():
    _, memories = chain(toy_network(), small_images(frames=17), size=SIZE, overlap=OVERLAP)
    shapes = [{name: tensor.shape for name, tensor in memory.to_tensors().items()} for memory in memories]
    assert len(memories) == 5
    assert all(shape == shapes[0] for shape in shapes)


def test_it_holds_no_more_storage_than_it_needs():
    """Views of a window's other tensors would keep those alive."""
    _, (*_, memory) = chain(toy_network(), small_images(frames=8), size=SIZE, overlap=OVERLAP)
    held = {f"overlap_features.{level}": map for level, map in enumerate(memory.overlap_features)}
    for kind in ("fast_weights", "keys_values"):
        for layer, state in getattr(memory, kind).items():
            parts = state._asdict().items()
            held |= {f"{kind}.{layer}.{part}": tensor for part, tensor in parts if tensor is not None}
    own = {name: tensor.nbytes for name, tensor in held.items()}
    assert {name: tensor.untyped_storage().nbytes() for name, tensor in held.items()} == own


@pytest.fixture
def after_a_window():
    return toy_network()(window(small_images(), 0))[1]


def same(one, other):
    one, other = one.to_tensors(), other.to_tensors()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_to_tensors_and_back(after_a_window):
    again = VideoMemory.from_tensors(load(save(after_a_window.to_tensors())))
    assert same(again, after_a_window)
    assert list(again.fast_weights) == [0, 1, 2]
    assert list(again.keys_values) == [0]
    assert VideoMemory.from_tensors({}) == VideoMemory()


def test_a_restored_memory_continues_alike(after_a_window):
    network, images = toy_network(), small_images()
    again = VideoMemory.from_tensors(after_a_window.to_tensors())
    one, _ = network(window(images, 3), after_a_window)
    other, _ = network(window(images, 3), again)
    assert torch.equal(one.points_cam, other.points_cam)


def test_map_reaches_every_tensor(after_a_window):
    doubled = after_a_window.map(lambda tensor: 2 * tensor).to_tensors()
    assert len(doubled) == 3 * 3 + 2 + 1
    for name, tensor in after_a_window.to_tensors().items():
        assert torch.equal(doubled[name], 2 * tensor), name
    assert VideoMemory().map(lambda tensor: 2 * tensor) == VideoMemory()


def test_to_moves_it(after_a_window):
    assert all(tensor.is_meta for tensor in after_a_window.to("meta").to_tensors().values())


def test_detach_cuts_the_gradient():
    network = toy_network().requires_grad_(True)
    _, memory = network(window(small_images(), 0))
    assert all(tensor.requires_grad for tensor in memory.to_tensors().values())
    assert not any(tensor.requires_grad for tensor in memory.detach().to_tensors().values())


def test_a_call_leaves_its_memory_as_it_was(after_a_window):
    copied = after_a_window.map(torch.clone)
    toy_network()(window(small_images(), 3), after_a_window)
    assert same(after_a_window, copied)


def test_a_batch_of_two_is_two_runs():
    network, images = toy_network(), small_images(frames=8, batch=2)
    together, (_, memory) = chain(network, images, size=SIZE, overlap=OVERLAP)
    for row in range(2):
        alone, (_, own) = chain(network, images[row : row + 1], size=SIZE, overlap=OVERLAP)
        for one, other in zip(together, alone, strict=True):
            for part in PARTS:
                assert distance(getattr(one, part)[row], getattr(other, part)[0]) < 1e-5, part
        for name, tensor in own.to_tensors().items():
            assert distance(memory.to_tensors()[name][row], tensor[0]) < 1e-4, name


def test_a_sliding_window_sees_the_previous_window_as_more_context():
    """It equals one block over both windows, read at the second, behind its gate."""
    torch.manual_seed(0)
    layer = SlidingWindowAttention(16, 2, mlp_ratio=2, layer_scale=0.5)
    torch.nn.init.normal_(layer.gate.weight)
    before, now = torch.randn(2, 4, 16), torch.randn(2, 6, 16)
    places = torch.rand(10, 2) * 9
    _, cached = layer(before, Rotary.of(places[:4], 8), None)
    out, own = layer(now, Rotary.of(places[4:], 8), cached)
    y = layer.block(torch.cat([before, now], dim=1), Rotary.of(places, 8))[:, 4:]
    assert torch.allclose(out, now + y * torch.nn.functional.silu(layer.gate(y)), atol=1e-5)
    assert own.keys.shape == own.values.shape == (2, 2, 6, 8)


def roles(frames, size=32, overlap=3):
    return Window(torch.zeros(1, frames, 3, 14, 14), size, overlap).roles.tolist()


@pytest.mark.parametrize(("frames", "size", "overlap", "wanted"), [
    (32, 32, 3, [0] * 3 + [1] * 26 + [2] * 3),
    (30, 32, 3, [0] * 3 + [1] * 26 + [2]),  # a short last window
    (10, 32, 3, [0] * 3 + [1] * 7),
    (2, 32, 3, [0] * 2),
    (5, 5, 3, [0] * 3 + [2] * 2),  # the overlap is more than half
    (4, 4, 0, [1] * 4),
])  # fmt: skip
def test_the_roles_of_frames(frames, size, overlap, wanted):
    assert roles(frames, size, overlap) == wanted


def test_a_window_longer_than_nominal_is_refused():
    with pytest.raises(InputError, match=r"\b33\b.*\b32\b"):
        roles(33)


def test_frames_that_are_no_whole_patches_are_refused():
    with pytest.raises(InputError, match=r"40×28.*\b14\b"):
        toy_network()(Window(torch.zeros(1, 2, 3, 28, 40), 2, 0))


def test_numbers_of_memory_layers_follow_the_decoder():
    memory = preset("loger").memory
    assert memory.ttt_after == tuple(range(0, 36, 2))
    assert memory.swa_after == (10, 18, 26, 34)
