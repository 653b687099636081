"""What a number was made with: versions and hashes, so that it can be made again."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import numpy as np
import torch

from openloger.version import __version__

READ_BYTES = 1 << 20


def versions() -> dict[str, str]:
    """Of this package and what it computes with."""
    return {
        "openloger": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
