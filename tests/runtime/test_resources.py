"""Peak memory is a process's own, not its parent's, and a card's memory is limited for a run alone."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from openloger.runtime.resources import card_bytes_limited, peak_resident_bytes

ROOM = 1 << 28
SCRIPT = "from openloger.runtime.resources import peak_resident_bytes\nprint(peak_resident_bytes())"


def test_it_grows_with_what_is_held_and_not_with_what_a_parent_held() -> None:
    before = peak_resident_bytes()
    held = b"x" * (before + ROOM)
    assert peak_resident_bytes() >= before + ROOM
    child = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True)
    assert 0 < int(child.stdout) < before + ROOM / 2
    del held


def test_the_limit_of_a_cards_memory_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fractions: list[float] = []
    properties = SimpleNamespace(total_memory=80 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda part, device: fractions.append(part))
    card = torch.device("cuda")
    with pytest.raises(ZeroDivisionError), card_bytes_limited(card, 8e9):
        _ = 1 / 0
    assert fractions == [0.1, 1.0]
    with card_bytes_limited(card, None), card_bytes_limited(torch.device("cpu"), 8e9):
        pass
    assert len(fractions) == 2
