"""Where weights are looked for, in a folder, on the hub and in its cache; networks by name, precision and device."""

import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import save_file

from network.reference import equal_states, open_pocket
from openloger.errors import InputError, WeightsError
from openloger.network import load_network, save_network
from openloger.network.load import cached, find_weights, resolve_device
from openloger.network.precision import resolve_dtype


@pytest.mark.parametrize("inside", ["model.safetensors", "loger.safetensors", "LoGeR/latest.pt", "latest.pt"])
def test_a_folder_that_holds_them(inside, tmp_path):
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    (tmp_path / inside).touch()
    assert find_weights("loger", tmp_path) == tmp_path / inside


def test_a_folder_without_them(tmp_path):
    with pytest.raises(WeightsError) as caught:
        find_weights("loger", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds none of model.safetensors, loger.safetensors, LoGeR/latest.pt, latest.pt"
    )
    with pytest.raises(WeightsError, match=r"model\.safetensors, pocket\.safetensors"):
        find_weights("pocket", tmp_path)


@pytest.mark.parametrize(("name", "weights", "repository", "filename"), [
    ("loger", None, "Junyi42/LoGeR", "LoGeR/latest.pt"),
    ("loger", "Junyi42/LoGeR", "Junyi42/LoGeR", "LoGeR/latest.pt"),
    ("loger-star", None, "Junyi42/LoGeR", "LoGeR_star/latest.pt"),
    ("pi3", "yyfz233/Pi3", "yyfz233/Pi3", "model.safetensors"),
    ("pi3x", None, "yyfz233/Pi3X", "model.safetensors"),
    ("compact", "somebody/their-compact", "somebody/their-compact", "model.safetensors"),
    ("loger", "somebody/tuned", "somebody/tuned", "model.safetensors"),
])  # fmt: skip
def test_what_is_asked_of_the_hub(name, weights, repository, filename, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args: asked.append(args) or str(tmp_path / "file"))
    assert find_weights(name, weights) == tmp_path / "file"
    assert asked == [(repository, filename)]


def test_a_network_from_the_hub(tmp_path, monkeypatch):
    save_network(open_pocket(), tmp_path / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: str(tmp_path / "model.safetensors"))
    assert equal_states(load_network("pocket", weights="somebody/their-pocket", dtype="float32"), open_pocket())


def test_the_hub_says_no(monkeypatch):
    def refuse(*_):
        response = SimpleNamespace(headers={}, request=None)
        raise RepositoryNotFoundError("404 Client Error.\nRepository Not Found for url", response=response)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(WeightsError, match=r"^the hub does not give nobody/nothing/model\.safetensors: 404 Client Err"):
        find_weights("pocket", "nobody/nothing")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """huggingface_hub as it is under HF_HUB_OFFLINE=1 with an empty cache; gives the cache's folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_in_cache(cache, repository, filename, content):
    revision = "0123456789abcdef0123456789abcdef01234567"
    folder = cache / f"models--{repository.replace('/', '--')}"
    path = folder / "snapshots" / revision / filename
    path.parent.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision)
    path.write_bytes(content)
    return path


def test_a_cached_file_is_found_offline(offline):
    assert cached("loger") is None
    path = put_in_cache(offline, "Junyi42/LoGeR", "LoGeR/latest.pt", b"weights")
    assert find_weights("loger", None) == path
    assert cached("loger") == path
    assert cached("loger-star") is None


def test_offline_without_a_cached_file_is_one_line(tmp_path):
    """In a process of its own, by the variable that users set."""
    script = "import openloger.network as n\ntry: n.load_network('loger')\nexcept n.load.WeightsError as e: print(e)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "Junyi42/LoGeR/LoGeR/latest.pt is not on this machine and the hub cannot be reached: "
        "download it elsewhere and give its path with --weights, or use --network pocket, which is in the box\n"
    )
    assert done.stderr == ""


def test_untrained_weights_are_said_to_be(caplog):
    with caplog.at_level(logging.WARNING, logger="openloger"):
        network = load_network("pocket", weights="random")
    assert caplog.messages == ["pocket runs with untrained (random) weights: what it reconstructs means nothing"]
    assert network.weights is None


def test_untrained_weights_are_the_same_every_time():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = load_network("pocket", weights="random")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert equal_states(one, load_network("pocket", weights="random"))


def test_unknown_names():
    for weights in (None, "random"):
        with pytest.raises(InputError, match="there is no network 'logger'"):
            load_network("logger", weights=weights)


@pytest.mark.parametrize("name", ["float64", "int8", torch.float64])
def test_unknown_precisions(name):
    with pytest.raises(
        InputError, match=f"dtype '{name}' is none of auto, float32, fp32, bfloat16, bf16, float16, fp16"
    ):
        load_network("pocket", weights="random", dtype=name)


def test_known_precisions():
    cpu = torch.device("cpu")
    for name, precision in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("float16", torch.float16)):
        assert resolve_dtype(name, cpu) is precision
        assert resolve_dtype(precision, cpu) is precision


@pytest.mark.parametrize("name", ["tpu9000", "cuda:99"])
def test_unusable_devices(name):
    with pytest.raises(InputError, match=f"device '{name}' cannot be used here: "):
        load_network("pocket", weights="random", device=name)


def test_auto_is_a_device_that_works():
    torch.empty(1, device=resolve_device("auto"))


def test_weights_alone_say_which_network_they_are(tmp_path):
    network = load_network("pocket", weights="random", device="cpu")
    save_network(network, tmp_path / "model.safetensors")
    for named in (tmp_path, tmp_path / "model.safetensors"):
        assert equal_states(load_network(str(named), device="cpu"), network)
    save_file({"register_token": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match=r"foreign\.safetensors.*preset"):
        load_network(str(tmp_path / "foreign.safetensors"), device="cpu")
