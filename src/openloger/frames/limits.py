"""Ceilings for what files declare about themselves, so that a small hostile file cannot take all memory.

Each is an environment variable; set it to a larger number to open files beyond it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from openloger.errors import InputError


@dataclass(frozen=True)
class Limit:
    """A number that `variable` in the environment replaces."""

    variable: str
    default: int
    unit: str

    @property
    def value(self) -> int:
        """Raises InputError where the environment holds no positive whole number."""
        text = os.environ.get(self.variable, "")
        if not text:
            return self.default
        if not (text.isascii() and text.isdecimal()) or int(text) < 1:
            raise InputError(f"{self.variable}={text!r}: give a positive whole number of {self.unit}")
        return int(text)

    def check(self, amount: int, what: str) -> None:
        """Raises InputError where `amount` is beyond the limit; `what` names its owner in the message."""
        if amount > self.value:
            raise InputError(
                f"{what} has {amount:,} {self.unit}, and at most {self.value:,} are read; "
                f"if that is meant, set {self.variable}={amount}"
            )


MOST_PIXELS = Limit("OPENLOGER_MAX_PIXELS", 2**27, "pixels")  # a picture or video frame; 16K video is just below
MOST_LIST_BYTES = Limit("OPENLOGER_MAX_LIST_BYTES", 2**28, "bytes")  # a list of pictures; 3 million lines
MOST_MEMBER_BYTES = Limit("OPENLOGER_MAX_PICTURE_BYTES", 2**29, "bytes")  # a picture in a zip file, unpacked
