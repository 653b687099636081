"""Errors caused by input: one line that names the value and the way out.

The command line turns every `OpenlogerError` into that line and exit code 2; a traceback is left for bugs.
"""


def counted(count: int, noun: str) -> str:
    """1 frame, 0 frames, 12 frames."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


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
