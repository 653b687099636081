"""A run on disk: everything that it needs to continue, written so that a kill at any moment leaves a complete one.

A checkpoint is a folder of safetensors shards (under 15 MB each), or, of weights that are sharded over processes, of
what each of them holds (`sharded.py`), a `state.json`, and a list of all with their hashes. It is written under another
name, flushed to the disk and renamed when complete; `latest` names the newest. Where that one is damaged, the run goes
on from the one before. No random state is stored, for nothing but the first weights is drawn at random: data follow
from (seed, step, lane).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from openloger.errors import InputError
from openloger.network.checkpoint import write_tensors
from openloger.outputs import damaged_file, remove_folder, replace_folder, set_aside, sync_file, write_atomically
from openloger.shapes import Float, Tensor
from openloger.training.distribute import like, put_together
from openloger.training.optimiser import RunningMean
from openloger.training.run_state import TermsByRank, TrainingProgress, check_same_architecture, tensors_of
from openloger.training.sharded import is_sharded, load_sharded

SHARD_BYTES = 14_500_000  # of tensors; names and shapes come on top
MADE_BY = "train"
_KEPT = 2
_STATE_FILE, _POINTER_FILE = "state.json", "latest"
_TERMS = "terms"
_NAME = re.compile(r"step-\d{8,}")
_log = logging.getLogger("openloger")
BLOCK = 128
_PER_OCTAVE = 8
_SMALL = 1024  # elements; below, nothing is gained
_EIGHT_BIT = ("moment.exp_avg.", "moment.momentum_buffer.")


def save_checkpoint(
    folder: Path,
    progress: TrainingProgress,
    *,
    network: nn.Module,
    mean: RunningMean,
    optimisers: list[torch.optim.Optimizer],
    terms: TermsByRank = (),
    small: bool = False,
    write: bool = True,
    keep_every: int = 0,
) -> None:
    """Write `folder/step-N` and make it the latest; older ones go, but for the one before and each `keep_every` steps.

    `terms` are those of the batches since the last line of metrics, by process, so that the next line is the same.

    Sharded weights are put together, so every process has to call it; the one with `write` writes.
    `small` packs it to about five bytes a weight (`pack`): enough to continue elsewhere, not to the last bit.
    """
    tensors = put_together(dict(tensors_of(network, mean, optimisers)), keep=write)
    if not write:
        return
    path = checkpoint_path(folder, progress)
    with replace_folder(path, made_by=MADE_BY) as draft:
        for number, shard in enumerate(shards(pack(tensors) if small else tensors)):
            write_tensors(shard, draft / f"state-{number:03d}.safetensors")
        write_state(draft, progress, terms)
    make_latest(path, keep_every=keep_every)


def checkpoint_path(folder: Path, progress: TrainingProgress) -> Path:
    """The folder of a checkpoint."""
    return folder / f"step-{progress.total_step:08d}"


def write_state(draft: Path, progress: TrainingProgress, terms: TermsByRank) -> None:
    """Write `state.json` beside the tensors, and wait until the disk has all of them."""
    state = {**asdict(progress), _TERMS: [list(of_rank) for of_rank in terms]}
    (draft / _STATE_FILE).write_text(json.dumps(state, indent=1), encoding="utf-8")
    for file in draft.rglob("*"):
        if file.is_file():
            sync_file(file)


def make_latest(path: Path, *, keep_every: int) -> None:
    """Point to a whole checkpoint; older ones go, but for the one before and each `keep_every` steps (0: none)."""
    folder = path.parent
    if (folder / _POINTER_FILE).exists() and _pointed(folder) is None:
        set_aside(folder / _POINTER_FILE)
    write_atomically(folder / _POINTER_FILE, path.name.encode())
    for old in _checkpoints(folder)[:-_KEPT]:
        if not keep_every or _step(old.name) % keep_every:
            remove_folder(old, made_by=MADE_BY)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run; None where there is none. A damaged one is passed over with a warning.

    Raises:
        InputError: there are checkpoints, and all are damaged.
    """
    newest = _pointed(folder)
    found = [path for path in _checkpoints(folder) if newest is None or _step(path.name) <= _step(newest)]
    for path in reversed(found):
        fault = checkpoint_fault(path)
        if fault is None:
            return path
        _log.warning("%s is damaged (%s)%s", path, fault, "" if path is found[0] else ": the one before it is taken")
    if found:
        raise InputError(
            f"no checkpoint in {folder} is whole: put one back from a copy, or train into another folder, "
            "from this run's weights (--weights)"
        )
    return None


def checkpoint_fault(path: Path) -> str | None:
    """The damage to a checkpoint; None where it is complete. One without a list of files is judged by its form."""
    try:
        read_progress(path)
        for shard in path.glob("state-*.safetensors"):
            with safe_open(shard, framework="pt"):
                pass
        damaged = damaged_file(path)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        return str(error)
    return None if damaged is None else f"{damaged.name} is missing or changed"


