"""Words of messages."""

from __future__ import annotations

from openloger.errors import LONGEST_REASON, in_a_line, listed_numbers


def test_numbers_for_people() -> None:
    assert listed_numbers([9, 1, 2, 3, 7, 8]) == "1 to 3 and 7 to 9"
    assert listed_numbers([4]) == "4"
    assert listed_numbers([4, 9, 2, 11, 12, 20], most=3) == "2, 4, 9 and 3 more"
    assert listed_numbers([4, 5, 6, 9], most=3) == "4 to 6 and 9"


def test_the_error_of_another_library_is_one_line() -> None:
    assert in_a_line(ValueError("a\n  b")) == "a b"
    assert in_a_line(KeyError()) == "KeyError"
    long = in_a_line(ValueError("x" * 5000))
    assert len(long) == LONGEST_REASON
    assert long.endswith("x…")
