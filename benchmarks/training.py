"""The cost of a training step: float32 and bfloat16 by turns in one process, and attention's backward pass by itself.

python benchmarks/training.py [--preset pocket] [--batch 16] [--frames 2] [--repeats 9] [--out training.json]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from openloger.benchmarking import Ledger
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.errors import OpenlogerError
from openloger.evaluation.report import TableRows
from openloger.network import Network, preset
from openloger.training.clips import ClipBatch, stack
from openloger.training.config import recipe
from openloger.training.data import ClipSpec
from openloger.training.objective import Objective
from openloger.training.optimiser import make_optimisers, set_rate
from openloger.training.render import render_clips
from openloger.transformer.attention import KeysValues, scaled_dot_product

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RATE = 1e-6  # the weights hardly move: every step costs the same


def clips(given: argparse.Namespace, size: tuple[int, int]) -> ClipBatch:
    """One batch of rooms, used again and again."""
    return stack(render_clips([ClipSpec("rooms", seed, 40, given.frames, 2.0, size) for seed in range(given.batch)]))


def stepper(given: argparse.Namespace, batch: ClipBatch, precision: torch.dtype) -> Callable[[], None]:
    """One step of the recipe's first stage: forward, backward, clip, move."""
    config = recipe(given.preset)
    torch.manual_seed(0)
    network = Network(replace(preset(given.preset), memory=None)).train()
    network.precision = precision
    objective = Objective(network, config.stages[0])
    optimisers = make_optimisers(network, config.optimiser, encoder_rate=1.0)
    set_rate(optimisers, RATE)

    def step() -> None:
        loss, _ = objective(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.optimiser.clip)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return step


def attention(given: argparse.Namespace, precision: torch.dtype, *, fused: bool) -> Callable[[], None]:
    """One window block's attention, forward and backward, at a pair's number of tokens."""
    config = preset(given.preset)
    tokens = given.frames * (config.max_pixels // config.encoder.patch**2 + config.decoder.registers)
    heads = config.decoder.heads
    shape = (given.batch, heads, tokens, config.decoder.width // heads)
    queries, keys, values = (torch.randn(shape).to(precision).requires_grad_() for _ in range(3))
    pull = torch.randn(shape).to(precision)

    def step() -> None:
        mixed = (
            F.scaled_dot_product_attention(queries, keys, values)
            if fused
            else scaled_dot_product(queries, KeysValues(keys, values))
        )
        torch.autograd.grad(mixed, (queries, keys, values), pull)

    return step


def by_turns(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds of each, taken in turn, after two to warm up; and how many times as fast as the first."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for name in chain(*([*steps] for _ in range(repeats + 2))):
        began = time.perf_counter()
        steps[name]()
        taken[name].append(time.perf_counter() - began)
    first = taken[next(iter(steps))][2:]
    return {
        name: {
            "seconds": statistics.median(times[2:]),
            "times_as_fast": statistics.median(a / b for a, b in zip(first, times[2:], strict=True)),
        }
        for name, times in taken.items()
    }


def table(content: dict[str, Any]) -> TableRows:
    """A row for each that took turns."""
    rows = tuple(
        (name, f"{1e3 * one['seconds']:.1f} ms", f"×{one['times_as_fast']:.2f}")
        for result in content["results"].values()
        for name, one in result.items()
    )
    return TableRows(("what", "median", "as fast as the first"), rows, note=machine_line(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="pocket")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    try:
        ledger = Ledger("training", {k: v for k, v in vars(given).items() if k != "out"}, path=given.out)
        batch = clips(given, recipe(given.preset).stages[0].clips.size)
    except OpenlogerError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
    steps = {f"step, {name}": stepper(given, batch, dtype) for name, dtype in PRECISIONS.items()}
    ledger.measure("step", lambda: by_turns(steps, given.repeats))
    kernels = {
        "attention, float32, fused": attention(given, torch.float32, fused=True),
        "attention, bfloat16, fused": attention(given, torch.bfloat16, fused=True),
        "attention, bfloat16, as in training": attention(given, torch.bfloat16, fused=False),
    }
    ledger.measure("attention", lambda: by_turns(kernels, given.repeats))
    ledger.conclude()
    show(table(ledger.content()), "a training step")


if __name__ == "__main__":
    main()
