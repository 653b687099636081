"""The progress line of long work: frames, frames/s, time left, memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from openloger.cli.terminal import printable
from openloger.runtime.progress import Progress
from openloger.runtime.resources import peak_memory_bytes


@contextmanager
def progress_bar(name: str, *, also: Callable[[], str] = lambda: "") -> Iterator[Callable[[Progress], None]]:
    """A bar on standard error, where that is a terminal; elsewhere nothing is drawn. `also` adds to its text."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TextColumn("{task.fields[text]}"), console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(printable(name), total=None, text="")

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.frames, total=progress.total, text=_progress_text(progress) + also())

        yield show


def _progress_text(progress: Progress) -> str:
    left = progress.remaining_s
    time_left = "" if left is None else f" · {int(left) // 60}:{int(left) % 60:02d} left"
    return f"{progress.frames_per_s:.1f} frames/s{time_left} · {peak_memory_bytes() / 1e9:.1f} GB"
