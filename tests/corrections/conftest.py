"""A street of known truth, recorded; every test gets its own copy to correct."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from true_recordings import Walk, record, walk

from openloger.recording import Recording, open_recording


@pytest.fixture(scope="module")
def street() -> Walk:
    return walk("street", 3, 40)


@pytest.fixture(scope="module")
def recorded(street: Walk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(street, tmp_path_factory.mktemp("recorded") / "street").path


@pytest.fixture
def recording(recorded: Path, tmp_path: Path) -> Recording:
    return open_recording(shutil.copytree(recorded, tmp_path / "street"))
