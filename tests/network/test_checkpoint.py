"""Weights from outside: every form that is read, and one clear line for every one that is not."""

import json
import logging
import os
import pickle
import re
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from network.reference import all_weights, equal_states, open_pocket, small_images, toy_config, toy_memory, toy_network
from openloger.errors import WeightsError
from openloger.network import PRESETS, Network, Window, load_network, preset, save_network, weights_hash
from openloger.network.checkpoint import config_from_dict, load_tensors, read_config, read_tensors
from openloger.network.load import find_weights
from openloger.network.published_names import published_name

UNUSED = {f"ttt_layers.{layer}.to_qkv_stack.0.weight": torch.ones(96, 32) for layer in range(3)}


def published(network=None):
    """A network's tensors as the authors' files name them, with the ones that nothing uses."""
    network = network or toy_network()
    return {published_name(name): tensor.clone() for name, tensor in network.state_dict().items()} | UNUSED


def empty_toy(**options):
    return Network(toy_config(toy_memory(), **options))


@pytest.fixture
def toy_preset(monkeypatch):
    """The toy network under a name, so that a whole `load_network` takes milliseconds."""
    monkeypatch.setitem(PRESETS, "toy", lambda: toy_config(toy_memory()))


WRAPPED = {
    "plain": lambda tensors: tensors,
    "model_state_dict": lambda tensors: {"model_state_dict": tensors, "step": 3, "lr": 0.1},
    "module.": lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    "both": lambda tensors: {"model_state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}},
    "half": lambda tensors: {name: tensor.bfloat16().float() for name, tensor in tensors.items()},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_published_pickles(wrap, tmp_path, toy_preset):
    torch.save(WRAPPED[wrap](published()), tmp_path / "latest.pt")
    network = load_network("toy", weights=tmp_path / "latest.pt", device="cpu", dtype=torch.float32)
    if wrap != "half":
        assert equal_states(network, toy_network())
    assert network.weights == tmp_path / "latest.pt"
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_pickle_of_the_old_format(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_tensors(tmp_path / "old.pth")["a"], torch.ones(2))


def test_published_half_precision_runs_in_float32(tmp_path, toy_preset):
    torch.save({name: tensor.bfloat16() for name, tensor in published().items()}, tmp_path / "latest.pt")
    network = load_network("toy", weights=tmp_path / "latest.pt", device="cpu", dtype="float32")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    prediction, _ = network(Window(small_images(frames=2), 2, 0))
    assert torch.isfinite(prediction.points_cam).all()


def test_published_safetensors(tmp_path, toy_preset):
    save_file(published(), tmp_path / "model.safetensors")
    assert equal_states(load_network("toy", weights=tmp_path / "model.safetensors", dtype="float32"), toy_network())


def test_our_own_file_holds_its_configuration(tmp_path):
    network = open_pocket()
    save_network(network, tmp_path / "pocket.safetensors")
    assert read_config(tmp_path / "pocket.safetensors") == preset("pocket")
    again = load_network("pocket", weights=str(tmp_path / "pocket.safetensors"), device="cpu", dtype="float32")
    assert equal_states(again, network)
    window = Window(small_images(frames=2, height=24, width=32), 2, 0)
    assert torch.equal(again(window)[0].points_cam, network(window)[0].points_cam)


def test_a_network_of_other_numbers_loads_by_its_file(tmp_path):
    """Its own configuration counts, and its name need not be one of ours."""
    config = replace(preset("pocket"), name="mine", window=7)
    config = replace(config, decoder=replace(config.decoder, depth=6))
    save_network(Network(config), tmp_path / "mine.safetensors")
    assert load_network("mine", weights=tmp_path / "mine.safetensors").config == config


def test_our_own_file_in_half_precision(tmp_path):
    network = open_pocket()
    save_network(network, tmp_path / "pocket.safetensors", dtype=torch.float16)
    again = load_network("pocket", weights=tmp_path / "pocket.safetensors", dtype="float32")
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.half().float()), name


def test_the_hash_is_of_the_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert weights_hash(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_json(name):
    config = preset(name)
    assert config_from_dict(json.loads(json.dumps(asdict(config))), source="x") == config


def broken(change):
    values = json.loads(json.dumps(asdict(preset("loger"))))
    change(values)
    return values


@pytest.mark.parametrize(("change", "named"), [
    (lambda values: values.pop("window"), "'window'"),
    (lambda values: values["encoder"].update(depht=3), "'depht'"),
    (lambda values: values["memory"].pop("swa_after"), "'swa_after'"),
    (lambda values: values.update(encoder=3), "'int' object"),
    (lambda values: values["encoder"].update(width="384"), "'384' is not a int"),
    (lambda values: values["decoder"].update(depth=None), "None is not a int"),
    (lambda values: values["decoder"].update(depth=True), "True is not a int"),
    (lambda values: values.update(window=[3]), r"\(3,\) is not a int"),
    (lambda values: values.update(placement=3), "3 is not a str"),
])  # fmt: skip
def test_a_configuration_of_another_version(change, named):
    with pytest.raises(WeightsError, match=f"^old.safetensors has a network configuration of another vers.*{named}"):
        config_from_dict(broken(change), source="old.safetensors")


METADATA = {
    "no JSON": "{",
    "too deep": "[" * 100_000,
    "a number": "3",
    "a list": "[1, 2]",
    "nothing": "null",
    "an empty object": "{}",
    "a text": '"pocket"',
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_that_is_no_configuration(kind, tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file({"a": torch.ones(3)}, path, metadata={"openloger.network": METADATA[kind]})
    with pytest.raises(WeightsError, match=r"odd\.safetensors") as caught:
        load_network("pocket", weights=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [
    lambda values: values["encoder"].update(depth=1_000_000_000),
    lambda values: values["encoder"].update(depth=-1),
    lambda values: values["encoder"].update(heads=0),
    lambda values: values["encoder"].update(width=-384),
    lambda values: values["decoder"].update(heads=7),
    lambda values: values["encoder"].update(width=10**30),
])  # fmt: skip
def test_a_configuration_that_cannot_be(change, tmp_path):
    values = json.loads(json.dumps(asdict(preset("pocket"))))
    change(values)
    tensors = {f"{number}": torch.ones(1) for number in range(60)}
    save_file(tensors, tmp_path / "odd.safetensors", metadata={"openloger.network": json.dumps(values)})
    with pytest.raises(WeightsError, match=r"odd\.safetensors") as caught:
        load_network("pocket", weights=tmp_path / "odd.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [
    {0: torch.ones(3)},
    {"model": {3: torch.ones(3)}},
    {"a": torch.ones(3).to_sparse()},
    {"a": torch.ones(3, dtype=torch.complex64)},
    {"a": torch.ones(3), "module.a": torch.zeros(3)},
])  # fmt: skip
def test_a_pickle_of_odd_tensors_or_names(content, tmp_path):
    torch.save(content, tmp_path / "latest.pt")
    with pytest.raises(WeightsError, match=r"latest\.pt"):
        read_tensors(tmp_path / "latest.pt")


def test_a_file_of_another_network(tmp_path):
    save_network(open_pocket(), tmp_path / "pocket.safetensors")
    with pytest.raises(WeightsError, match=r"'pocket'.*'compact'"):
        load_network("compact", weights=tmp_path / "pocket.safetensors")


def test_missing_and_left_over_tensors_are_listed():
    """By the names that the file uses."""
    tensors = published()
    del tensors["decoder.3.attn.proj.bias"], tensors["register_token"]
    tensors["decoder.3.attn.prjo.bias"] = torch.zeros(32)
    with pytest.raises(WeightsError) as caught:
        load_tensors(empty_toy(), tensors, source="latest.pt")
    assert str(caught.value) == (
        "latest.pt does not hold the network 'toy'; "
        "missing 2: decoder.3.attn.proj.bias, register_token; left over 1: decoder.3.attn.prjo.bias"
    )


def test_long_lists_are_cut():
    with pytest.raises(WeightsError, match=r"missing \d{3}: ([\w.]+, ){7}[\w.]+ …; left over 1: nonsense$"):
        load_tensors(empty_toy(), {"nonsense": torch.zeros(1)}, source="latest.pt")


def test_loger_is_not_loger_star():
    network = Network(toy_config(toy_memory(pre_norm=False)))
    with pytest.raises(WeightsError, match=r"; left over 3: ttt_layers\.0\.pre_norm\.weight, "):
        load_tensors(network, published(), source="latest.pt")


def test_our_names_are_shown_for_our_files():
    tensors = dict(toy_network().state_dict())
    del tensors["decoder.registers"]
    with pytest.raises(WeightsError, match=r"; missing 1: decoder\.registers$"):
        load_tensors(empty_toy(), tensors, source="model.safetensors")


def test_another_shape():
    tensors = published() | {"conf_head.proj.bias": torch.zeros(195)}
    with pytest.raises(WeightsError, match=re.escape("of another shape 1: conf_head.proj.bias is (195,) for (196,)")):
        load_tensors(empty_toy(), tensors, source="latest.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_names_its_layer(value):
    tensors = published()
    tensors["decoder.3.mlp.fc1.weight"][5, 7] = value
    with pytest.raises(
        WeightsError, match=r"^latest.pt has values that are not finite in decoder\.3\.mlp\.fc1\.weight$"
    ):
        load_tensors(empty_toy(), tensors, source="latest.pt")


def test_a_refused_file_leaves_the_network_as_it_was():
    network = toy_network()
    tensors = {name: tensor + 1 for name, tensor in published().items()}
    del tensors["register_token"]
    with pytest.raises(WeightsError):
        load_tensors(network, tensors, source="latest.pt")
    assert equal_states(network, toy_network())


def test_conditioning_inputs_of_pi3x_are_left_out_aloud(caplog):
    conditioning = {"depth_encoder.proj.weight": torch.ones(3), "pose_embed.0.bias": torch.ones(3)}
    network = Network(toy_config(toy_memory(), pi3x=True))
    tensors = {published_name(name): all_weights()[published_name(name)] for name in network.state_dict()}
    with caplog.at_level(logging.WARNING, logger="openloger"):
        load_tensors(network, tensors | conditioning, source="model.safetensors")
    assert caplog.messages == ["left out 2 tensors of conditioning inputs: depth_encoder, pose_embed"]
    assert torch.equal(network.heads.metric.token, all_weights()["metric_token"])
    with pytest.raises(WeightsError, match=r"left over 1: decoder\.9\.weight$"):  # of a module that is ours
        load_tensors(network, tensors | {"decoder.9.weight": torch.ones(1)}, source="model.safetensors")
    with pytest.raises(WeightsError, match="left over 2: depth_encoder"):  # a network without these heads takes none
        load_tensors(empty_toy(), published() | conditioning, source="model.safetensors")


class RunsCode:
    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return (os.mkdir, (str(self.proof),))


@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_with_code_is_refused(nested, tmp_path):
    proof = tmp_path / "it ran"
    content = {"model_state_dict": published(), "config": RunsCode(proof)} if nested else RunsCode(proof)
    torch.save(content, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match=r"evil.pt is not a checkpoint .*: it holds \w+\.mkdir, and code is never l"):
        read_tensors(tmp_path / "evil.pt")
    assert not proof.exists()


def test_a_bare_pickle_with_code_is_refused(tmp_path):
    proof = tmp_path / "it ran"
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(RunsCode(proof), protocol=2))
    with pytest.raises(WeightsError, match=r"evil\.pt"):
        read_tensors(tmp_path / "evil.pt")
    assert not proof.exists()


def zip_cut_short(folder):
    torch.save(published(), folder / "whole")
    return (folder / "whole").read_bytes()[:5000]


DAMAGED = {
    "empty": lambda folder: b"",
    "text": lambda folder: b"version https://git-lfs.github.com/spec/v1\nsize 5021443072\n",
    "noise": lambda folder: bytes(range(1, 256)) * 8,
    "cut short": zip_cut_short,
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files(kind, suffix, tmp_path):
    path = tmp_path / f"latest{suffix}"
    path.write_bytes(DAMAGED[kind](tmp_path))
    with pytest.raises(WeightsError) as caught:
        load_network("pocket", weights=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], {"epoch": 3}, {"model_state_dict": {"a": 1.0}}])
def test_a_pickle_of_something_else(content, tmp_path):
    torch.save(content, tmp_path / "latest.pt")
    with pytest.raises(WeightsError, match="'model_state_dict'"):
        read_tensors(tmp_path / "latest.pt")


def test_no_such_file(tmp_path):
    with pytest.raises(WeightsError, match="there is no weights file at"):
        read_tensors(tmp_path / "latest.pt")
    with pytest.raises(WeightsError, match=r"gone\.pt.*a file, a folder, a hub id"):
        find_weights("loger", tmp_path / "gone.pt")
