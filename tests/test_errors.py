"""Words of messages, and what becomes one of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from openloger.benchmarking import Ledger
from openloger.datasets.co3d import read_annotations
from openloger.errors import LONGEST_REASON, InputError, in_a_line, listed_numbers
from openloger.network.exported.description import read_description
from openloger.training.checkpoint import checkpoint_fault
from openloger.webdemo.runtime import find_runtime

TOO_DEEP = "[" * 100_000


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


def _exported_network(folder: Path) -> None:
    (folder / "network.json").write_text(TOO_DEEP)
    read_description(folder)


def _npm_package(folder: Path) -> None:
    (folder / "package.json").write_text(TOO_DEEP)
    find_runtime(folder)


def _annotations_of_co3d(folder: Path) -> None:
    (folder / "frame_annotations.jgz").write_bytes(gzip.compress(TOO_DEEP.encode()))
    read_annotations(folder / "frame_annotations.jgz")


def _benchmark(folder: Path) -> None:
    (folder / "length.json").write_text(TOO_DEEP)
    Ledger("length", {}, path=folder / "length.json", resume=True)


@pytest.mark.parametrize("read", [_exported_network, _npm_package, _annotations_of_co3d, _benchmark])
def test_json_that_is_nested_too_deep_is_one_line(read: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.(json|jgz)"):
        read(tmp_path)


def test_the_state_of_a_checkpoint_that_is_nested_too_deep_is_a_fault_of_it(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(TOO_DEEP)
    assert "recursion" in (checkpoint_fault(tmp_path) or "")
