"""The reference numbers: a toy-width network with published names, and what it answered."""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file

from openloger.network import MemoryConfig, Network, NetworkConfig, Window, preset
from openloger.network.checkpoint import load_tensors
from openloger.network.decoder import DecoderConfig
from openloger.network.encoder import EncoderConfig
from openloger.network.heads import HeadsConfig
from openloger.network.pi3x import Pi3XConfig
from openloger.network.published_names import published_name

FOLDER = Path(__file__).parents[1] / "data" / "reference"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
RUNS = [(network, run) for network, entry in EXPECTED.items() for run in entry["runs"]]


@cache
def expected_tensors():
    return load_file(FOLDER / "expected.safetensors")


@cache
def all_weights():
    return load_file(FOLDER / "weights.safetensors")


def parameter_list(name):
    lines = (FOLDER / f"{name}_parameters.txt").read_text().split("\n")
    rows = (line.split("\t") for line in lines if line)
    return {name: tuple(int(side) for side in shape.split("x")) for name, shape in rows}


def toy_config(memory=None, *, pi3x=False):
    heads = Pi3XConfig(stages=(32, 32, 32), metric_width=32, metric_heads=2, metric_output_width=16) if pi3x else None
    return NetworkConfig(
        name="toy",
        encoder=EncoderConfig(width=32, depth=2, heads=2),
        decoder=DecoderConfig(width=32, depth=6, heads=2),
        heads=HeadsConfig(width=32, depth=5, heads=2, output_width=32, camera_width=16, pi3x=heads),
        memory=memory,
        max_pixels=255_000,
        window=6,
        overlap=2,
        placement="none",
    )


def toy_memory(*, pre_norm=True, newton_schulz="float32"):
    return MemoryConfig(
        ttt_after=(0, 2, 4), swa_after=(2,), ttt_head_dim=16, ttt_pre_norm=pre_norm, newton_schulz=newton_schulz
    )


def with_reference_weights(config):
    network = Network(config)
    names = {published_name(name) for name in network.state_dict()}
    load_tensors(network, {name: all_weights()[name] for name in names}, source="the reference")
    return network.eval().requires_grad_(False)


def reference_network(network_name, run):
    entry = EXPECTED[network_name]["network"]
    memory = toy_memory(pre_norm=entry["ttt_pre_norm"], newton_schulz=run.get("newton_schulz", "bfloat16"))
    network = with_reference_weights(toy_config(memory, pi3x=entry["pi3x_heads"]))
    for kind in ("ttt", "swa"):
        if run.get(f"{kind}_gate") == 0:
            for layer in getattr(network.decoder.memory, kind):
                layer.gate.weight.zero_()
                layer.gate.bias.zero_()
    return network


def toy_network(*, pre_norm=True, newton_schulz="float32", pi3x=False):
    """The toy network with its reference weights: random, and every gate open."""
    return with_reference_weights(toy_config(toy_memory(pre_norm=pre_norm, newton_schulz=newton_schulz), pi3x=pi3x))


def open_pocket(seed=0):
    """The pocket preset with random weights and open gates, so that its memory counts."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(preset("pocket"))
        for layer in (*network.decoder.memory.ttt, *network.decoder.memory.swa):
            torch.nn.init.normal_(layer.gate.weight, std=0.2)
            torch.nn.init.ones_(layer.gate.bias)
    return network.eval().requires_grad_(False)


def small_images(*, frames=9, height=28, width=42, batch=1, seed=0):
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(seed))


def chain(network, images, *, size=5, overlap=2, memory=None):
    """Every window's prediction, and the memory after each; all frames but the overlap belong to one window."""
    predictions, memories = [], []
    for start in range(0, images.shape[1] - overlap, size - overlap):
        prediction, memory = network(Window(images[:, start : start + size], size, overlap), memory)
        predictions.append(prediction)
        memories.append(memory)
    return predictions, memories


def distance(ours, theirs):
    """‖a − b‖ / ‖b‖"""
    return ((ours.double() - theirs.double()).norm() / theirs.double().norm()).item()


def equal_states(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
