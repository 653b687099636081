"""The named networks: what they measure, and that each can be built."""

import pytest
import torch
from safetensors import safe_open

from openloger.errors import InputError
from openloger.network import PRESETS, Network, load_network, preset, save_network, with_pi3x_heads


def on_meta(config):
    with torch.device("meta"):
        return Network(config)


def parameters(config):
    return sum(parameter.numel() for parameter in on_meta(config).parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_itself(name):
    config = preset(name)
    assert config.name == name
    assert config == preset(name)
    assert config.placement in ("none", "se3", "sim3")
    assert 0 < config.overlap < config.window
    assert on_meta(config).config is config


def test_the_published_sizes():
    """As the contract's table has them; 18 × 3072 × 1024 of LoGeR's tensors are in its file and unused."""
    unused = 18 * 3072 * 1024
    assert parameters(preset("loger")) + unused == pytest.approx(1.255e9, abs=5e5)
    assert parameters(preset("loger-star")) + unused == pytest.approx(1.255e9, abs=5e5)
    assert parameters(preset("pi3")) == pytest.approx(0.96e9, abs=5e6)
    assert preset("pi3").memory is None


def test_compact_fits_the_box(tmp_path):
    assert parameters(preset("compact")) <= 12e6
    save_network(load_network("compact", weights="random"), tmp_path / "compact.safetensors", dtype=torch.float16)
    assert (tmp_path / "compact.safetensors").stat().st_size <= 24e6
    with safe_open(tmp_path / "compact.safetensors", framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_pocket_is_smaller_still():
    assert parameters(preset("pocket")) <= 2.5e6


def test_the_small_ones_have_both_memories():
    for name in ("compact", "pocket"):
        memory = preset(name).memory
        assert memory is not None
        assert memory.ttt_after
        assert memory.swa_after
        assert max(memory.ttt_after + memory.swa_after) < preset(name).decoder.depth


@pytest.mark.parametrize("name", PRESETS)
def test_widths_divide_into_heads(name):
    config = preset(name)
    transformers = [part for part in (config.encoder, config.decoder, config.heads) if hasattr(part, "heads")]
    for part in (*transformers, getattr(config.heads, "camera", config.decoder)):
        assert part.width % part.heads == 0
    assert (config.decoder.width // config.decoder.heads) % 4 == 0  # two halves of pairs for the rotary positions
    assert config.decoder.depth % 2 == 0
    if config.memory is not None:
        assert config.decoder.width % config.memory.ttt_head_dim == 0


def test_an_unknown_preset_is_one_clear_line():
    with pytest.raises(InputError) as caught:
        preset("logger")
    assert str(caught.value) == (
        "there is no network 'logger'; the presets are loger, loger-star, pi3, pi3x, compact, pocket"
    )


def test_pi3x_heads_go_on_any_network():
    config = with_pi3x_heads(preset("loger"))
    assert config.memory == preset("loger").memory
    assert on_meta(config).heads.metric is not None
    assert on_meta(preset("pi3x")).decoder.memory is None


def test_a_fresh_memory_layer_adds_nothing():
    """Its gate is closed, so training begins as the network without it."""
    network = Network(preset("pocket"))
    for layer in (*network.decoder.memory.ttt, *network.decoder.memory.swa):
        x = torch.randn(1, 3, layer.gate.in_features)
        assert torch.count_nonzero(layer.gate(x)) == 0