def read_progress(path: Path) -> TrainingProgress:
    """The progress of the run at a checkpoint."""
    state = _read_state(path)
    state.pop(_TERMS, None)
    return TrainingProgress(**state)


def read_terms(path: Path, *, rank: int, count: int) -> list[dict[str, float]]:
    """The terms that process `rank` of `count` had not yet written at a checkpoint; older ones kept none.

    Where there were more or fewer processes, they are dealt out anew.
    """
    by_rank: list[list[dict[str, float]]] = _read_state(path).get(_TERMS, [])
    if len(by_rank) == count:
        return by_rank[rank]
    return [one for of_rank in by_rank for one in of_rank][rank::count]


def _read_state(path: Path) -> dict[str, Any]:
    return json.loads((path / _STATE_FILE).read_text(encoding="utf-8"))


def _checkpoints(folder: Path) -> list[Path]:
    """From old to new; a copy under another name is nothing of the run's."""
    found = (path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir())
    return sorted(found, key=lambda path: _step(path.name))


def _step(name: str) -> int:
    return int(name.removeprefix("step-"))


def _pointed(folder: Path) -> str | None:
    """The name of the newest checkpoint, where there is one."""
    pointer = folder / _POINTER_FILE
    text = pointer.read_bytes().decode(errors="replace").strip() if pointer.is_file() else ""
    return text if _NAME.fullmatch(text) else None


def restore_checkpoint(
    path: Path, *, network: nn.Module, mean: RunningMean, optimisers: list[torch.optim.Optimizer]
) -> None:
    """Put everything back where it was.

    Raises:
        InputError: the checkpoint holds another architecture or optimiser.
    """
    if is_sharded(path):
        load_sharded(path, network=network, mean=mean, optimisers=optimisers)
        return
    tensors: dict[str, Tensor] = {}
    for shard in sorted(path.glob("state-*.safetensors")):
        tensors |= load_file(shard)
    tensors = unpack(tensors)
    own = dict(tensors_of(network, mean, optimisers, moments=False))
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("moment.")}
    check_same_architecture(own, weights, path)
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
            moved = tensor if key == "step" else like(tensor, weight.detach())
            # Memory of its own, aligned as in a run that was never cut: that of a mapped file begins anywhere
            owner[weight].state[weight][key] = moved.clone(memory_format=torch.preserve_format)


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named tensors of a checkpoint in about five bytes a weight; `unpack` is the inverse up to rounding.

    Of each large tensor: the weight as float16, its running mean as an 8-bit difference from that, first moments in
    8 bits (steps of 1/127 of the largest in each block of `BLOCK`), second moments in 8 bits of their logarithm (steps
    of an eighth of an octave below the largest, 32 octaves deep), for they are divided by. Small tensors stay as they
    are.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu()
        if value.numel() < _SMALL or value.dtype != torch.float32 or float(value.abs().max()) > 6e4:
            packed[name] = value
        elif name.startswith("weight."):
            packed[name] = value.half()
        elif name.startswith("mean."):
            weight = tensors["weight." + name.removeprefix("mean.")].detach().cpu().half().float()
            packed |= _quantise(name, value - weight)
        elif name.startswith(_EIGHT_BIT):
            packed |= _quantise(name, value)
        elif name.startswith("moment.exp_avg_sq."):
            packed |= _quantise_octaves(name, value)
        else:
            packed[name] = value
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named float32 tensors again; what was not packed is untouched."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.startswith("steps8."):
            plain = name.removeprefix("steps8.")
            value = _dequantise(tensor, packed["scale8." + plain])
            if plain.startswith("mean."):
                value = value + packed["weight." + plain.removeprefix("mean.")].float()
            tensors[plain] = value
        elif name.startswith("octaves8."):
            plain = name.removeprefix("octaves8.")
            tensors[plain] = packed["largest8." + plain] * torch.exp2(tensor.float() / -_PER_OCTAVE)
        elif not name.startswith(("scale8.", "largest8.")):
            tensors[name] = tensor.float()
    return tensors


def _quantise(name: str, value: Tensor) -> dict[str, Tensor]:
    flat = value.flatten()
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).unflatten(0, (-1, BLOCK))
    scale = blocks.abs().amax(dim=1) / 127
    steps = (blocks / scale.clamp(min=1e-38)[:, None]).round().to(torch.int8)
    return {"steps8." + name: steps.flatten()[: len(flat)].reshape(value.shape), "scale8." + name: scale}


def _quantise_octaves(name: str, value: Tensor) -> dict[str, Tensor]:
    largest = value.max().clamp(min=1e-38)
    below = _PER_OCTAVE * (largest.log2() - value.clamp(min=1e-38).log2())
    return {"octaves8." + name: below.round().clamp(0, 255).to(torch.uint8), "largest8." + name: largest}


def _dequantise(steps: Tensor, scale: Float[Tensor, " block"]) -> Tensor:
    each = scale.repeat_interleave(BLOCK)[: steps.numel()].reshape(steps.shape)
    return steps.float() * each
