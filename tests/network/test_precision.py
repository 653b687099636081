"""Half precision on a CPU: when it is taken, how far it is from float32, and what stays float32."""

import copy

import pytest
import torch
from torch import nn

from network.reference import chain, distance, open_pocket, small_images, toy_network
from openloger.network import Network, preset
from openloger.network.precision import resolve_dtype, training_dtype

HALVES = (torch.bfloat16, torch.float16)
PARTS = ("world_from_cam", "points_cam", "confidence_logit")
# About twice what was measured: ‖a − b‖ / ‖b‖ of the worst window and part.
TOLERANCES = {
    ("toy", torch.bfloat16): 0.02,
    ("toy", torch.float16): 0.003,
    ("toy pi3x", torch.bfloat16): 0.02,
    ("toy pi3x", torch.float16): 0.003,
    ("pocket", torch.bfloat16): 0.08,
    ("pocket", torch.float16): 0.01,
}


CPU = torch.device("cpu")


@pytest.mark.parametrize("able", [{"avx512_bf16": True}, {"amx_bf16": True}, {"avx512_f": True}, {}])
@pytest.mark.parametrize("used", ["AVX512", "AVX2"])
def test_auto_is_bfloat16_where_a_processor_multiplies_in_it(monkeypatch, able, used):
    """And torch is not held to fewer instructions, as by ATEN_CPU_CAPABILITY=avx2."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    wanted = torch.bfloat16 if used == "AVX512" and any("bf16" in name for name in able) else torch.float32
    assert resolve_dtype("auto", CPU) == training_dtype("auto", CPU) == wanted


def test_a_torch_that_cannot_tell_takes_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_dtype("auto", CPU) == training_dtype("auto", CPU) == torch.float32


@pytest.mark.parametrize(
    ("native", "inference", "training"), [(True, torch.bfloat16, torch.bfloat16), (False, torch.float16, torch.float32)]
)
def test_auto_on_a_card(monkeypatch, native, inference, training):
    """A card without bfloat16 emulates it, slowly."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    card = torch.device("cuda")
    assert (resolve_dtype("auto", card), training_dtype("auto", card)) == (inference, training)


def build(name):
    if name == "pocket":
        return open_pocket(), small_images(frames=8, height=24, width=32)
    return toy_network(newton_schulz="auto", pi3x=name == "toy pi3x"), small_images(frames=8, height=42, width=56)


def halved(network, precision):
    return copy.deepcopy(network).set_precision(precision)


def disagreement(one, other):
    """Of the worst part; depths by their logarithm, since an untrained one runs over decades."""
    parts = [distance(getattr(one, part), getattr(other, part)) for part in ("world_from_cam", "confidence_logit")]
    depths = [prediction.points_cam[..., 2].log() for prediction in (one, other)]
    return max(*parts, distance(*depths))


@pytest.mark.parametrize(("name", "precision"), TOLERANCES)
def test_half_precision_is_near_float32(name, precision):
    network, images = build(name)
    exact, _ = chain(network, images)
    near, _ = chain(halved(network, precision), images)
    for one, other in zip(near, exact, strict=True):
        assert {getattr(one, part).dtype for part in PARTS} == {torch.float32}
        assert 1e-6 < disagreement(one, other) < TOLERANCES[name, precision]


@pytest.mark.parametrize("precision", HALVES)
def test_only_the_matrices_of_the_transformers_are_halved(precision):
    network = halved(toy_network(pi3x=True), precision)
    halves = {name for name, parameter in network.named_parameters() if parameter.dtype == precision}
    assert {parameter.dtype for parameter in network.parameters()} == {precision, torch.float32}
    for name, module in network.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm | nn.RMSNorm | nn.Conv2d) or "gate" in name:
                assert parameter.dtype == torch.float32, (name, own)
    assert not any(
        name.startswith(("heads.points", "heads.confidence.", "heads.camera.", "heads.metric.")) for name in halves
    )
    assert not any(name.endswith((".w0", ".w1", ".w2")) or "to_rates" in name for name in halves)
    for matrix in ("qkv", "proj", "fc1", "fc2", "to_qkv"):
        assert any(name.endswith(f"{matrix}.weight") for name in halves), matrix


def test_most_of_the_published_network_is_halved():
    """The rest are the fast weights, which learn in float32."""
    with torch.device("meta"):
        network = Network(preset("loger")).set_precision(torch.bfloat16)
    halved = sum(p.numel() for p in network.parameters() if p.dtype == torch.bfloat16)
    fast = sum(p.numel() for name, p in network.named_parameters() if name.endswith((".w0", ".w1", ".w2")))
    assert halved + fast > 0.98 * sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("precision", HALVES)
def test_a_memory_crosses_precisions(precision):
    """Written in one, read in the other: fast weights are float32 everywhere, keys and values are cast where read."""
    network, images = build("toy")
    half = halved(network, precision)
    for writer, reader in ((network, half), (half, network)):
        _, (memory,) = chain(writer, images[:, :5])
        assert {tensor.dtype for state in memory.fast_weights.values() for tensor in state} == {torch.float32}
        (one,), _ = chain(reader, images[:, 3:], memory=memory)
        (other,), _ = chain(network, images[:, 3:], memory=chain(network, images[:, :5])[1][0])
        assert disagreement(one, other) < TOLERANCES["toy", precision]


def test_precision_can_be_set_again():
    network, images = build("toy")
    network.set_precision(torch.float16).set_precision(torch.float32)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    (prediction,), _ = chain(network, images[:, :5])
    assert prediction.points_cam.dtype == torch.float32


def test_an_autocast_outside_does_not_reach_float32_networks():
    network, images = build("toy")
    (plain,), _ = chain(network, images[:, :5])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (inside,), _ = chain(network, images[:, :5])
    assert torch.equal(inside.points_cam, plain.points_cam)


@pytest.mark.parametrize("precision", HALVES)
def test_dense_heads_stay_in_float32(precision):
    """They run outside autocast: a block of theirs in half precision could not multiply its input."""
    torch.manual_seed(0)
    network = Network(preset("compact")).eval().requires_grad_(False)
    half = halved(network, precision)
    assert {weight.dtype for weight in half.heads.parameters()} == {torch.float32}
    assert precision in {weight.dtype for weight in half.decoder.parameters()}
    images = small_images(frames=2, height=64, width=96)
    (whole,), _ = chain(network, images, size=2, overlap=0)
    (narrow,), _ = chain(half, images, size=2, overlap=0)
    assert 1e-6 < distance(narrow.points_cam, whole.points_cam) < 1e-4  # 4.8e-5 and 0.9e-5 were measured
