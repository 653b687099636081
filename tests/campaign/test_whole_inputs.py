"""Every kind of input of the campaign, whole, is used: so the campaign itself stays in order between its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign.inputs import KINDS, used


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_input_is_used(name: str, tmp_path: Path) -> None:
    files = [path for path in KINDS[name].make(tmp_path) if path.stat().st_size > 0]
    assert files
    assert used(name, tmp_path) == "used"
