"""The layer of `shim.c`, built, and how many cases a campaign takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SEED = int(os.environ.get("OPENLOGER_CAMPAIGN_SEED", "0"))
SHARE = float(os.environ.get("OPENLOGER_CAMPAIGN_SHARE", "1"))  # of the full campaign; 0.02 takes minutes


def build_shim(folder: Path) -> Path:
    """The layer as a library; skips where there is no compiler or no Linux."""
    compiler = shutil.which("cc")
    if compiler is None or not Path("/proc").is_dir():
        pytest.skip("the layer below the C library needs Linux and a C compiler")
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def counted(full: int) -> int:
    """This share of so many cases, at least one."""
    return max(1, round(full * SHARE))
