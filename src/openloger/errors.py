"""Errors caused by input: one line that names the value and the way out.

The command line turns every `OpenlogerError` into that line and exit code 2; a traceback is left for bugs.
"""

from collections.abc import Iterable


def counted(count: int, noun: str) -> str:
    """1 frame, 0 frames, 12 frames."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


LONGEST_REASON = 300  # letters of another library's error in a message


def listed_numbers(numbers: Iterable[int], *, most: int | None = None) -> str:
    """3, 7 to 9 and 12; of more than `most` runs so many, and the count of the other numbers."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    shown = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs[:most]]
    if hidden := sum(map(len, runs[len(shown) :])):
        shown.append(f"{hidden} more")
    *others, last = shown or ["none"]
    return f"{', '.join(others)} and {last}" if others else last


def in_a_line(error: BaseException) -> str:
    """The text of another library's error as one line of at most LONGEST_REASON letters; its type if it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"


class OpenlogerError(Exception):
    """Any failure that a user can fix."""


class InputError(OpenlogerError, ValueError):
    """A value, file or source that cannot be used as given."""


class BadFrameError(InputError):
    """A frame that cannot be decoded, or does not fit its neighbours; `index` is its number in the source."""

    def __init__(self, message: str, *, index: int) -> None:
        super().__init__(message)
        self.index = index


class WeightsError(InputError):
    """A weights file that does not hold the network it was loaded for."""


class RecordingError(OpenlogerError):
    """A recording that cannot be read, written or continued."""
