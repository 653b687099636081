"""Optimisers: AdamW, or Muon for matrices with AdamW for the rest; the rate over a stage; the running mean of weights.

Muon: Jordan et al. 2024, through torch.optim.Muon, which torch has since 2.9. Warm-up, stable, decay: arXiv 2404.06395.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from openloger.errors import InputError
from openloger.shapes import Tensor
from openloger.training.config import OptimiserConfig
from openloger.training.curriculum import RatePlan


def check_optimiser(config: OptimiserConfig) -> None:
    """Raises InputError where Muon is selected and this torch has none."""
    if config.kind == "muon" and not hasattr(torch.optim, "Muon"):
        raise InputError(
            f"optimiser: kind is 'muon', which needs torch 2.9 or newer, and this is torch {torch.__version__}; "
            "install a newer torch, or set kind = 'adamw' in a TOML file of your own"
        )


def make_optimisers(network: nn.Module, config: OptimiserConfig, *, encoder_rate: float) -> list[torch.optim.Optimizer]:
    """The optimisers that together move every trainable weight once; each group has its part of the rate.

    Matrices decay; vectors (norms, biases, gates), learned tokens and position grids do not.

    Raises:
        InputError: Muon is selected and this torch has none.
    """
    check_optimiser(config)
    groups = _group(network, config, encoder_rate)
    adam, muon = ([group for kind, group in groups if kind == wanted] for wanted in ("adamw", "muon"))
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(adam, lr=0.0, betas=config.betas)] if adam else []
    if muon:
        optimisers.append(torch.optim.Muon(muon, lr=0.0, momentum=0.95))
    return optimisers


def _group(network: nn.Module, config: OptimiserConfig, encoder_rate: float) -> list[tuple[str, dict]]:
    chosen: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            matrix = is_matrix(name, weight)
            chosen.setdefault((name.startswith("encoder."), matrix, matrix and config.kind == "muon"), []).append(
                weight
            )
    return [
        (
            "muon" if muon else "adamw",
            {
                "params": weights,
                "weight_decay": config.weight_decay if matrix else 0.0,
                "part": (encoder_rate if encoder else 1.0) * (config.muon_rate if muon else 1.0),
            },
        )
        for (encoder, matrix, muon), weights in chosen.items()
    ]


def is_matrix(name: str, weight: Tensor) -> bool:
    """A linear map between features: not a vector, not a learned token, not a grid of positions, not a convolution."""
    return name.endswith(".weight") and weight.ndim == 2 and min(weight.shape) > 1


def rate_at(plan: RatePlan, step: int, steps: int) -> float:
    """The learning rate of one step of a stage of `steps`; the last step reaches the floor."""
    warm = min(1.0, (step + 1) / max(1, plan.warmup_steps))
    progress = step / max(1, steps - 1)
    if plan.shape == "cosine":
        left = 0.5 * (1 + math.cos(math.pi * progress))
    else:
        left = 1.0 if plan.decay == 0 else min(1.0, (1 - progress) / plan.decay)
    return plan.peak * min(warm, plan.floor + (1 - plan.floor) * left)


def set_rate(optimisers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Give every group its part of the rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group["part"]


class RunningMean:
    """An exponential moving mean of the weights (EMA), which is what is validated and shipped.

    The decay grows in from (1 + step)/(10 + step), so that a short run does not drag its first weights along.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.weights = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Move a little towards the current weights."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, mean in self.weights.items():
            mean.lerp_(weights[name].detach(), 1 - keep)
