"""Running a suite: one sequence after the other, streamed and measured; one that is broken does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from openloger.datasets import Sequence
from openloger.errors import InputError, OpenlogerError
from openloger.evaluation.gather import gather_placed
from openloger.evaluation.measure import Measured, MeasureSettings, measure
from openloger.evaluation.suites import Suite
from openloger.values import PlacedWindow

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

    `reconstruct` is asked for the placed windows of each sequence. A sequence that cannot be read, reconstructed or
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
