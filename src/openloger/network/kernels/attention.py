"""Attention on a card: cuDNN's, flash or memory-efficient, by turns against what torch chooses by itself.

Torch orders them by a table of its own; which is fastest differs between cards and sizes. What is measured here becomes
a preference: where the first cannot compute something, the next one does.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch.nn.attention import sdpa_kernel

from openloger.network.kernels.turns import Clock, Comparison, Way
from openloger.network.network import NetworkConfig
from openloger.transformer.attention import BACKENDS

FUSED = tuple(name for name in BACKENDS if name != "math")


@runtime_checkable
class CompareInTime(Protocol):
    """`turns.compare` within a budget that is shared with `left` comparisons after it."""

    def __call__(self, choice: str, default: Way, other: Way, *, timed_by: Clock, left: int) -> Comparison: ...


def compared_attention(
    config: NetworkConfig, device: torch.device, precision: torch.dtype, compare: CompareInTime
) -> list[Comparison]:
    """Each of `FUSED` that can compute this network's attention in `precision` on the card, against torch's choice."""
    attend = attention_of(config, device, precision)
    ways = [(name, _by(name, attend)) for name in FUSED] if _can(attend) else []
    able = [way for way in ways if _can(way[1])]
    timed_by = clock_of(device)
    return [
        compare("attention", ("torch", attend), way, timed_by=timed_by, left=len(able) - 1 - place)
        for place, way in enumerate(able)
    ]


def attention_of(config: NetworkConfig, device: torch.device, precision: torch.dtype) -> Callable[[], object]:
    """Computes a decoder's attention of one window of the largest frames: once within frames, once over the window."""
    decoder = config.decoder
    tokens = config.max_pixels // config.encoder.patch**2 + decoder.registers
    shape = (config.window, decoder.heads, tokens, decoder.width // decoder.heads)
    generator = torch.Generator(device).manual_seed(0)
    q, k, v = (torch.randn(shape, generator=generator, device=device, dtype=precision) for _ in range(3))
    all_q, all_k, all_v = (x.transpose(0, 1).flatten(1, 2)[None] for x in (q, k, v))

    def attend() -> object:
        with torch.inference_mode():
            return F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(all_q, all_k, all_v)

    return attend


def _by(name: str, attend: Callable[[], object]) -> Callable[[], object]:
    """By this one alone."""

    def run() -> object:
        with sdpa_kernel(BACKENDS[name]):
            return attend()

    return run


def _can(run: Callable[[], object]) -> bool:
    """Whether it computes this; torch raises where no kernel is left, or memory, and warns of its reasons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run()
        except RuntimeError:
            return False
    return True


def clock_of(device: torch.device) -> Clock:
    """Seconds until the card has done it."""

    def timed(run: Callable[[], object]) -> float:
        torch.cuda.synchronize(device)
        began_s = time.perf_counter()
        run()
        torch.cuda.synchronize(device)
        return time.perf_counter() - began_s

    return timed
