"""Peak memory is a process's own: not that of whoever started it."""

from __future__ import annotations

import subprocess
import sys

from openloger.runtime.resources import peak_resident_bytes

ROOM = 1 << 28
SCRIPT = "from openloger.runtime.resources import peak_resident_bytes\nprint(peak_resident_bytes())"


def test_it_grows_with_what_is_held_and_not_with_what_a_parent_held() -> None:
    before = peak_resident_bytes()
    held = b"x" * (before + ROOM)
    assert peak_resident_bytes() >= before + ROOM
    child = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True)
    assert 0 < int(child.stdout) < before + ROOM / 2
    del held
