"""Claim: the Gram form of Newton–Schulz is faster than the plain one, and as exact where it matters. By turns.

    python benchmarks/newton_schulz.py [--device cuda] [--repeats 9]

The shapes are those of one TTT layer's update (3 weights a head) of each preset with memory. Seconds are the
processor's own for this thread on a CPU, so that neighbours on the machine matter little, and the clock's on a card.
Errors are against the plain form in float64, of random steps and of steps of rank an eighth of full.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from openloger.benchmarking import Ledger
from openloger.benchmarking.inputs import synchronize
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.evaluation.report import TableRows
from openloger.memory.ttt import gram_newton_schulz, plain_newton_schulz
from openloger.network import PRESETS, preset
from openloger.shapes import Tensor

FORMS: dict[str, Callable[..., Tensor]] = {"plain": plain_newton_schulz, "gram": gram_newton_schulz}


def update_shape(name: str) -> tuple[int, int, int] | None:
    """Matrices, rows and columns of one layer's update of a preset; None without memory."""
    config = preset(name)
    if config.memory is None:
        return None
    dim = config.memory.ttt_head_dim
    return 3 * config.decoder.width // dim, dim, config.memory.mlp_ratio * dim


def measure(shape: tuple[int, int, int], device: torch.device, repeats: int) -> dict[str, float]:
    """Milliseconds of each form, the ratio of neighbouring runs, and errors."""
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(*shape, generator=generator, dtype=torch.float64)
    rank = max(1, shape[1] // 8)
    low = full[..., :rank] @ torch.randn(shape[0], rank, shape[2], generator=generator, dtype=torch.float64)
    on_device = full.float().to(device)
    seconds: dict[str, list[float]] = {name: [] for name in FORMS}
    for turn in range(repeats + 1):
        for name in list(FORMS)[:: 1 if turn % 2 else -1]:
            seconds[name].append(_seconds(FORMS[name], on_device))
    plain, gram = (times[1:] for times in seconds.values())
    found = {f"{name}_ms": 1e3 * statistics.median(times[1:]) for name, times in seconds.items()}
    found["ratio"] = statistics.median(a / b for a, b in zip(plain, gram, strict=True))
    for name, form in FORMS.items():
        for kind, steps in (("full", full), ("low", low)):
            exact = plain_newton_schulz(steps, dtype=torch.float64)
            near = form(steps.float().to(device), dtype=torch.float32).double().cpu()
            found[f"{name}_error_{kind}_rank"] = float((near - exact).norm() / exact.norm())
    return found


def _seconds(form: Callable[..., Tensor], steps: Tensor) -> float:
    clock = time.thread_time if steps.device.type == "cpu" else time.perf_counter
    synchronize(steps.device)
    began = clock()
    form(steps, dtype=torch.float32)
    synchronize(steps.device)
    return clock() - began


def table(content: dict[str, Any]) -> TableRows:
    """A row for each preset."""
    rows = tuple(
        (
            name,
            f"{one['plain_ms']:.1f} ms",
            f"{one['gram_ms']:.1f} ms",
            f"×{one['ratio']:.2f}",
            f"{one['plain_error_full_rank']:.1e}, {one['plain_error_low_rank']:.1e}",
            f"{one['gram_error_full_rank']:.1e}, {one['gram_error_low_rank']:.1e}",
        )
        for name, one in content["results"].items()
    )
    header = ("update of", "plain", "gram", "as fast", "error of plain: full, low rank", "error of gram")
    return TableRows(header, rows, note=machine_line(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    ledger = Ledger("newton_schulz", vars(given))
    for name in PRESETS:
        if (shape := update_shape(name)) is not None:
            ledger.measure(name, lambda shape=shape: measure(shape, torch.device(given.device), given.repeats))
    ledger.conclude()
    show(table(ledger.content()), "one layer's update in float32")


if __name__ == "__main__":
    main()
