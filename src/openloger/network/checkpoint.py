"""Weights from outside: the published checkpoints, our own safetensors files, and networks without any.

Our own file is one safetensors file whose metadata holds the network's configuration, so it needs nothing beside it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from openloger.errors import WeightsError
from openloger.network.decoder import DecoderConfig
from openloger.network.encoder import EncoderConfig
from openloger.network.heads import HeadsConfig
from openloger.network.memory.hybrid import MemoryConfig
from openloger.network.names import UNUSED, published_name
from openloger.network.network import Network, NetworkConfig
from openloger.network.pi3x import Pi3XConfig
from openloger.shapes import Tensor

_log = logging.getLogger("openloger")
_CONFIG_KEY = "openloger.network"
_SHOWN = 8  # names listed of a mismatch before "and N more"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a pickled checkpoint: plain, under `model_state_dict`, DDP-prefixed.

    Pickles are read with `weights_only=True`, so a file cannot run code. Raises WeightsError.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file at {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except SafetensorError as error:
            raise WeightsError(f"{path} is not a safetensors file: {error}") from error
    return _strip_prefix(_unpickle(path))


def _unpickle(path: Path) -> Mapping[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, ValueError, __import__("pickle").UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is not a checkpoint of tensors alone: {reason}") from error
    for key in ("model_state_dict", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no dictionary of tensors, neither plain nor under 'model_state_dict'")
    return content


def _strip_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def load_tensors(network: Network, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Give `network` the tensors of a file, under our names or the published ones: all of them, finite, of its shapes.

    Raises WeightsError that lists what is missing, what is left over, what has another shape, or which tensor is NaN.
    """
    own = network.state_dict()
    foreign = {published_name(name): name for name in own}
    if "register_token" in tensors:
        tensors = {foreign.get(name, name): tensor for name, tensor in tensors.items()}
    unused = {name for name in tensors if UNUSED.match(name)} | _out_of_scope(network, tensors)
    tensors = {name: tensor for name, tensor in tensors.items() if name not in unused}
    _check(own, tensors, source=source, preset=network.config.name)
    network.load_state_dict(dict(tensors), strict=True, assign=_is_meta(network))


def _out_of_scope(network: Network, tensors: Mapping[str, Tensor]) -> set[str]:
    """π³X's conditioning inputs (depth, rays, poses), which this network does not take: whole modules unknown to us."""
    if network.config.heads.pi3x is None:
        return set()
    known = {published_name(name).split(".")[0] for name in network.state_dict()}
    known |= {name.split(".")[0] for name in network.state_dict()}
    left_out = {name for name in tensors if name.split(".")[0] not in known}
    if left_out:
        modules = sorted({name.split(".")[0] for name in left_out})
        _log.warning("left out %d tensors of conditioning inputs: %s", len(left_out), ", ".join(modules))
    return left_out


def _check(own: Mapping[str, Tensor], given: Mapping[str, Tensor], *, source: str, preset: str) -> None:
    missing, left_over = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(given[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    complaints = [
        f"{title} {len(names)}: {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
        for title, names in (("missing", missing), ("left over", left_over), ("of another shape", shapes))
        if names
    ]
    if complaints:
        raise WeightsError(f"{source} does not hold the network {preset!r}; {'; '.join(complaints)}")
    for name, tensor in given.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{source} has values that are not finite in {name} ({published_name(name)})")


def _is_meta(network: Network) -> bool:
    return next(network.parameters()).is_meta


def weights_hash(path: Path) -> str:
    """The SHA-256 of a weights file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save_network(network: Network, path: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write our own file: tensors under our names, the configuration in the metadata."""
    tensors = {
        name: tensor.detach().to(dtype or tensor.dtype).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    save_file(tensors, path, metadata={_CONFIG_KEY: json.dumps(asdict(network.config))})


def read_config(path: Path) -> NetworkConfig | None:
    """The configuration inside one of our own files (or beside it, in `config.json`); None in a foreign file."""
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_CONFIG_KEY)
    beside = path.with_name("config.json")
    if text is None and beside.is_file():
        text = json.dumps(json.loads(beside.read_text()).get(_CONFIG_KEY))
    return None if text in (None, "null") else config_from_dict(json.loads(text), source=str(path))


def config_from_dict(values: Mapping[str, Any], *, source: str) -> NetworkConfig:
    """A configuration from its JSON form; an unknown or missing key is an error."""
    values = dict(values)
    try:
        heads, memory = dict(values["heads"]), values["memory"]
        heads["pi3x"] = heads["pi3x"] and Pi3XConfig(**_tuples(heads["pi3x"]))
        values["encoder"] = EncoderConfig(**values["encoder"])
        values["decoder"] = DecoderConfig(**values["decoder"])
        values["heads"] = HeadsConfig(**heads)
        values["memory"] = memory and MemoryConfig(**_tuples(memory))
        return NetworkConfig(**values)
    except (KeyError, TypeError) as error:
        reason = re.sub(r"^\w+\.__init__\(\) ", "", str(error))
        raise WeightsError(f"{source} has a network configuration of another version: {reason}") from error


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
