"""torch.compile by region: blocks, memory layers and pixel heads, one after the other, so that equal ones share code.

A whole network would be traced anew for every depth; its 80 blocks have four shapes. Elementwise work (norms, scales,
rotary positions, the learning rates of memory) is fused and stays in the precision of its inputs between two products.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch
from torch import nn

from openloger.errors import InputError
from openloger.memory.swa import SlidingWindowAttention
from openloger.memory.ttt import TestTimeTraining
from openloger.network.heads import PixelHead
from openloger.network.network import Network
from openloger.network.pi3x import ConvolutionalPointHead
from openloger.runtime.platform import cache_folder
from openloger.transformer.attention import Block

REGIONS = (Block, TestTimeTraining, SlidingWindowAttention, PixelHead, ConvolutionalPointHead)
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
OLDEST_TORCH = "2.13"  # that traces all regions, as far as was tried; 2.7 and 2.9 fail on tuples with names
_VARIANTS = 64  # of one function: regions share `Module.__call__`, of which torch would compile 8 and then give up


def compile_regions(network: Network, *, backend: str = "inductor") -> Network:
    """Compile the regions of a network, in place, when they are first run; returns it.

    The first window of each new shape then takes long (minutes on a slow CPU), and later runs on the machine find the
    code in a cache (TORCHINDUCTOR_CACHE_DIR, by default in ~/.cache/openloger). Results agree with those of the network
    as it was up to rounding.

    Raises InputError where torch.compile does not work here: an older torch, no C++ compiler, no Triton on a card.
    """
    check_compiler(network.device, backend=backend, instead="run without --compile")
    allow_variants()
    for module in regions(network):
        module.compile(backend=backend)
    network.compiled = True
    return network


def regions(module: nn.Module, kinds: tuple[type[nn.Module], ...] = REGIONS) -> list[nn.Module]:
    """The outermost modules of these kinds within a module."""
    found: list[nn.Module] = []
    for child in module.children():
        found += [child] if isinstance(child, kinds) else regions(child, kinds)
    return found


def allow_variants() -> None:
    """Let torch compile one function as often as a network has regions."""
    limits: Any = importlib.import_module("torch._dynamo.config")
    limits.recompile_limit = max(limits.recompile_limit, _VARIANTS)


def check_compiler(device: torch.device, *, backend: str = "inductor", instead: str) -> None:
    """Compile two lines, so that a missing compiler ends a run before it begins; raises InputError, with the way out.

    Compiled code is kept in a folder of openloger's; by default torch has it where temporary files lie, which systems
    empty.
    """
    os.environ.setdefault(_CACHE_VARIABLE, str(cache_folder() / "compiled"))
    if torch.__version__ < OLDEST_TORCH:
        raise InputError(f"torch {torch.__version__} cannot compile it: {instead}, or update torch")
    x = torch.zeros(8, device=device)
    try:
        torch.compile(lambda values: values * 2 + 1, backend=backend)(x)
    except (RuntimeError, ImportError, OSError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"torch.compile does not work here ({reason.strip()[:200]}): {instead}") from error
