"""The state of a run whose weights are sharded over processes (FSDP2), by torch.distributed.checkpoint.

Each process writes what it holds, and none puts anything together; it is read back by any number of processes, each of
which reads what it will hold. Saving copies the state to the host's memory and writes it in the background.
"""

from __future__ import annotations

import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn

from openloger.errors import InputError, in_a_line
from openloger.shapes import Tensor
from openloger.training.optimiser import RunningMean
from openloger.training.run_state import check_same_architecture, tensors_of

SHARDED_FOLDER = "sharded"


def is_sharded(path: Path) -> bool:
    """Whether a checkpoint holds sharded state."""
    return (path / SHARDED_FOLDER).is_dir()


def begin_saving(
    draft: Path,
    *,
    network: nn.Module,
    mean: RunningMean,
    optimisers: list[torch.optim.Optimizer],
    group: dist.ProcessGroup,
) -> Future[Any]:
    """Begin to write the state into a folder that all processes see; all have to call it.

    The state is copied when this returns: the run may go on. `group` is one of CPU tensors for this alone, as its
    messages pass beside those of the run.
    """
    from torch.distributed.checkpoint.state_dict_saver import async_save

    state = {name: tensor.detach() for name, tensor in tensors_of(network, mean, optimisers)}
    return cast("Future[Any]", async_save(state, checkpoint_id=draft / SHARDED_FOLDER, process_group=group))


def load_sharded(path: Path, *, network: nn.Module, mean: RunningMean, optimisers: list[torch.optim.Optimizer]) -> None:
    """Put everything back where it was, whatever number of processes wrote it; all of this run have to call it.

    Raises:
        InputError: the checkpoint holds another architecture, or cannot be read.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = FileSystemReader(path / SHARDED_FOLDER)
    try:
        listed = reader.read_metadata().state_dict_metadata
    except (OSError, ValueError, EOFError, AttributeError, ImportError) as error:
        raise InputError(f"{path / SHARDED_FOLDER} cannot be read: {error}") from error
    found = {name: torch.empty(getattr(one, "size", ()), device="meta") for name, one in listed.items()}
    own = dict(tensors_of(network, mean, optimisers, moments=False))
    check_same_architecture(own, {name: one for name, one in found.items() if not name.startswith("moment.")}, path)
    state = {name: tensor.detach() for name, tensor in own.items()}
    moments = _empty_moments(network, optimisers, found)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process alone is meant
            load(state | moments, storage_reader=reader, no_dist=not dist.is_initialized())
    except CheckpointException as error:
        raise InputError(f"{path / SHARDED_FOLDER} cannot be read: {in_a_line(error)}") from error


def _empty_moments(
    network: nn.Module, optimisers: list[torch.optim.Optimizer], found: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Tensors for the moments of a checkpoint, given to the optimisers; sharded as the weights are."""
    owner = {
        weight: optimiser for optimiser in optimisers for group in optimiser.param_groups for weight in group["params"]
    }
    named = dict(network.named_parameters())
    moments: dict[str, Tensor] = {}
    for entry, tensor in found.items():
        if entry.startswith("moment."):
            _, key, name = entry.split(".", 2)
            weight = named[name]
            empty = torch.zeros_like(weight.detach()) if tensor.shape == weight.shape else torch.zeros(tensor.shape)
            owner[weight].state[weight][key] = moments[entry] = empty
    return moments
