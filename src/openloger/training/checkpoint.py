"""A run on disk: everything that it needs to go on, written so that a kill at any moment leaves a whole one.

A checkpoint is a folder of safetensors shards (under 15 MB each) and a `state.json`. It is written under
another name and renamed when complete; `latest` names the newest. No random state is stored, for nothing but the
first weights is drawn at random: data follow from (seed, step, lane).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from openloger.errors import InputError
from openloger.shapes import Tensor
from openloger.training.distribute import like, whole
from openloger.training.optimiser import RunningMean
from openloger.training.packing import pack, unpack

SHARD_BYTES = 14_500_000  # of tensors; names and shapes come on top
_KEPT = 2


@dataclass(frozen=True)
class Progress:
    """How far a run has come; `seconds` and `frames` add up over its resumptions."""

    stage: str
    step: int  # optimiser steps done in the stage
    total_step: int  # in the run
    seconds: float
    frames: int


def save_checkpoint(
    folder: Path,
    progress: Progress,
    *,
    network: nn.Module,
    mean: RunningMean,
    optimisers: list[torch.optim.Optimizer],
    small: bool = False,
    write: bool = True,
) -> None:
    """Write `folder/step-N` and make it the latest; older ones go, but for the one before.

    Sharded weights are put together, so every process has to call it; the one with `write` writes.
    `small` packs it to about five bytes a weight (`packing.py`): enough to go on elsewhere, not to the last bit.
    """
    tensors = {name: whole(tensor.detach()) for name, tensor in _tensors(network, mean, optimisers)}
    if write:
        _write(folder, progress, pack(tensors) if small else tensors)


def _write(folder: Path, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
    path = folder / f"step-{progress.total_step:08d}"
    draft = folder / f".{path.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for number, shard in enumerate(shards(tensors)):
        save_file(shard, draft / f"state-{number:03d}.safetensors")
    (draft / "state.json").write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")
    shutil.rmtree(path, ignore_errors=True)
    draft.rename(path)
    pointer = folder / f".latest.{os.getpid()}"
    pointer.write_text(path.name, encoding="utf-8")
    pointer.replace(folder / "latest")
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run; None where there is none."""
    pointer = folder / "latest"
    return folder / pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None


def read_progress(path: Path) -> Progress:
    """How far the run had come."""
    return Progress(**json.loads((path / "state.json").read_text(encoding="utf-8")))


def restore_checkpoint(
    path: Path, *, network: nn.Module, mean: RunningMean, optimisers: list[torch.optim.Optimizer]
) -> None:
    """Put everything back where it was.

    Raises:
        InputError: the checkpoint holds another architecture or optimiser.
    """
    tensors: dict[str, Tensor] = {}
    for shard in sorted(path.glob("state-*.safetensors")):
        tensors |= load_file(shard)
    tensors = unpack(tensors)
    own = dict(_tensors(network, mean, optimisers, moments=False))
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("moment.")}
    _check_same_architecture(own, weights, path)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(like(tensors[name], tensor))
    _restore_moments(network, optimisers, tensors)


def shards(tensors: Mapping[str, Tensor], *, limit: int = SHARD_BYTES) -> Iterator[dict[str, Tensor]]:
    """The tensors in runs of at most `limit` bytes; a larger tensor has a shard to itself."""
    shard: dict[str, Tensor] = {}
    filled = 0
    for name, tensor in tensors.items():
        if shard and filled + tensor.nbytes > limit:
            yield shard
            shard, filled = {}, 0
        shard[name] = tensor.detach().cpu().contiguous()
        filled += tensor.nbytes
    if shard:
        yield shard


def _tensors(
    network: nn.Module, mean: RunningMean, optimisers: list[torch.optim.Optimizer], *, moments: bool = True
) -> Iterator[tuple[str, Tensor]]:
    for name, weight in network.named_parameters():
        yield f"weight.{name}", weight
    for name, weight in mean.weights.items():
        yield f"mean.{name}", weight
    if moments:
        for name, weight in network.named_parameters():
            for optimiser in optimisers:
                for key, value in optimiser.state.get(weight, {}).items():
                    yield f"moment.{key}.{name}", value


def _restore_moments(
    network: nn.Module, optimisers: list[torch.optim.Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    owner = {
        weight: optimiser for optimiser in optimisers for group in optimiser.param_groups for weight in group["params"]
    }
    named = dict(network.named_parameters())
    for entry, tensor in tensors.items():
        if entry.startswith("moment."):
            _, key, name = entry.split(".", 2)
            weight = named[name]
            owner[weight].state[weight][key] = tensor if key == "step" else like(tensor, weight.detach())


def _check_same_architecture(own: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    both = own.keys() & found.keys()
    different = [name for name in {**own, **found} if name not in both or own[name].shape != found[name].shape]
    if different:
        raise InputError(
            f"{path} holds another architecture than this run's: {len(different)} of {len(own)} weights differ, "
            f"the first is {different[0].split('.', 1)[1]}; train into another folder, or resume with the same preset"
        )
