"""`openloger datasets`: prepare datasets for training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from openloger.cli import EXIT_BAD_INPUT
from openloger.cli.terminal import print_status, progress_bar
from openloger.datasets import PackOptions, PackSummary, open_dataset, pack_dataset
from openloger.datasets.packing import MOST_PIXELS, PackProgress
from openloger.errors import InputError, counted
from openloger.runtime.progress import Stopwatch

_MOST_SHARD_GB = 1_000_000


def commands() -> dict[str, Callable[..., Any]]:
    """The `datasets` commands."""
    return {"pack": pack}


def pack(
    dataset: tyro.conf.Positional[str],
    folder: tyro.conf.Positional[Path],
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    include: tuple[str, ...] = ("*",),
    exclude: tuple[str, ...] = (),
    pixels: int = MOST_PIXELS,
    quality: int = 95,
    shard_gb: float = 0.5,
    threads: int = 0,
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """Pack the sequences of a dataset into large files, which training reads many times as fast.

    What is packed is the dataset `packed` of a training configuration: pictures as JPEG, within a bound of pixels,
    depth to four digits, cameras. A sequence that cannot be read is reported, and the others are packed.

    Args:
        dataset: A name of docs/datasets.md.
        folder: Where the dataset lies.
        out: The folder for the shards.
        include: Sequences whose name matches one of these, as a shell does (* takes / too).
        exclude: And none of these.
        pixels: Of a picture at most; larger ones are resized.
        quality: Of JPEG, 1 to 100.
        shard_gb: GB (10⁹ bytes) from which on a shard is closed.
        threads: Threads that resize and encode; 0: one for each CPU.
        resume: Go on with an interrupted pack (begin one where there is none).
        overwrite: Replace a pack that this command wrote, as long as nothing in it has changed.
    """
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if not 0 < shard_gb < _MOST_SHARD_GB:
        raise InputError(
            f"--shard-gb {shard_gb:g} is no size of a shard: give more than 0 and less than {_MOST_SHARD_GB:,}"
        )
    sequences = open_dataset(dataset, folder).chosen(include, exclude)
    watch = Stopwatch()
    with progress_bar(f"packing {dataset}") as show:

        def on_progress(progress: PackProgress) -> None:
            show(watch.advance(progress.frames - watch.now().frames))

        options = PackOptions(
            existing="resume" if resume else "overwrite" if overwrite else "refuse",
            pixels=pixels,
            quality=quality,
            shard_bytes=int(shard_gb * 1e9),
            threads=threads,
            on_progress=on_progress,
            on_failure=lambda name, reason: print_status(f"openloger: {name} is left out: {reason}"),
        )
        summary = pack_dataset(sequences, out, options)
    _print_summary(summary, out, watch.now().seconds)
    return EXIT_BAD_INPUT if summary.failed else 0


def _print_summary(summary: PackSummary, out: Path, seconds: float) -> None:
    before = f", {summary.before} of them before" if summary.before else ""
    failed = f", {len(summary.failed)} left out" if summary.failed else ""
    print_status(
        f"{counted(summary.sequences, 'sequence')} in {out}{before}{failed}; {counted(summary.frames, 'frame')}, "
        f"{summary.bytes / 1e9:.2f} GB in {seconds:.0f} s"
    )
