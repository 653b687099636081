"""torch.compile: whether it works here, and where its code is kept."""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch

from openloger.errors import InputError
from openloger.runtime.platform import cache_folder

OLDEST_TORCH = "2.13"  # that traces all that is compiled, as far as was tried; 2.7 and 2.9 fail on tuples with names
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
_VARIANTS = 64  # of one function: regions share `Module.__call__`, of which torch would compile 8 and then give up


def check_compiler(device: torch.device, *, backend: str = "inductor", instead: str) -> None:
    """Compile two lines, so that a missing compiler ends a run before it begins; raises InputError, with the way out.

    Compiled code is kept in a folder of openloger's; by default torch has it where temporary files lie, which systems
    empty.
    """
    keep_compiled_code()
    if torch.__version__ < OLDEST_TORCH:
        raise InputError(f"torch {torch.__version__} cannot compile it: {instead}, or update torch")
    x = torch.zeros(8, device=device)
    try:
        torch.compile(lambda values: values * 2 + 1, backend=backend)(x)
    except (RuntimeError, ImportError, OSError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"torch.compile does not work here ({reason.strip()[:200]}): {instead}") from error


def keep_compiled_code() -> None:
    """Keep what is compiled from here on in openloger's cache, unless TORCHINDUCTOR_CACHE_DIR says where."""
    os.environ.setdefault(_CACHE_VARIABLE, str(cache_folder() / "compiled"))


def allow_variants() -> None:
    """Let torch compile one function more often than eight times: for every region of a network, or kind of batch."""
    limits: Any = importlib.import_module("torch._dynamo.config")
    limits.recompile_limit = max(limits.recompile_limit, _VARIANTS)
