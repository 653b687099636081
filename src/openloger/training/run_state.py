"""What a checkpoint holds: tensors by their names, and the progress of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from openloger.errors import InputError
from openloger.shapes import Tensor
from openloger.training.optimiser import RunningMean

TermsByRank = Sequence[Sequence[Mapping[str, float]]]


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a run; `seconds` and `frames` add up over its resumptions."""

    stage: str
    step: int  # optimiser steps done in the stage
    total_step: int  # in the run
    seconds: float
    frames: int


def tensors_of(
    network: nn.Module, mean: RunningMean, optimisers: list[torch.optim.Optimizer], *, moments: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """The weights, their running mean and, with `moments`, the state of the optimisers, each by its name."""
    for name, weight in network.named_parameters():
        yield f"weight.{name}", weight
    for name, weight in mean.weights.items():
        yield f"mean.{name}", weight
    if moments:
        for name, weight in network.named_parameters():
            for optimiser in optimisers:
                for key, value in optimiser.state.get(weight, {}).items():
                    yield f"moment.{key}.{name}", value


def check_same_architecture(own: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Raises InputError where the names or shapes of a checkpoint at `path` differ from a run's own."""
    both = own.keys() & found.keys()
    different = [name for name in {**own, **found} if name not in both or own[name].shape != found[name].shape]
    if different:
        raise InputError(
            f"{path} holds another architecture than this run's: {len(different)} of {len(own)} weights differ, "
            f"the first is {different[0].split('.', 1)[1]}; train into another folder, or resume with the same preset"
        )
