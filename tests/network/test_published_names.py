"""The published names: complete in both directions, for every network that is published."""

from functools import cache

import torch

from network.reference import parameter_list
from openloger.network import Network, preset, with_pi3x_heads
from openloger.network.published_names import UNUSED, published_name

CASES = {
    "loger": preset("loger"),
    "loger_star": preset("loger-star"),
    "loger_pi3x": with_pi3x_heads(preset("loger")),
}


@cache
def shapes_of(config):
    with torch.device("meta"):
        network = Network(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def without_unused(published):
    return {name: shape for name, shape in published.items() if not UNUSED.match(name)}


def test_every_published_tensor_has_its_place_and_shape():
    for name, config in CASES.items():
        ours = {published_name(name): shape for name, shape in shapes_of(config).items()}
        assert ours == without_unused(parameter_list(name)), name


def test_no_two_of_ours_share_a_name():
    for config in CASES.values():
        ours = shapes_of(config)
        assert len({published_name(name) for name in ours}) == len(ours)


def test_loger_has_1509_names_of_which_18_are_unused():
    published = parameter_list("loger")
    assert len(published) == 1509
    unused = {name: shape for name, shape in published.items() if UNUSED.match(name)}
    assert set(unused) == {f"ttt_layers.{layer}.to_qkv_stack.0.weight" for layer in range(18)}
    assert set(unused.values()) == {(3072, 1024)}


def test_pi3_is_loger_without_memory():
    loger = without_unused(parameter_list("loger"))
    memory = ("ttt_", "swa_", "pe_token_")
    wanted = {name: shape for name, shape in loger.items() if not name.startswith(memory)}
    assert {published_name(name): shape for name, shape in shapes_of(preset("pi3")).items()} == wanted


def test_renaming_twice_changes_nothing():
    """So a published name that slips in among ours is never mistaken for another."""
    published = [published_name(name) for name in shapes_of(CASES["loger_pi3x"])]
    assert [published_name(name) for name in published] == published
