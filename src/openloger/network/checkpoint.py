"""Weights from outside: the published checkpoints, our own safetensors files, and networks without any.

Our own file is one safetensors file whose metadata holds the network's configuration, so it needs nothing beside it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from zipfile import BadZipFile, is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from openloger.errors import WeightsError
from openloger.network.network import Network, NetworkConfig
from openloger.network.published_names import UNUSED, published_name
from openloger.shapes import Tensor

Config = TypeVar("Config")
_log = logging.getLogger("openloger")
_CONFIG_KEY = "openloger.network"
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # as safetensors words one
_UNREADABLE = (
    *(UnpicklingError, BadZipFile, struct.error, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError),
    *(AttributeError, AssertionError, ArithmeticError, MemoryError),
)
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
    plain = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):
        raise WeightsError(f"{path} has one tensor with and without 'module.' before its name: remove one")
    for name, tensor in plain.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise WeightsError(f"{path}: {name} is sparse, quantised or complex; weights are plain numbers")
    return plain


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, KeyError, AttributeError) as error:  # the last two: a dtype torch does not have
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
    is_named = isinstance(content, dict) and all(isinstance(name, str) for name in content)
    if not is_named or not all(isinstance(value, Tensor) for value in content.values()):
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
    """π³X's inputs (depth, rays, poses) that this network does not take: whole modules, named in a warning."""
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


def save_network(network: Network, path: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write our own file: tensors under our names, the configuration in the metadata."""
    tensors = {
        name: tensor.detach().to(dtype or tensor.dtype).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    write_tensors(tensors, path, metadata={_CONFIG_KEY: json.dumps(asdict(network.config))})


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file; raises OSError where the system refuses it, as safetensors does not by itself."""
    try:
        save_file(dict(tensors), path, metadata=None if metadata is None else dict(metadata))
    except SafetensorError as error:
        found = _SYSTEM_ERROR.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


def read_config(path: Path) -> NetworkConfig | None:
    """The configuration inside one of our own files; None in a foreign one. Raises WeightsError."""
    if path.suffix != ".safetensors":
        return None
    with _safetensors(path) as file:
        text, count = (file.metadata() or {}).get(_CONFIG_KEY), len(file.keys())
    if text is None:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: its network configuration is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} is damaged: its network configuration is {type(values).__name__}, not an object")
    config = config_from_dict(values, source=str(path))
    blocks = sum(getattr(part, "depth", 0) for part in (config.encoder, config.decoder, config.heads))
    if not 0 <= blocks <= count:  # each has tensors of its own
        raise WeightsError(f"{path} is damaged: its configuration has {blocks} blocks, and it holds {count} tensors")
    return config


def config_from_dict(values: Mapping[str, Any], *, source: str) -> NetworkConfig:
    """A configuration from its JSON form; an unknown or missing key, or a value of another type, is an error."""
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
    value = tuple(value) if isinstance(value, list) else value
    _check_type(declared, value)
    return value


def _check_type(declared: Any, value: Any) -> None:
    parts = get_args(declared) if isinstance(declared, UnionType) else (declared,)
    kinds = [get_origin(part) or part for part in parts]
    if declared is None or not all(isinstance(kind, type) for kind in kinds):
        return  # a key that is not known, which its class refuses; a Literal
    allowed = (*kinds, int) if float in kinds else tuple(kinds)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{value!r} is not a {' or '.join(kind.__name__ for kind in kinds)}")
