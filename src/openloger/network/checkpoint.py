"""Weights from outside: the published checkpoints, our own safetensors files, and networks without any.

Our own file is one safetensors file whose metadata holds the network's configuration, so it needs nothing beside it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar, get_args, get_type_hints
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from openloger.errors import WeightsError
from openloger.network.names import UNUSED, published_name
from openloger.network.network import Network, NetworkConfig
from openloger.shapes import Tensor

Config = TypeVar("Config")
_log = logging.getLogger("openloger")
_CONFIG_KEY = "openloger.network"
_UNREADABLE = (UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError)
_SHOWN = 8  # names listed of a mismatch before "and N more"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a pickled checkpoint: plain, under `model_state_dict`, DDP-prefixed.

    Pickles are read with `weights_only=True`, so a file cannot run code. Raises WeightsError.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file at {path}")
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            tensors: Mapping[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    else:
        tensors = _unpickle(path)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}") from error


def _unpickle(path: Path) -> Mapping[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except _UNREADABLE as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds {code[1]}, and code is never loaded" if code else "it is damaged, or something else"
        raise WeightsError(f"{path} is not a checkpoint of tensors alone: {reason}") from error
    for key in ("model_state_dict", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no dictionary of tensors, neither plain nor under 'model_state_dict'")
    return content


def load_tensors(network: Network, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Give `network` the tensors of a file, under our names or the published ones: all of them, finite, of its shapes.

    Raises WeightsError that lists what is missing, what is left over, what has another shape, or which tensor is NaN,
    by the names that the file uses.
    """
    own = network.state_dict()
    naming = max((str, published_name), key=lambda naming: sum(naming(name) in tensors for name in own))
    wanted = {naming(name): tensor for name, tensor in own.items()}
    unused = {name for name in tensors if UNUSED.match(name)}
    if naming is published_name and getattr(network.config.heads, "pi3x", None) is not None:
        unused |= _conditioning_inputs(wanted, tensors)
    given = {name: tensor for name, tensor in tensors.items() if name not in unused}
    _check(wanted, given, source=source, preset=network.config.name)
    network.load_state_dict({name: given[naming(name)] for name in own}, assign=_is_meta(network))


def _conditioning_inputs(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> set[str]:
    """π³X's inputs (depth, rays, poses) that this network does not take: whole modules unknown to us, said aloud."""
    known = {name.split(".")[0] for name in wanted}
    left_out = {name for name in tensors if name.split(".")[0] not in known}
    if left_out:
        modules = sorted({name.split(".")[0] for name in left_out})
        _log.warning("left out %d tensors of conditioning inputs: %s", len(left_out), ", ".join(modules))
    return left_out


def _check(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], *, source: str, preset: str) -> None:
    missing, left_over = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    shapes = [
        f"{name} is {tuple(given[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
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
            raise WeightsError(f"{source} has values that are not finite in {name}")


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
    """The configuration inside one of our own files; None in a foreign one. Raises WeightsError."""
    if path.suffix != ".safetensors":
        return None
    with _safetensors(path) as file:
        text = (file.metadata() or {}).get(_CONFIG_KEY)
    return None if text is None else config_from_dict(json.loads(text), source=str(path))


def config_from_dict(values: Mapping[str, Any], *, source: str) -> NetworkConfig:
    """A configuration from its JSON form; an unknown or missing key is an error."""
    try:
        return _built(NetworkConfig, values)
    except (AttributeError, TypeError) as error:
        reason = re.sub(r"^\w+\.__init__\(\) ", "", str(error))
        raise WeightsError(f"{source} has a network configuration of another version: {reason}") from error


def _built(kind: type[Config], values: Any) -> Config:
    """A dataclass from its `asdict` after a journey through JSON: nested ones are built, lists are tuples again."""
    types = get_type_hints(kind)
    return kind(**{name: _value(types.get(name), value) for name, value in values.items()})


def _value(declared: Any, value: Any) -> Any:
    kinds = [part for part in (declared, *get_args(declared)) if isinstance(part, type) and is_dataclass(part)]
    if kinds and value:
        return _built(next((kind for kind in kinds if {f.name for f in fields(kind)} == set(value)), kinds[0]), value)
    return tuple(value) if isinstance(value, list) else value
