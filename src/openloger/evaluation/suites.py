"""A suite: a dataset, the protocol by which a number is made on it, what others have published by it; and running it.

Published tables are data, in `tables/`, each with its source. A run takes one sequence after the other, streamed and
measured; one that is broken does not stop the others.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Protocol, runtime_checkable

from openloger.datasets import Sequence
from openloger.errors import InputError, OpenlogerError
from openloger.evaluation.gather import GatherSettings, gather_placed
from openloger.evaluation.measure import Measured, MeasureSettings, measure
from openloger.values import PlacedWindow


@dataclass(frozen=True)
class PublishedRow:
    """One method's numbers."""

    values: dict[str, float]  # by sequence, where they are known
    average: float | None


@dataclass(frozen=True)
class PublishedTable:
    """Published numbers, and their source."""

    title: str
    metric: str  # a name of `Measured.numbers()`
    unit: str
    source: str
    protocol: str
    sequences: tuple[str, ...]
    frames: dict[str, int]  # of each sequence, where that is known
    rows: dict[str, PublishedRow]
    ours: dict[str, str]  # preset -> the row that it should repeat
    cheap: str | None  # the sequence that is quickest to check


@dataclass(frozen=True)
class Suite:
    """The protocol of a dataset. None leaves a choice to the network's own defaults."""

    dataset: str | None  # a key of `DATASETS`; None: worlds
    metric: str = "ate_rmse"  # the number that stands for a sequence
    sequences: tuple[str, ...] | None = None  # None: all that are there
    window: int | None = None
    overlap: int | None = None
    reset_every: int | None = None
    stride: int = 1
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    table: str | None = None  # a file in tables/, without its suffix


KITTI_SEQUENCES = tuple(f"{number:02d}" for number in range(11))
NO_DEPTH = MeasureSettings(gather=GatherSettings(depth=False))
SUITES: dict[str, Suite] = {
    "kitti": Suite(
        "kitti", sequences=KITTI_SEQUENCES, window=32, overlap=3, reset_every=5, measure=NO_DEPTH, table="kitti"
    ),
    "vbr": Suite("vbr", window=64, overlap=3, reset_every=5, measure=NO_DEPTH, table="vbr"),
    "tum": Suite("tum"),
    "7scenes": Suite("7scenes"),
    "scannet": Suite("scannet"),
    "bonn": Suite("bonn"),
    "sintel": Suite("sintel", measure=MeasureSettings(gather=GatherSettings(depth_range=(0.0, 70.0)))),
    "eth3d": Suite("eth3d"),
    "tartanair": Suite("tartanair"),
    "vkitti2": Suite("vkitti2", measure=MeasureSettings(gather=GatherSettings(depth_range=(0.0, 80.0)))),
    "euroc": Suite("euroc", measure=NO_DEPTH),
    "folder": Suite("folder"),
    "worlds": Suite(None, measure=MeasureSettings(gather=GatherSettings(depth_every=10))),
}


def find_suite(name: str) -> Suite:
    """Raises InputError for a name that is none of `SUITES`."""
    if name not in SUITES:
        raise InputError(f"suite {name!r} is not known; there are {', '.join(SUITES)}")
    return SUITES[name]


@cache
def published(table: str) -> PublishedTable:
    """A table of `tables/`."""
    text = resources.files("openloger.evaluation").joinpath("tables", f"{table}.json").read_text(encoding="utf-8")
    return _from_json(json.loads(text))


def _from_json(value: dict[str, Any]) -> PublishedTable:
    sequences = tuple(value["sequences"])
    rows = {
        name: PublishedRow(
            {one: number for one, number in zip(sequences, row["values"], strict=True) if number is not None},
            row["average"],
        )
        for name, row in value["rows"].items()
    }
    frames = dict(zip(sequences, value.get("frames", ()), strict=False))
    return PublishedTable(**{**value, "sequences": sequences, "frames": frames, "rows": rows})


Reconstruct = Callable[[Sequence], Iterable[PlacedWindow]]  # a fresh stream over one sequence
_log = logging.getLogger("openloger")


@runtime_checkable
class Sequences(Protocol):
    """Names, and what they stand for, opened on first use: a `DatasetFolder`, a dict, worlds."""

    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, name: str, /) -> Sequence: ...


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of one sequence."""

    sequence: str
    measured: Measured | None
    fault: str | None  # why there are no numbers
    seconds: float


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """The result of a suite."""

    name: str
    suite: Suite
    outcomes: tuple[Outcome, ...]

    @property
    def complete(self) -> bool:
        """True where every sequence has its numbers."""
        return all(outcome.fault is None for outcome in self.outcomes)

    def value(self, outcome: Outcome) -> float | None:
        """The number that stands for a sequence."""
        return self.number(outcome, self.suite.metric)

    def number(self, outcome: Outcome, name: str) -> float | None:
        """A number of `Measured.numbers()` of a sequence, where there is one."""
        return None if outcome.measured is None else outcome.measured.numbers().get(name)

    @property
    def average(self) -> float | None:
        """Over the sequences that have a number; `complete` is True where these are all."""
        return self.average_of(self.suite.metric)

    def average_of(self, name: str) -> float | None:
        """The same of any number."""
        values = [value for outcome in self.outcomes if (value := self.number(outcome, name)) is not None]
        return sum(values) / len(values) if values else None


def run_suite(
    name: str,
    sequences: Sequences,
    *,
    suite: Suite,
    reconstruct: Reconstruct,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> SuiteResult:
    """Reconstruct and measure every sequence, in memory that does not grow with their length.

    `reconstruct` gives the placed windows of each sequence. A sequence that cannot be read, reconstructed or
    measured is reported in its outcome. Raises InputError where there is no sequence at all.
    """
    if not len(sequences):
        raise InputError(f"{name} has no sequence to run; choose at least one")
    outcomes = []
    for sequence in sequences:
        outcome = evaluate_sequence(sequence, sequences, reconstruct=reconstruct, settings=suite.measure)
        on_outcome(outcome)
        outcomes.append(outcome)
    return SuiteResult(name, suite, tuple(outcomes))


def evaluate_sequence(
    name: str, sequences: Sequences, *, reconstruct: Reconstruct, settings: MeasureSettings
) -> Outcome:
    """One sequence, from the disk to its numbers, or to the reason why there are none."""
    began_s = time.perf_counter()
    try:
        sequence = sequences[name]
        measured = measure(gather_placed(reconstruct(sequence), sequence, settings.gather), settings)
    except (OpenlogerError, OSError) as error:
        _log.warning("%s: %s", name, error)
        return Outcome(name, None, str(error) or type(error).__name__, time.perf_counter() - began_s)
    return Outcome(name, measured, None, time.perf_counter() - began_s)
