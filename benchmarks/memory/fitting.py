"""Shared by the measurements of the memory: one training loop, rows in a file, tables and curves over seeds."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openloger.memory import written

Cells = dict[str, dict[int, list[float]]]  # by variant, by length or place: a value for each seed


def fit(model: nn.Module, draw_loss: Callable[[], Tensor], *, steps: int, lr: float, write_cost: float) -> float:
    """Train with a fresh loss a step, and what fast weights write beside it; the processor seconds that it took."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.1)
    began = time.process_time()
    for step in range(steps):
        with written(model) as amounts:
            loss = draw_loss()
        cost = write_cost * torch.stack(amounts).mean() if amounts else 0.0
        optimizer.zero_grad()
        (loss + cost).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            print(f"  step {step + 1}: loss {loss.item():.3f}, {time.process_time() - began:.0f} s", flush=True)
    return time.process_time() - began


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """A measurement behind those of the file, as a line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The measurements of a file."""
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def table(cells: Cells, form: Callable[[list[float]], str]) -> str:
    """Markdown: a row for each variant, a column for each length."""
    columns = sorted({at for values in cells.values() for at in values})
    lines = ["| | " + " | ".join(f"{at:,}" for at in columns) + " |", "|---|" + "--:|" * len(columns)]
    for variant, values in cells.items():
        lines.append(f"| {variant} | " + " | ".join(form(values[at]) if at in values else "" for at in columns) + " |")
    return "\n".join(lines)


def spread(values: list[float], *, digits: int, scale: float = 1.0) -> str:
    """Mean, and standard deviation over seeds."""
    mean = f"{scale * statistics.mean(values):.{digits}f}"
    return f"{mean} ± {scale * statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def draw(cells: Cells, path: Path, *, x: str, y: str) -> None:
    """Means as curves, and the range over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6))
    for variant, values in cells.items():
        places = sorted(values)
        axes.plot(places, [statistics.mean(values[at]) for at in places], marker="o", label=variant)
        low, high = ([edge(values[at]) for at in places] for edge in (min, max))
        axes.fill_between(places, low, high, alpha=0.2)
    axes.set_xscale("log", base=2)
    axes.set(xlabel=x, ylabel=y)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
