"""Results on disk: with what they were made, each measured once, and never mixed with another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openloger.benchmarking import Ledger
from openloger.errors import InputError


def test_it_says_what_it_was_made_with(tmp_path: Path) -> None:
    ledger = Ledger("twin", {"frames": 3}, path=tmp_path / "twin.json")
    ledger.measure("twin", lambda: {"ratio": 1.5, "none": float("nan")})
    stored = json.loads((tmp_path / "twin.json").read_text())
    assert stored["ended"] is None
    ledger.conclude()
    stored = json.loads((tmp_path / "twin.json").read_text())
    assert stored == ledger.content()
    assert stored["results"] == {"twin": {"ratio": 1.5, "none": None}}
    assert stored["settings"] == {"frames": 3}
    assert {"cpu", "cores", "threads", "load_1min"} <= set(stored["machine"])
    assert {"openloger", "torch"} <= set(stored["versions"])
    assert stored["ended"] >= stored["began"]


def test_a_cut_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "length.json"
    Ledger("length", {"a": (1, 2)}, path=path).measure("first", lambda: {"seconds": 1})

    def again() -> dict[str, Any]:
        raise AssertionError("it was measured already")

    resumed = Ledger("length", {"a": (1, 2)}, path=path, resume=True)
    assert resumed.measure("first", again) == {"seconds": 1}
    resumed.measure("second", lambda: {"seconds": 2})
    assert list(json.loads(path.read_text())["results"]) == ["first", "second"]


def test_results_are_not_mixed_nor_lost(tmp_path: Path) -> None:
    path = tmp_path / "length.json"
    Ledger("length", {"frames": 3}, path=path).measure("first", lambda: {"seconds": 1})
    with pytest.raises(InputError, match="--resume"):
        Ledger("length", {"frames": 3}, path=path)
    with pytest.raises(InputError, match="another settings"):
        Ledger("length", {"frames": 4}, path=path, resume=True)
    with pytest.raises(InputError, match="another benchmark"):
        Ledger("twin", {"frames": 3}, path=path, resume=True)
    path.write_text("diary")
    with pytest.raises(InputError, match=r"length\.json"):
        Ledger("length", {"frames": 3}, path=path, resume=True)
    assert path.read_text() == "diary"


def test_a_path_among_the_settings_is_text(tmp_path: Path) -> None:
    ledger = Ledger("a", {"out": tmp_path / "a.json"}, path=tmp_path / "a.json")
    ledger.measure("one", lambda: {"at": tmp_path})
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["settings"]["out"] == str(tmp_path / "a.json")
    assert written["results"]["one"]["at"] == str(tmp_path)
