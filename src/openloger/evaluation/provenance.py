"""Provenance of a number: versions, hashes and the machine, so that it can be reproduced."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from openloger.runtime.platform import physical_memory_bytes, processor_name, usable_cores

READ_BYTES = 1 << 20


def machine() -> dict[str, Any]:
    """The machine that seconds and bytes were measured on, and its load just before."""
    memory = physical_memory_bytes()
    return {
        "cpu": processor_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(terse=True),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def revision() -> str | None:
    """The commit that this package runs from, "-dirty" behind it where files differ; None outside of its checkout."""
    here = Path(__file__).resolve()
    if _git("ls-files", "--error-unmatch", here.name, at=here.parent) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*", at=here.parent)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _git(*arguments: str, at: Path) -> str | None:
    """The output of a git command in a folder; None without git, or where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(at), *arguments], check=False, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
