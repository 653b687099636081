"""Two ways by turns: a decision that other work on the machine does not make."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

MARGIN = 0.05  # by which another way must be faster, in the median, before the default is left
MOST_TURNS, FEWEST_TURNS = 5, 3
MOST_OF_TURNS = 0.75  # in so many of the turns it must be the faster
CERTAIN = 3.0  # times as fast or as slow, of which one turn is enough

Clock = Callable[[Callable[[], object]], float]  # seconds that a function takes
Way = tuple[str, Callable[[], object]]  # its name, and what runs it


@dataclass(frozen=True)
class Comparison:
    """The default and another way of one choice, measured by turns."""

    choice: str  # a field of `Kernels`, or "precision"
    default: str
    other: str
    ratios: tuple[float, ...]  # the other's seconds by the default's, of neighbouring runs; none: there was no time
    default_ms: float  # of the default's fastest run; 0 without a turn

    @property
    def ratio(self) -> float:
        """The median: below 1 the other is faster. 1 without a turn."""
        return statistics.median(self.ratios) if self.ratios else 1.0

    @property
    def is_decided(self) -> bool:
        """Whether there were turns enough."""
        return len(self.ratios) >= FEWEST_TURNS or not 1 / CERTAIN < self.ratio < CERTAIN

    @property
    def leaves_default(self) -> bool:
        """Whether the other is clearly faster."""
        if not self.is_decided:
            return False
        faster = sum(ratio < 1 for ratio in self.ratios)
        return self.ratio <= 1 - MARGIN and faster >= MOST_OF_TURNS * len(self.ratios)


def compare(
    choice: str,
    default: Way,
    other: Way,
    *,
    timed_by: Clock,
    until_s: float,
    now: Callable[[], float],
) -> Comparison:
    """Run both ways by turns, the one that begins changing, after a run of each that prepares kernels and memory.

    It ends after `MOST_TURNS`, at `until_s` of the clock `now`, or where the first turn is `CERTAIN`.
    """
    seconds: list[tuple[float, float]] = []
    if now() < until_s:
        default[1]()
        other[1]()
    while len(seconds) < MOST_TURNS and now() < until_s and not _is_certain(seconds):
        if len(seconds) % 2:
            later = timed_by(other[1])
            seconds.append((timed_by(default[1]), later))
        else:
            seconds.append((timed_by(default[1]), timed_by(other[1])))
    ratios = tuple(after / before for before, after in seconds)
    return Comparison(choice, default[0], other[0], ratios, 1e3 * min((before for before, _ in seconds), default=0.0))


def _is_certain(seconds: list[tuple[float, float]]) -> bool:
    return len(seconds) == 1 and not 1 / CERTAIN < seconds[0][1] / seconds[0][0] < CERTAIN
